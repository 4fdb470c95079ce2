"""What the names and the number of files say of a run is said at once: before torch is loaded or an image read."""

import math
from collections.abc import Iterable
from pathlib import Path

from scaling import costs
from scaling.config.experiment import ExperimentConfig
from scaling.errors import ConfigError
from scaling.runs.identity import folder_of
from scaling.runs.record import RECORD

FEW = 4  # steps an epoch below which it is said


def check_data(runs: Iterable[ExperimentConfig], results: Path) -> list[str]:
    """What there is to say of the data of runs without a record: that an epoch has few steps. Raises ConfigError for
    the first whose data cannot be as its recipe has them; data whose content is known (scaling.runs.identity.settled)
    have been counted for that."""
    lines = []
    for run in runs:
        if (folder_of(run, results) / RECORD).is_file():
            continue
        if run.data.dataset == "shapes":
            if run.data.num_train:
                from scaling.data.sampler import steps_per_epoch

                steps_per_epoch(run.data.num_train or 0, run.optim.global_batch_size)
        elif not (run.data.data_digest or run.data.dataset.startswith("hfds/")):
            from scaling.data.files.dataset_files import check_counts

            check_counts(run)
        lines.append(few_steps(run))
    return list(filter(None, dict.fromkeys(lines)))


def few_steps(run: ExperimentConfig) -> str:
    """What to say of epochs of few steps, where a run hardly learns; nothing of longer ones, nor of runs in steps."""
    epoch, _ = images(run)
    if run.schedule.max_steps or not epoch // run.optim.global_batch_size < FEW:
        return ""
    steps = (
        "1 step" if epoch // run.optim.global_batch_size == 1 else f"{epoch // run.optim.global_batch_size:.0f} steps"
    )
    batch = run.optim.global_batch_size
    advice = "a smaller --global-batch-size makes more"
    return f"{epoch:.0f} training images are {steps} an epoch at batch {batch}: {advice}"


def images(run: ExperimentConfig) -> tuple[float, float]:
    """Training images of an epoch, and test images: where the recipe leaves their number to the data, that of the files
    here, counted once; nan where there are none."""
    epoch, tested = costs.epoch_images(run)
    if not math.isnan(epoch) or run.data.dataset.startswith("hfds/"):
        return epoch, tested
    from scaling.data.files.dataset_files import image_counts

    try:
        return image_counts(run)
    except ConfigError:  # which is said when a run is begun
        return math.nan, 0.0
