"""Length of training: which recipes differ in it and in nothing else, so that one law holds their runs.

A study of lengths holds the warm-up fixed, in epochs or as a share of the run. One recipe does not show which of the
two, so keys are those of a set of recipes. A warm-up in steps belongs to its length, and is in no key.
"""

from collections.abc import Callable, Sequence

import pandas as pd

from analysis.records.group_labels import labels
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig

ENDLESS = 10**6  # epochs, beyond every warm-up and milestone
LENGTH = ["epochs", "steps", "warmup_steps", "train_images", "images"]  # columns in which runs of one key may differ
WARMUP = "warmup_epochs"


def any_length(config: ExperimentConfig) -> ExperimentConfig:
    """The recipe at one length for all, with its warm-up in epochs."""
    return edit(config, max_steps=None, warmup_steps=None, num_train=None, epochs=ENDLESS)


def in_proportion(config: ExperimentConfig) -> ExperimentConfig:
    """The recipe at one length for all, with its warm-up as long in proportion; a warm-up in steps as in any_length."""
    schedule = config.schedule
    if schedule.max_steps is not None or schedule.warmup_steps is not None or schedule.epochs == 0:
        return any_length(config)
    return edit(any_length(config), warmup_epochs=float(round(schedule.warmup_epochs / schedule.epochs * ENDLESS)))


def keys_of_any_length(
    configs: Sequence[ExperimentConfig], keys: Callable[[Sequence[ExperimentConfig]], Sequence[str]]
) -> list[str]:
    """A key for each of some recipes, equal where they differ in length only: with warm-ups equal in epochs or, where
    that gives a recipe the company of more lengths, equal in proportion. keys: the keys of recipes as they are."""
    fixed, share = keys([any_length(c) for c in configs]), keys([in_proportion(c) for c in configs])
    lengths = [str((c.schedule.length, c.data.num_train)) for c in configs]
    table = pd.DataFrame({"fixed": fixed, "share": share, "length": lengths})
    more = table.groupby("share")["length"].transform("nunique") > table.groupby("fixed")["length"].transform("nunique")
    return [str(key) for key in table["share"].where(more, table["fixed"])]


def labels_of_any_length(runs: pd.DataFrame) -> dict[str, str]:
    """A short name, as of labels, for every group of runs of several lengths."""
    frame = runs.drop(columns=LENGTH, errors="ignore")
    if WARMUP in frame:
        several = frame.groupby("group")[WARMUP].transform("nunique") > 1
        frame[WARMUP] = frame[WARMUP].astype(object).mask(several, "in proportion")
    return labels(frame)
