"""Joint-law table: the laws of model size and patch size as rows of a file and as a table of 80 columns."""

from collections.abc import Iterable, Sequence

import pandas as pd

from analysis.fitting.joint import JointLaw
from analysis.report.law_table import parameter_columns
from analysis.report.output import WIDTH
from analysis.report.printfuncs import parameter_text

WIDTHS = (18, 3, 16, 18, 16)
EXPLAINED = (
    "E: irreducible loss (large models and small patches). max: the largest relative residual of a point [%]; "
    "where it is large, the effects of model size and patch size are not additive."
)


def joint_frame(laws: Iterable[JointLaw]) -> pd.DataFrame:
    """The joint laws, a row each: name, source, measure, unit, models, patches, n; E, A, a, B, b, each with _low, _high
    and _identified, without a value where not identified; r2, converged, worst (the largest relative residual [1])."""
    rows: list[dict[str, object]] = []
    for of in laws:
        law = of.law
        row: dict[str, object] = {"name": of.name, "source": of.source, "measure": of.measure, "unit": of.unit}
        row |= {"models": of.points["model"].nunique(), "patches": of.points["patch"].nunique(), "n": law.n}
        rows.append({**row, **parameter_columns(law), "r2": law.r2, "converged": law.converged, "worst": of.worst})
    return pd.DataFrame(rows)


def joint_lines(laws: Sequence[JointLaw]) -> list[str]:
    """The joint laws as a table of 80 columns."""
    table = [_line(("runs", "n", "E", "a (model)", "b (patch)"), "max"), "-" * WIDTH]
    for of in laws:
        texts = [parameter_text(of.law, name, room) for name, room in zip("Eab", WIDTHS[2:], strict=True)]
        worst = f"{100 * of.worst:.1f}" if of.law.converged else "-"
        table.append(_line((of.name, str(of.law.n), *texts), worst))
    return table


def _line(cells: Sequence[str], last: str) -> str:
    return " ".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=True)) + f" {last:>4}"
