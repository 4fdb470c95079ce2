"""Run frame: the columns of a frame with one row per run, and selections of its rows."""

from typing import TypedDict

import pandas as pd

from analysis.records.drawn_patches import patches_text, sizes_text
from analysis.records.embedding_text import embedding_text
from scaling.config.experiment import ExperimentConfig
from scaling.config.flat import FIRST, LATER, to_flat
from scaling.runs.record import HEADLINES

FIELDS = [*FIRST, *LATER]  # the names that version 1 had
METRICS = [*(metric for metric, _ in HEADLINES.values()), "top5"]  # nan where a task has no such metric
FACTS = [
    *("tokens", "parameters", "flops_per_image", "teacher_flops_per_image", "test_loss", *METRICS),
    *("images_per_second", "peak_memory"),
]
ENDINGS = ["wall_time", "failure", "started", "ended", "git_commit", "folder"]
PATCHES = "patches"  # that a run learned with one set of weights, as "16,8,4"; "": a run of one patch size
EMBEDDING = "embedding"  # kind of the patch embedding, and what is not the default of it
SIZES = "sizes"  # of training images, as "8-16 px" (packing) or "image 8@0.5,16@1" (schedule); "": that of the model
COLUMNS = ["run_id", "group", "family", "any_length", "status", *FIELDS, PATCHES, EMBEDDING, SIZES, *FACTS, *ENDINGS]
TRAPS = ("crop", "data_version")  # fields that may change between the runs of a sweep unnoticed


class Row(TypedDict, total=False):
    """A row of a frame as a dictionary: the columns that are read from one."""

    task: str
    data: str
    backbone: str
    head: str
    image: int  # [px]
    patch: int  # [px]
    extend: int  # [px]
    short_side: int  # [px]
    long_side: int  # [px]
    augment: str
    train_images: int
    test_images: int
    val_split: float
    stage: str
    start: str
    weights: str
    machine_gpus: list[str] | float  # in these four nan: unknown
    machine_processor: str | float
    machine_devices: float | None
    machine_cores: float | None


def recipe_columns(config: ExperimentConfig) -> dict[str, object]:
    """The columns of a row that follow from its recipe."""
    return {
        **to_flat(config),
        PATCHES: patches_text(config),
        EMBEDDING: embedding_text(config),
        SIZES: sizes_text(config),
    }


def finished(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of runs that finished, which have a test loss."""
    return frame[frame["status"] == "finished"]


def above_zero(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows without those of test loss 0, which has no logarithm."""
    return frame[~(frame["test_loss"] <= 0)]


def headlines(frame: pd.DataFrame) -> dict[str, str]:
    """The headline metrics that some run of the frame has: column -> name, as {"top1": "top-1"}."""
    return {metric: name for metric, name in HEADLINES.values() if metric in frame and frame[metric].notna().any()}
