"""Forecast: what runs will take on a device, before they begin: memory, micro-batch, hours. The arithmetic of plan.py
and of what a sweep says first; plan_report.py has the tables. No torch.

A device is a card, of which there may be several. A processor counts as one device: its hours are those of one core, at
which a sweep trains small runs, and its device-hours those over the number of cores.
"""

import importlib.util
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from analysis.planning.throughput_model import image_bytes, image_seconds, number_bytes
from analysis.planning.throughput_records import Measured, alike, correction, measured_on
from experiments.cli.data_check import images
from experiments.launch.progress_display import what_else
from experiments.stages import waits_for
from experiments.studies import last_stages
from scaling import costs
from scaling.costs.conditions import Conditions, strategy_for, threads_for, workers_for
from scaling.costs.hardware import CPU, Card, card_called, card_of, gpus_here
from scaling.costs.training_memory import SHARE, step_bytes
from scaling.engine.micro_batch_sizes import check_sizes
from scaling.errors import ConfigError
from scaling.recipe import Recipe

SHARED = ("nodes", "strategy", "compile", "channels_last", "threads", "workers", "jobs")  # settings that a Device has


class Device(NamedTuple):
    """What runs will be trained on."""

    card: Card
    cards: int = 1  # that share a run
    recompute: bool = False
    micro_batch: int = 0  # that was asked for; 0: what memory holds
    where: str = ""  # folder that the records came from
    records: tuple[Measured, ...] = ()  # of this card
    # As scaling.engine.train.Settings has them.
    nodes: int = 1
    strategy: str = "auto"
    compile: bool = False
    channels_last: bool = False
    threads: int = 0
    workers: int = -1
    jobs: int = 1

    @property
    def name(self) -> str:
        """As "2 x a100"."""
        if self.card.cores:
            return f"{self.card.cores} cores of this machine"
        return self.card.name if self.cards == 1 else f"{self.cards} x {self.card.name}"


class Forecast(NamedTuple):
    """What one run will take. nan: not known; micro_batch 0: it does not fit, or is not known (image_bytes 0)."""

    run: Recipe
    tokens: int
    parameters: int
    epoch_flops: float  # forward and backward [FLOPs]
    image_bytes: float  # in training, of an image [bytes]
    wants: float  # with the fewest images that may be taken at a time, the model included [bytes]
    micro_batch: int
    accumulation: int
    epoch_hours: float
    hours: float  # of all epochs, evaluation included
    device_hours: float
    ratio: float  # by which records of the card have changed the hours; nan: none has


class Chain(NamedTuple):
    """The stages of one thing to train at one patch size, at all seeds."""

    title: str
    patch: int
    stages: list[Forecast]  # of the first seed
    runs: list[Forecast]  # of all seeds


def device(gpu: str, count: int, results: Path, recompute: bool = False, micro_batch: int = 0) -> Device:
    """gpu: a name of costs_cards; "": what this machine has. count: cards; 0: as many as there are, one of another
    machine's. Raises ConfigError."""
    if count < 0:
        raise ConfigError(f"devices {count} must be 0 or more")
    here = [] if gpu else gpus_here()
    card = card_of(here[0]) if here else card_called(gpu or CPU)
    if card is None:
        raise ConfigError(
            f"no rates are known of this machine's {here[0]}; plan.py --gpu takes: {', '.join(costs.CARDS)}"
        )
    count = 1 if card.cores else count or max(1, len(here))
    return Device(card, count, recompute, micro_batch, str(results), tuple(measured_on(card, results)))


def device_of(settings: dict[str, Any], results: Path, gpu: str = "") -> Device:
    """That which a sweep with these settings (cli.settings) trains on, or a card by name. Raises ConfigError."""
    words = [word.strip() for word in settings["devices"].split(",") if word.strip()]
    if settings["devices"] == "auto":
        words = ["0"]
    if not words or not all(word.isdecimal() for word in words):
        raise ConfigError(f"devices {settings['devices']!r} is not auto, a number such as 2, or a list such as 0,1")
    count = int(words[0]) if len(words) == 1 else len(words)
    name = gpu or (CPU if settings["accelerator"] == "cpu" else "")
    on = device(name, count, results, settings["recompute"], settings["micro_batch"])
    on = on._replace(**{name: settings[name] for name in SHARED if name in settings})
    return on._replace(cards=on.cards * on.nodes)


def conditions(run: Recipe, on: Device) -> Conditions:
    """Under which a run will be trained there, as costs_conditions.conditions_of has those of a record."""
    cores = on.card.cores
    return Conditions(
        device="cpu" if cores else "cuda",
        nodes=on.nodes,
        strategy=strategy_for(on.strategy, on.cards),
        precision="bf16-mixed" if number_bytes(run, on.card) == 2 else "32-true",
        scan=_road(on) if "adventurer" in run.backbone else "",
        compile=on.compile,
        recompute=on.recompute,
        channels_last=on.channels_last,
        threads=(on.threads or threads_for(run, cores, on.jobs)) if cores else 0,
        workers=-1 if cores and on.workers == workers_for(cores) else on.workers,
        jobs=on.jobs,
    )


def _road(on: Device) -> str:
    """That of Adventurer's scan, without asking torch: of a card that is here what is installed and asked for, of
    another mamba-ssm's where some record of it took that."""
    if on.card.cores:
        return "torch"
    if on.card.name in {card.name for name in gpus_here() if (card := card_of(name))}:
        there = os.environ.get("SCALING_SCAN", "") != "torch" and importlib.util.find_spec("mamba_ssm") is not None
    else:
        there = any(one.conditions and one.conditions.scan == "mamba-ssm" for one in on.records)
    return "mamba-ssm" if there else "torch"


def records_for(run: Recipe, on: Device) -> list[Measured]:
    """The records of the card that may correct a run's hours: none that ran under other conditions."""
    return alike(on.records, conditions(run, on), on.cards)


def forecast(run: Recipe, on: Device, own: bool = True) -> Forecast:
    """own: whether a record of this very run may correct its own hours. Raises ConfigError where the devices cannot
    share the batch, or the micro-batch that was asked for does not cut it."""
    card, number, possible = on.card, number_bytes(run, on.card), check_sizes(run, on.cards, on.micro_batch)
    possible = [on.micro_batch] if on.micro_batch else possible
    steps = {n: step_bytes(run, n, on.recompute, number=number) for n in possible}
    state = costs.optimiser_bytes(costs.recipe_parameters(run), run.ema > 0)
    micro = max([n for n in possible if 0 < steps[n] <= SHARE * (card.memory - state)], default=0)
    ratio = correction(run, records_for(run, on), own)
    seconds = math.nan
    if micro:
        known = 1.0 if math.isnan(ratio) else ratio
        seconds = known * image_seconds(run, card, micro, on.recompute) / on.cards
    epoch, tested = images(run)
    trained = float(run.steps * run.batch) or epoch * run.epochs
    evaluations = math.ceil(run.epochs / run.eval_every) if run.eval_every else 1
    held_out = epoch * run.val_split / (1 - run.val_split)  # is evaluated instead on the way, and at the end too
    evaluated = evaluations * held_out + tested if run.val_split else evaluations * tested
    hours = seconds * (trained + evaluated / 3) / 3600  # a forward pass is a third of a step
    return Forecast(
        run,
        costs.recipe_tokens(run),
        costs.recipe_parameters(run),
        costs.recipe_flops_by_part(run).training * epoch,
        image_bytes(run, micro or possible[0], number, on.recompute),
        float(state + steps[possible[0]]),
        micro,
        run.batch // on.cards // micro if micro else 0,
        seconds * epoch / 3600,
        hours,
        hours / card.cores if card.cores else hours * on.cards,
        ratio,
    )


def chains(runs: Sequence[Recipe], on: Device) -> list[Chain]:
    """The runs as chains of stages, seeds together, in the order in which they come; each run is in one of them."""
    left = {run.run_id: run for run in runs}
    found: dict[tuple[str, int], Chain] = {}
    for last in last_stages(list(runs)):
        stages: list[Forecast] = []
        at = last.run_id
        while at in left:
            run = left.pop(at)
            stages.insert(0, forecast(run, on))
            at = waits_for(run)
        chain = found.setdefault((last.group, last.patch), Chain(title(last), last.patch, stages, []))
        chain.runs.extend(stages)
    return list(found.values())


def title(run: Recipe) -> str:
    """What a table of patch sizes is of."""
    task = "" if run.task == "classify" else run.task
    return ", ".join(filter(None, (run.backbone, run.data, task, what_else(run))))


def total(forecasts: Sequence[Forecast]) -> float:
    """Device-hours of those that are known [h]."""
    return sum(one.device_hours for one in forecasts if not math.isnan(one.device_hours))
