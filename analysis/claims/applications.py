"""The table of patch sizes by application of source text B (claim B36, embeddings.yaml): a prior without measurements.

analysis/published/applications.csv: application, task that it is for ("" where any), patches in the order of the text
[px] separated by | ("" where the text has "variable"), and the lines of the source. The text itself is not shipped;
rows are from the list in the specification of issue 22.
"""

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

from scaling.config.fields import check_name

FILE = Path(__file__).parents[1] / "published" / "applications.csv"
SOURCE = "source text B"


class Application(NamedTuple):
    """A row of the table."""

    name: str
    task: str  # "": any
    patches: tuple[int, ...]  # [px], the first choice first; empty: "variable"
    lines: str  # of the source


@cache
def applications() -> dict[str, Application]:
    """All rows by name."""
    with FILE.open(newline="") as file:
        rows = [
            Application(
                row["application"], row["task"], tuple(map(int, filter(None, row["patches"].split("|")))), row["lines"]
            )
            for row in csv.DictReader(file)
        ]
    return {row.name: row for row in rows}


def application_for(task: str, name: str = "") -> Application | None:
    """The row called name; without a name the row of the task, or None. Raises ConfigError for an unknown name."""
    if name:
        check_name("application", name, applications())
        return applications()[name]
    return next((row for row in applications().values() if row.task == task), None)


def prior_sentence(row: Application, patch: int) -> str:
    """What the row has, and whether a recommended patch size [px] agrees."""
    where = f"{SOURCE}, lines {row.lines}"
    if not row.patches:
        return f"the table by application ({where}) has no number for {row.name}: it is given as variable"
    wanted = " or ".join(map(str, row.patches))
    agrees = "agrees" if patch in row.patches else "differs: law, budget and object size decide here"
    return f"the table by application ({where}), without measurements, has {wanted} px for {row.name}; {agrees}"
