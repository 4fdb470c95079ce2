"""Changes of shape within a run: what each did to the loss of the same training images (scaling/runs/phases.py).

The gap is the loss with the new shape less that with the old one, of the same weights: it shows nothing about
stability. The spike is what the loss with the new shape rises by afterwards.
"""

from collections.abc import Sequence
from itertools import pairwise

import pandas as pd

from analysis.studies.cell_text import spread
from analysis.studies.study_table import StudyRun, finished_records
from scaling.config.step_shapes import PatchSchedule

CHANGES = ["backbone", "schedule", "seed", "change", "first_step", "loss_before", "loss_after", "spike", "spike_steps"]


def changes(frame: pd.DataFrame, planned: Sequence[StudyRun]) -> pd.DataFrame:
    """CHANGES, a row per change between two shapes, of every planned run that finished: what it did to the loss of the
    same training images [nats], and the steps until a spike is gone (scaling/runs/phases.py)."""
    rows = []
    for run, record in finished_records(frame, planned):
        config = record.experiment()
        for before, after in pairwise(record.phases):
            if after["loss_before"] is not None and isinstance(config.step_shapes, PatchSchedule):
                shapes = [f"{one['patch_sizes'][0]} px of {one['img_sizes'][0]}" for one in (before, after)]
                losses = after["loss_before"], after["loss_after"], after["spike"]
                its = [run.backbone, config.step_shapes.text, config.seed, " to ".join(shapes), after["first_step"]]
                rows.append([*its, *losses, after["spike_steps"]])
    return pd.DataFrame(rows, columns=CHANGES)


def printed_changes(table: pd.DataFrame) -> pd.DataFrame:
    """One backbone's changes as text, a row per schedule and change: mean and standard deviation over seeds, and of
    cycles over their changes; the largest number of steps until a spike is gone, "-" where none is above the loss
    before the change, and ">32" where one was not gone after as many."""
    rows = []
    for (schedule, change), its in table.groupby(["schedule", "change"], sort=False):
        gap, late = its["loss_after"] - its["loss_before"], its["spike_steps"].isna().any()
        most = its["spike_steps"].max()
        rows.append(
            {
                "schedule": schedule,
                "change": change,
                "gap [nats]": spread(gap, 3),
                "spike [nats]": spread(its["spike"], 3),
                "steps": ">32" if late else f"{most:.0f}" if most else "-",
            }
        )
    return pd.DataFrame(rows)
