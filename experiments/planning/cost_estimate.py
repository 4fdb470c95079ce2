"""Memory, micro-batch and hours of runs before they begin, for plan.py and for a sweep. No torch.

plan_report.py prints the estimates. A device is one card, or several that share a run. A processor counts as one
device: its hours are those of one core, as a sweep trains one small run per core, and its device-hours are these
divided by the number of cores.
"""

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from analysis.planning.throughput_model import image_bytes, number_bytes
from analysis.planning.throughput_records import Measured, alike, correction, measured_on
from experiments.cli.data_check import images
from experiments.launch.progress_display import what_else
from experiments.planning.counted_plan import counted_plan
from experiments.planning.phase_costs import fit, mean_image_seconds
from experiments.stages import last_stages, waits_for
from scaling import costs
from scaling.backbones.ssd.scan_choice import kernels_file, torch_is_chosen
from scaling.config.experiment import ExperimentConfig
from scaling.config.runtime import RuntimeConfig
from scaling.costs.conditions import Conditions, strategy_for, threads_for, workers_for
from scaling.costs.hardware import CPU, Card, card_called, card_of, gpus_here
from scaling.errors import ConfigError
from scaling.model_specs import has_scan
from scaling.runs.teacher import teacher_flops


class Device(NamedTuple):
    """The hardware and settings that runs are planned for."""

    card: Card
    cards: int = 1  # devices that share a run
    grad_checkpointing: bool = False
    micro_batch_size: int = 0  # images per device; 0: as many as memory holds
    where: str = ""  # folder of the records
    records: tuple[Measured, ...] = ()  # finished runs on this card
    # As RuntimeConfig has them; threads 0 and num_workers -1: chosen automatically.
    num_nodes: int = 1
    strategy: str = "auto"
    compile: bool = False
    channels_last: bool = False
    threads: int = 0
    num_workers: int = -1
    max_parallel_runs: int = 1

    @property
    def name(self) -> str:
        """For example "2 x a100"."""
        if self.card.cores:
            return f"{self.card.cores} cores of this machine"
        return self.card.name if self.cards == 1 else f"{self.cards} x {self.card.name}"


class Forecast(NamedTuple):
    """Estimated cost of one run. nan: unknown. micro_batch_size 0: it does not fit, or (image_bytes 0) is unknown."""

    run: ExperimentConfig
    tokens: int
    parameters: int
    epoch_flops: float  # forward and backward, and the forward pass of a teacher [FLOPs]
    image_bytes: float  # memory of one image in training [bytes]
    least_bytes: float  # memory with the smallest possible micro-batch, model included [bytes]
    micro_batch_size: int
    accumulation: int
    epoch_hours: float
    hours: float  # of the whole run, evaluation included
    device_hours: float
    ratio: float  # factor on the hours from records of the card; nan: there is no suitable record


class Chain(NamedTuple):
    """The stages of one model at one patch size, for all seeds."""

    title: str
    patch: int
    stages: list[Forecast]  # of the first seed
    runs: list[Forecast]  # of all seeds


def device(gpu: str, count: int, results: Path, grad_checkpointing: bool = False, micro_batch_size: int = 0) -> Device:
    """The device to plan for. gpu: a name as in scaling/costs/hardware.py; "": this machine's. count: cards; 0: all of
    this machine, or one of another machine. Raises ConfigError for a negative count or an unknown card."""
    if count < 0:
        raise ConfigError(f"devices {count} must be 0 or more")
    here = [] if gpu else gpus_here()
    card = card_of(here[0]) if here else card_called(gpu or CPU)
    if card is None:
        raise ConfigError(
            f"no data sheet for this machine's {here[0]}; plan for another card with plan.py --gpu, one of: "
            f"{', '.join(costs.CARDS)}"
        )
    count = 1 if card.cores else count or max(1, len(here))
    return Device(card, count, grad_checkpointing, micro_batch_size, str(results), tuple(measured_on(card, results)))


def device_of(settings: RuntimeConfig, results: Path, gpu: str = "") -> Device:
    """The device that a sweep with these settings trains on. gpu: a card instead. Raises ConfigError."""
    words = [word.strip() for word in settings.devices.split(",") if word.strip()]
    if settings.devices == "auto":
        words = ["0"]
    if not words or not all(word.isdecimal() for word in words):
        raise ConfigError(f"devices {settings.devices!r} must be auto, a number such as 2, or a list such as 0,1")
    count = int(words[0]) if len(words) == 1 else len(words)
    name = gpu or (CPU if settings.accelerator == "cpu" else "")
    on = device(name, count, results, settings.grad_checkpointing, settings.micro_batch_size or 0)
    on = on._replace(
        num_nodes=settings.num_nodes,
        strategy=settings.strategy,
        compile=settings.compile,
        channels_last=settings.channels_last,
        threads=settings.threads or 0,
        num_workers=-1 if settings.num_workers is None else settings.num_workers,
        max_parallel_runs=settings.max_parallel_runs or 1,
    )
    return on._replace(cards=on.cards * on.num_nodes)


def conditions(run: ExperimentConfig, on: Device) -> Conditions:
    """Conditions of a run on this device, in the form of scaling.costs.conditions.conditions_of."""
    cores = on.card.cores
    return Conditions(
        device="cpu" if cores else "cuda",
        nodes=on.num_nodes,
        strategy=strategy_for(on.strategy, on.cards),
        precision="bf16-mixed" if number_bytes(run, on.card) == 2 else "32-true",
        scan=_scan_backend(on) if has_scan(run.model.backbone) else "",
        compile=on.compile,
        recompute=on.grad_checkpointing,
        channels_last=on.channels_last,
        threads=(on.threads or threads_for(run, cores, on.max_parallel_runs)) if cores else 0,
        workers=-1 if cores and on.num_workers == workers_for(cores) else on.num_workers,
        jobs=on.max_parallel_runs,
    )


def _scan_backend(on: Device) -> str:
    """Implementation of the scan, without importing torch: for a card of this machine what is installed and selected,
    for another card mamba-ssm where a record of that card used it."""
    if on.card.cores:
        return "torch" if kernels_file() is None else "compiled"
    if on.card.name in {card.name for name in gpus_here() if (card := card_of(name))}:
        there = not torch_is_chosen() and importlib.util.find_spec("mamba_ssm") is not None
    else:
        there = any(one.conditions and one.conditions.scan == "mamba-ssm" for one in on.records)
    return "mamba-ssm" if there else "torch"


def records_for(run: ExperimentConfig, on: Device) -> list[Measured]:
    """The records that may calibrate a run's hours: those of the card under the same conditions."""
    return alike(on.records, conditions(run, on), on.cards)


def forecast(run: ExperimentConfig, on: Device, own: bool = True) -> Forecast:
    """Estimated cost of one run; of a model without a cost model as torch counts it (counted_plan.py), which no record
    calibrates. own: whether a record of this same run may calibrate it. Raises ConfigError where the
    batch cannot be divided among the devices, or among micro-batches of the requested size."""
    card, counted = on.card, None if costs.recipe_parameters(run) else counted_plan(run, on)
    its = fit(run, on) if counted is None else counted.fit
    micro = its.micro_batch_size
    ratio = correction(run, records_for(run, on), own)
    seconds = math.nan if counted is None else counted.seconds
    if micro and counted is None:
        seconds = (1.0 if math.isnan(ratio) else ratio) * mean_image_seconds(run, on)
    taught = teacher_flops(run)
    taught = 0.0 if math.isnan(taught) else taught  # plan_report.py has a line on it
    step = costs.recipe_step_flops(run) if counted is None else counted.step_flops
    seconds *= 1 + taught / step if step else 1
    epoch, tested = images(run)
    trained = float((run.schedule.max_steps or 0) * run.optim.global_batch_size) or epoch * run.schedule.epochs
    evaluations = math.ceil(run.schedule.epochs / run.evaluation.val_interval) if run.evaluation.val_interval else 1
    held_out = epoch * run.data.val_split / (1 - run.data.val_split)  # replaces the test set during training
    evaluated = evaluations * held_out + tested if run.data.val_split else evaluations * tested
    hours = seconds * (trained + evaluated / 3) / 3600  # evaluation is a forward pass, a third of a step
    return Forecast(
        run=run,
        tokens=costs.recipe_tokens(run),
        parameters=costs.recipe_parameters(run) if counted is None else counted.parameters,
        epoch_flops=(step + taught) * epoch,
        image_bytes=image_bytes(run, micro or its.smallest, number_bytes(run, card), on.grad_checkpointing)
        if counted is None
        else counted.image_bytes,
        least_bytes=its.least_bytes,
        micro_batch_size=micro,
        accumulation=run.optim.global_batch_size // on.cards // micro if micro else 0,
        epoch_hours=seconds * epoch / 3600,
        hours=hours,
        device_hours=hours / card.cores if card.cores else hours * on.cards,
        ratio=ratio,
    )


def chains(runs: Sequence[ExperimentConfig], on: Device) -> list[Chain]:
    """The runs grouped into chains of stages with all their seeds, in the order given; each run is in one chain."""
    left = {run.run_id: run for run in runs}
    found: dict[tuple[str, int], Chain] = {}
    for last in last_stages(list(runs)):
        stages: list[Forecast] = []
        at = last.run_id
        while at in left:
            run = left.pop(at)
            stages.insert(0, forecast(run, on))
            at = waits_for(run)
        chain = found.setdefault(
            (last.group, last.model.patch_size), Chain(title(last), last.model.patch_size, stages, [])
        )
        chain.runs.extend(stages)
    return list(found.values())


def title(run: ExperimentConfig) -> str:
    """Title of the table of a run's patch sizes: backbone, data, task and whatever else differs from the default."""
    task = "" if run.task.kind == "classify" else run.task.kind
    return ", ".join(filter(None, (run.model.backbone, run.data.dataset, task, what_else(run))))


def total(forecasts: Sequence[Forecast]) -> float:
    """Sum of the known device-hours [h]."""
    return sum(one.device_hours for one in forecasts if not math.isnan(one.device_hours))
