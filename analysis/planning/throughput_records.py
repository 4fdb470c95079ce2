"""Throughput records: calibration of the throughput model by finished runs on the same hardware."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from analysis.planning.throughput_model import image_seconds
from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import FixedShape
from scaling.costs import recipe_flops, recipe_step_flops, recipe_tokens
from scaling.costs.conditions import SINGLE, Conditions, conditions_of
from scaling.costs.hardware import Card, card_of
from scaling.errors import ConfigError
from scaling.model_specs import MODEL_SPECS
from scaling.runs.record import RunRecord

SHORTEST = 1.0  # shortest training time that a rate is taken from [s]; less is dominated by set-up


class Measured(NamedTuple):
    """A finished run on the hardware in question."""

    run_id: str
    family: str  # of the backbone
    width: int  # of the backbone
    tokens: int
    task: str
    devices: int
    conditions: Conditions | None  # None: unknown, and the run corrects nothing
    ratio: float  # measured over predicted seconds per training image [1]
    wall_time: float  # [s]


def measured_on(card: Card, results: Path) -> list[Measured]:
    """The finished runs of a results folder on this card (or processor with this name and number of cores) whose rate
    the model predicts. Damaged and failed runs and those on other hardware are skipped; a missing folder has none."""
    try:
        folders = sorted(path for path in results.iterdir() if path.is_dir())
    except OSError:
        return []
    return [found for folder in folders if (found := _measured(card, folder)) is not None]


def _measured(card: Card, folder: Path) -> Measured | None:
    try:
        record = RunRecord.load(folder)
    except (FileNotFoundError, ConfigError):
        return None
    config, machine = record.experiment(), record.machine
    usable = record.status == "finished" and record.images_per_second > 0 and recipe_flops(config) > 0
    usable = usable and isinstance(config.step_shapes, FixedShape)  # else the rate is a mean over patch sizes
    usable = usable and (config.distillation is None or record.teacher_flops_per_image > 0)
    if not (usable and _is_of(card, machine)) or record.wall_time < SHORTEST:
        return None
    conditions = conditions_of(machine)
    devices, micro_batch_size = (
        _count(machine, "devices", 1),
        _count(machine, "micro_batch", config.optim.global_batch_size),
    )
    at_work = devices * (_count(machine, "threads", 1) if card.cores else 1)
    spec = MODEL_SPECS[config.model.backbone]
    predicted = image_seconds(config, card, micro_batch_size, conditions is not None and conditions.recompute)
    predicted *= 1 + record.teacher_flops_per_image / recipe_step_flops(config)
    return Measured(
        record.run_id,
        spec.family,
        spec.width,
        recipe_tokens(config),
        config.task.kind,
        devices,
        conditions,
        at_work / record.images_per_second / predicted,
        record.wall_time,
    )


def _count(machine: Mapping[str, object], name: str, default: int) -> int:
    """A number of a record's machine; the default for older records without it."""
    value = machine.get(name)
    return value if isinstance(value, int) and value > 0 else default


def _is_of(card: Card, machine: Mapping[str, object]) -> bool:
    """Whether a record's run used this card. A run on a machine with GPUs may have used its processor."""
    gpus = cast(Sequence[object], machine.get("gpus") or [])
    cpu = machine.get("device", "cpu" if not gpus else "cuda") == "cpu"
    if card.cores:
        same = machine.get("processor", "") in card.words and machine.get("cores", card.cores) == card.cores
        return cpu and same
    found = card_of(str(gpus[0])) if gpus else None
    return not cpu and found is not None and found.name == card.name


def alike(runs: Sequence[Measured], under: Conditions, devices: int) -> list[Measured]:
    """The runs under the same conditions on the same number of devices; for several devices without such runs, those on
    one device. The micro-batch is not a condition: the throughput model has a term for it."""
    found = [run for run in runs if (run.conditions, run.devices) == (under, devices)]
    if found or devices == 1:
        return found
    return alike(runs, under._replace(strategy=SINGLE, nodes=1), 1)


def correction(config: ExperimentConfig, runs: Sequence[Measured], itself: bool = True) -> float:
    """The factor for predicted seconds: the ratio of the runs nearest in tokens and width, of the same task and family
    of backbones; the median of several equally near ones. nan: there is none.

    runs: of `alike`.  itself: whether records of the same run are used."""
    spec = MODEL_SPECS.get(config.model.backbone)
    if spec is None:
        return math.nan
    near: dict[float, list[float]] = {}
    for run in runs:
        if (run.task, run.family) == (config.task.kind, spec.family) and (itself or run.run_id != config.run_id):
            distance = abs(math.log(run.tokens / recipe_tokens(config))) + 2 * abs(math.log(run.width / spec.width))
            near.setdefault(round(distance, 6), []).append(math.log(run.ratio))
    if not near:
        return math.nan
    return math.exp(statistics.median(near[min(near)]))
