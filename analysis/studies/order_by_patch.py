"""The test loss of runs of each order at every patch size that they were evaluated at."""

from collections.abc import Sequence

import pandas as pd

from analysis.studies.cell_text import spread
from analysis.studies.patch_order import images_of, order_of
from analysis.studies.study_table import StudyRun, finished_records

LOSSES = ["backbone", "order", "images", "seed", "patch", "test_loss"]


def losses_by_patch(frame: pd.DataFrame, planned: Sequence[StudyRun]) -> pd.DataFrame:
    """LOSSES, a row per planned run that finished and patch size [px], in the order of planned; images are those that
    the run has seen, test_loss that of the reported weights [nats]. frame: of a RunSet."""
    rows = []
    for run, record in finished_records(frame, planned):
        config = record.experiment()
        its = [run.backbone, order_of(config), images_of(config), config.seed]
        reported = {row["patch_size"]: row["test_loss"] for row in reversed(record.evaluations)}
        rows += [[*its, patch, loss] for patch, loss in sorted(reported.items(), reverse=True)]
    return pd.DataFrame(rows, columns=LOSSES)


def printed_by_patch(table: pd.DataFrame) -> pd.DataFrame:
    """One backbone's losses as text, a row per order and length: mean and standard deviation over seeds."""
    rows = []
    for (order, images), its in table.groupby(["order", "images"], sort=False):
        cells = {
            f"{patch} px [nats]": spread(of_patch["test_loss"], 3).replace(" ±", "\n±")
            for patch, of_patch in its.groupby("patch", sort=False)
        }
        rows.append({"schedule": order, "images": f"{images:,}", **cells})
    every = sorted(table["patch"].unique(), reverse=True)
    return pd.DataFrame(rows, columns=["schedule", "images", *(f"{patch} px [nats]" for patch in every)]).fillna("")
