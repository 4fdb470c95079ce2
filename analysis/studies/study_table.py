"""Study table: the runs of a study that finished, one row each."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.paper.comparison import published
from analysis.records.run_frame import finished
from scaling.runs.record import HEADLINES, RunRecord

SHOWN = ["run_id", "backbone", "data", "image", "patch", "extend", "head", "seed"]
MEASURED = ["tokens", "parameters", "flops_per_image", "test_loss"]


class StudyRun(NamedTuple):
    """A run of a study, finished or not."""

    run_id: str
    backbone: str
    patch: int  # [px]
    resize: str = ""  # how the kernel of a model of one patch size was resized to others; "": the run was trained


def study_table(frame: pd.DataFrame, planned: Sequence[StudyRun]) -> pd.DataFrame:
    """A row for every planned run that finished: run_id, backbone, data, image, patch, extend [px], head, seed, tokens,
    parameters, flops_per_image [FLOPs], test_loss [nats]; the headline metric of its task and the published value
    (nan where there is none), as top1, paper_top1 [%].

    frame: of a RunSet.  Order: backbones as in planned, then tokens, image, extend, head and seed."""
    done = finished(frame)
    order = {run.run_id: number for number, run in enumerate(planned)}
    runs = done[done["run_id"].isin(order)]
    first = runs["run_id"].map(order).groupby(runs["backbone"]).transform("min")
    keys = ["_first", "tokens", "image", "extend", "head", "seed"]
    runs = runs.assign(_first=first).sort_values(keys, ignore_index=True)
    metrics = [HEADLINES[task][0] for task in runs["task"].unique()]
    table = runs[SHOWN + MEASURED + metrics].copy()
    for metric in metrics:
        its = runs["task"].map(lambda task, metric=metric: HEADLINES[task][0] == metric)
        table[f"paper_{metric}"] = runs[its].apply(published, axis=1)
    return table


def finished_records(frame: pd.DataFrame, planned: Sequence[StudyRun]) -> Iterator[tuple[StudyRun, RunRecord]]:
    """Every planned run that finished with its record, in the order of planned. frame: of a RunSet."""
    folders = finished(frame).set_index("run_id")["folder"]
    for run in planned:
        if run.run_id in folders.index:
            yield run, RunRecord.load(Path(str(folders.loc[run.run_id])))
