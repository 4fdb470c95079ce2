"""Checks of a run by the names and the number of its files, before torch is loaded or an image is read."""

import math
from collections.abc import Iterable
from pathlib import Path

from scaling import costs
from scaling.config.data import OWN_SETS
from scaling.config.experiment import ExperimentConfig
from scaling.errors import ConfigError
from scaling.runs.identity import folder_of
from scaling.runs.record import RECORD

FEW = 4  # steps per epoch, below which a message is printed


def check_data(runs: Iterable[ExperimentConfig], results: Path) -> list[str]:
    """Messages about the data of runs without a record: that an epoch has few steps. Raises ConfigError for the first
    run whose data do not fit its configuration; data with a known fingerprint (scaling.data.fingerprints) have been
    counted before."""
    lines = []
    for run in runs:
        if (folder_of(run, results) / RECORD).is_file():
            continue
        if run.data.dataset == "shapes":
            if run.data.num_train:
                from scaling.data.sampler import steps_per_epoch

                steps_per_epoch(run.data.num_train or 0, run.optim.global_batch_size)
        elif run.data.dataset in OWN_SETS:
            from scaling.data.own_sets import own_splits

            own_splits(run)
        elif not (run.data.data_digest or run.data.dataset.startswith("hfds/")):
            from scaling.data.files.dataset_files import check_counts

            check_counts(run)
        lines.append(few_steps(run))
    return list(filter(None, dict.fromkeys(lines)))


def few_steps(run: ExperimentConfig) -> str:
    """A message if epochs have so few steps that a run hardly learns; "" for longer ones, for runs in steps, and
    for those of no epochs."""
    epoch, _ = images(run)
    batch = run.optim.global_batch_size
    steps = epoch // batch
    if run.schedule.max_steps or not run.schedule.epochs or not steps < FEW:
        return ""
    few = "1 step" if steps == 1 else f"{steps:.0f} steps"
    return f"{epoch:.0f} training images are {few} per epoch: a --global-batch-size below {batch} gives more"


def images(run: ExperimentConfig) -> tuple[float, float]:
    """Training images per epoch, and test images: as configured, else the number of files on this machine, counted
    once; nan where there are none."""
    epoch, tested = costs.epoch_images(run)
    if not math.isnan(epoch) or run.data.dataset.startswith("hfds/"):
        return epoch, tested
    from scaling.data.files.dataset_files import image_counts
    from scaling.data.own_sets import own_splits

    try:
        if run.data.dataset in OWN_SETS:
            own = own_splits(run)
            return len(own.kept), len(own.tested)
        return image_counts(run)
    except ConfigError:  # raised again when the run starts
        return math.nan, 0.0
