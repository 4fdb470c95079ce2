"""Changes of shape within a run: what each did to the loss of the same training images (scaling/runs/phases.py).

The gap is the loss with the new shape less that with the old one, of the same weights: it shows nothing about
stability. The spike is what the loss with the new shape rises by afterwards.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import pandas as pd

from analysis.studies.cell_text import spread
from analysis.studies.study_table import StudyRun, finished_records
from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import PatchSchedule
from scaling.costs.phases import phases_of

CHANGES = ["backbone", "schedule", "seed", "change", "first_step", "loss_before", "loss_after", "spike", "spike_steps"]
ENCODING = "positions"  # a column before these, where runs differ in it


def changes(
    frame: pd.DataFrame, planned: Sequence[StudyRun], encoding: Callable[[ExperimentConfig], str] | None = None
) -> pd.DataFrame:
    """CHANGES, a row per change between two shapes, of every planned run that finished: what it did to the loss of the
    same training images [nats], and the steps until a spike is gone (scaling/runs/phases.py). encoding: a run's text of
    ENCODING."""
    rows = []
    for run, record in finished_records(frame, planned):
        config = record.experiment()
        # Not the sizes of a record's row: the step that two phases meet in may have the shape of the other one.
        phases = phases_of(config, sum(row["steps"] for row in record.phases)) if record.phases else []
        shapes = [next(iter(phase.shares)) for phase in phases]
        for (old, new), row in zip(pairwise(shapes), record.phases[1:], strict=True):
            if row["loss_before"] is not None and isinstance(config.step_shapes, PatchSchedule):
                change = " to ".join(f"{one.patch_size} px of {one.img_size}" for one in (old, new))
                losses = row["loss_before"], row["loss_after"], row["spike"]
                its = [run.backbone, config.step_shapes.text, config.seed, change, row["first_step"]]
                own = [encoding(config)] if encoding else []
                rows.append([*own, *its, *losses, row["spike_steps"]])
    return pd.DataFrame(rows, columns=[ENCODING, *CHANGES] if encoding else CHANGES)


def printed_changes(table: pd.DataFrame) -> pd.DataFrame:
    """One backbone's changes as text, a row per schedule, or per encoding, and change: mean and standard deviation over
    seeds, and of cycles over their changes; the largest number of steps until a spike is gone, "-" where none is above
    the loss before the change, and ">32" where one was not gone after as many."""
    rows = []
    name = ENCODING if ENCODING in table else "schedule"
    for (named, change), its in table.groupby([name, "change"], sort=False):
        gap, late = its["loss_after"] - its["loss_before"], its["spike_steps"].isna().any()
        most = its["spike_steps"].max()
        rows.append(
            {
                name: named,
                "change": change,
                "gap [nats]": spread(gap, 3),
                "spike [nats]": spread(its["spike"], 3),
                "steps": ">32" if late else f"{most:.0f}" if most else "-",
            }
        )
    return pd.DataFrame(rows)
