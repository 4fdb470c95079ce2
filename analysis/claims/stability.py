"""Estimates of claims on clipping, warm-up and norms, from analysis/measured/stability_shapes.csv."""

from collections.abc import Callable
from functools import cache

import pandas as pd

from analysis.claims.measured import NAMES, measured
from analysis.claims.verdict import Estimate
from analysis.studies.stability import effects


def change(setting: str) -> list[Estimate]:
    """Change of the test loss by a setting, against that of the recipe, with drawn patch sizes [%]."""
    table = _effects()
    its = table[(table["setting"] == setting) & table["patches"].str.contains(",")]
    return [
        Estimate(f"{NAMES[row['backbone']]}, {setting}", *(100 * row[end] for end in ("change", "low", "high")))
        for row in its.to_dict("records")
    ]


@cache
def _effects() -> pd.DataFrame:
    return effects(measured("stability_shapes"))


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "batch_norm": lambda: [*change("norm batch"), *change("norm batch_per_patch")],
    "without_clipping": lambda: change("clip none"),
    "without_warmup": lambda: change("warmup 0 %"),
}
