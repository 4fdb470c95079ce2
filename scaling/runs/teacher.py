"""The teacher of distillation as far as it can be checked before torch is loaded and data are read."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from scaling.config.experiment import ExperimentConfig
from scaling.config.identity import is_address
from scaling.costs import recipe_flops
from scaling.errors import ConfigError
from scaling.runs.finished_run import finished_run
from scaling.runs.identity import config_in, folder_of
from scaling.runs.record import RECORD, RunRecord


def finished_teacher(folder: Path) -> RunRecord:
    """The record of a run that can teach. Raises ConfigError."""
    try:
        record = finished_run(folder)
    except ConfigError as e:
        raise ConfigError(f"teacher {e}") from e
    task = record.experiment().task.kind
    if task != "classify":
        raise ConfigError(f"teacher {folder} is a run of the task {task}: choose one that classifies")
    return record


def check_teacher(config: ExperimentConfig, results: Path) -> None:
    """Raise ConfigError where a run that has no record yet has a teacher that is missing, not finished or of other
    classes. The shapes of its weights are checked when the model is built."""
    part = config.distillation
    if part is None or not part.is_file or is_address(part.teacher):
        return
    if (folder_of(config, results) / RECORD).is_file():
        return
    if os.path.isdir(part.teacher):
        record = finished_teacher(Path(part.teacher))
        check_classes(part.teacher, record.experiment().data.num_classes, config.data.num_classes)
    elif not os.path.isfile(part.teacher):
        raise ConfigError(f"teacher {part.teacher}: no such file or folder; give a run, a file of weights or timm:NAME")


def check_classes(source: str, theirs: int, ours: int) -> None:
    """theirs, ours: numbers of classes of the teacher and of the student."""
    if theirs != ours:
        raise ConfigError(f"teacher {source} has {theirs} classes, the student {ours}: choose a teacher of its classes")


def check_names(source: str, theirs: Sequence[str], ours: Sequence[str]) -> None:
    """Raise ConfigError where a class has another number for the teacher than for the student. Names that only one of
    them has may be other words for the same class; a list of numbers from 0 is no list of names."""
    if [str(number) for number in range(len(theirs))] in (list(theirs), list(ours)):
        return
    numbers = {name: number for number, name in enumerate(ours)}
    for number, name in enumerate(theirs):
        if numbers.get(name, number) != number:
            raise ConfigError(
                f"class {name} is number {number} for the teacher {source} and {numbers[name]} for the student: choose "
                "a teacher of its classes"
            )


def teacher_config(config: ExperimentConfig) -> ExperimentConfig | None:
    """The configuration of the teacher, where it is a run that is here; None also for a file and a model of timm, which
    are unknown before training."""
    part = config.distillation
    return config_in(Path(part.teacher)) if part is not None and part.is_file else None


def teacher_flops(config: ExperimentConfig) -> float:
    """Forward pass of one image through the teacher [FLOPs]; 0: no teacher; nan: unknown, as that of a file or of
    timm."""
    if config.distillation is None:
        return 0.0
    taught = teacher_config(config)
    return float(recipe_flops(taught) if taught else 0) or math.nan
