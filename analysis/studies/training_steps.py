"""How training went under each order of shapes: the share of clipped steps, of a run and of each of its phases, and
loss spikes, as the instruments of a run read them (docs/stability.md)."""

import math
from collections.abc import Sequence

import pandas as pd

from analysis.studies.cell_text import spread
from analysis.studies.patch_order import images_of, order_of
from analysis.studies.study_table import StudyRun, finished_records

SPIKES, CLIPPED = "loss_spikes", "clipped_steps"  # metrics of records and of their phases
STEPS = ["backbone", "order", "images", "seed", "phase", CLIPPED, SPIKES]
WHOLE = 0  # the phase of the numbers of a whole run; phases are counted from 1


def training_steps(frame: pd.DataFrame, planned: Sequence[StudyRun]) -> pd.DataFrame:
    """STEPS, a row per planned run that finished, and one for each of its phases: images of the whole run,
    clipped_steps [%] and loss_spikes [1]; nan where one is not known (nothing is clipped), no row where neither is
    (records of earlier versions)."""
    rows = []
    for run, record in finished_records(frame, planned):
        config = record.experiment()
        its = [run.backbone, order_of(config), images_of(config), config.seed]
        read = [record.metrics, *(phase.get("instruments", {}) for phase in record.phases)]
        rows += [[*its, n, one.get(CLIPPED, math.nan), one.get(SPIKES, math.nan)] for n, one in enumerate(read)]
    return pd.DataFrame(rows, columns=STEPS).dropna(subset=[CLIPPED, SPIKES], how="all")


def printed_training_steps(table: pd.DataFrame) -> pd.DataFrame:
    """One backbone's rows as text, a row per order and length: mean and standard deviation over seeds of the whole run,
    means of its phases, "-" where it has none or nothing is known."""
    rows = []
    for (order, images), its in table.groupby(["order", "images"], sort=False):
        whole, phases = its[its["phase"] == WHOLE], its[its["phase"] != WHOLE]
        means = phases.groupby("phase")[CLIPPED].mean()
        rows.append(
            {
                "schedule": order,
                "images": f"{images:,}",
                "clipped steps [%]": spread(whole[CLIPPED], 1) if whole[CLIPPED].notna().any() else "-",
                "by phase [%]": ", ".join("-" if math.isnan(mean) else f"{mean:.0f}" for mean in means) or "-",
                "spikes a run": f"{whole[SPIKES].mean():.2f}" if whole[SPIKES].notna().any() else "-",
            }
        )
    return pd.DataFrame(rows)
