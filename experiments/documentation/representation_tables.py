"""Tables of docs/representations.md: CKA between patch sizes and between seeds, and what three seeds decide."""

from collections.abc import Iterator

import pandas as pd

from analysis.similarity.finding import THIRDS, finding, thirds
from analysis.similarity.measured import measured_pairs
from experiments.documentation.data import table


def similar_thirds() -> list[str]:
    """Mean CKA ± standard deviation, a row per group and what its models differ in."""
    rows = []
    for name, pairs in _groups():
        for differ, across in (("patch size", thirds(pairs)), ("seed", thirds(pairs, across="seed"))):
            mean, sd = across.mean(), across.std()
            rows.append([*name, differ, *(f"{mean[at]:.2f} ± {sd[at]:.2f}" for at in across.columns)])
    of_thirds = [f"{tokens}, {third}" for tokens in ("patches", "class token") for third in THIRDS]
    return table(["backbone", "models", "patches [px]", "differ in", *of_thirds], rows, left=(0, 1, 2, 3))


def similar_finding() -> list[str]:
    """Difference of CKA with its 95 % interval, and whether the statement holds."""
    rows, head = [], []
    for name, pairs in _groups():
        found = finding(pairs)
        head = [str(statement) for statement in found.index]
        cells = [
            f"{row['difference']:+.3f} [{row['low']:.3f}, {row['high']:.3f}]: {row['holds']}"
            for _, row in found.iterrows()
        ]
        rows.append([*name, *cells])
    return table(["backbone", "models", "patches [px]", *head], rows, left=(0, 1, 2))


def _groups() -> Iterator[tuple[list[str], pd.DataFrame]]:
    for (backbone, models, _), pairs in measured_pairs().groupby(["backbone", "models", "coarsest"], sort=False):
        sizes = sorted(set(pairs["patch_a"]), reverse=True)
        yield [str(backbone), str(models), ", ".join(map(str, sizes))], pairs
