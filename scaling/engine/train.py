"""train(recipe, results) -> RunRecord: one run from its recipe to its record, on Lightning.

Lightning sees one long stream of steps: what an epoch is, the recipe decides (scaling/data/sampler.py). The order of
images and every random number of a step follow from seed and step, so a checkpoint needs no random state, and a run
that was cut off anywhere ends with the weights of one that was not.
"""

import contextlib
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from filelock import FileLock, Timeout
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

from scaling import costs
from scaling.costs.conditions import threads_for
from scaling.data.datamodule import ImageDataModule, default_workers
from scaling.engine import checkpoint_files, evaluation_steps
from scaling.engine.callbacks import signals
from scaling.engine.callbacks.keeper import Keeper
from scaling.engine.counted_flops import counted_flops
from scaling.engine.distributed import is_first_process
from scaling.engine.ema import Averaged, weights_of
from scaling.engine.fsdp import shard_when_built, sharded_strategy
from scaling.engine.loggers import check_loggers, logged_nothing, make_loggers, names_of
from scaling.engine.micro_batch import MicroBatch
from scaling.engine.micro_batch_sizes import check_sizes
from scaling.engine.predict import Place, draw_predictions, export_detections
from scaling.engine.warm_start import KEYS, save_weights, start_from
from scaling.errors import (
    ConfigError,
    NewerRecordError,
    NonFiniteLossError,
    RunLockedError,
    first_line,
)
from scaling.recipe import Recipe
from scaling.runs.atomic_files import remove_leftovers, write_atomically
from scaling.runs.environment import Memory, conditions, git_commit, machine, usable_cores, uses_cuda, versions
from scaling.runs.events import Event
from scaling.runs.identity import folder_of, renamed, settled
from scaling.runs.outputs import check_outputs
from scaling.runs.predecessor import check_start, find_start
from scaling.runs.record import RECIPE, RunRecord
from scaling.tasks.base import TaskModule
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.detection import DetectionTask
from scaling.tasks.segmentation import SegmentationTask

TASKS: dict[str, type[TaskModule]] = {
    "classify": ClassificationTask,
    "detect": DetectionTask,
    "segment": SegmentationTask,
}
Report = Callable[[Event], None]


@dataclass(frozen=True)
class Settings:
    """What the machine decides and the numbers do not depend on (to the last bit: threads and accelerator do)."""

    accelerator: str = "auto"  # Lightning's: auto, cpu, gpu
    devices: str = "auto"  # Lightning's: how many, or which
    threads: int = 0  # CPU threads for arithmetic; 0: as many as the usable cores and the size of a step allow
    jobs: int = 1  # runs that share the machine: each takes its share of the cores
    workers: int = -1  # processes that read and decode files; -1: by the number of cores
    checkpoint_minutes: float = 10.0  # longest time between checkpoints; there is one at every end of an epoch too
    nodes: int = 1  # machines that the run is spread over, as torchrun or SLURM started it there
    strategy: str = "auto"  # how several devices share it: auto (ddp), ddp, fsdp
    micro_batch: int = 0  # images that a device takes at a time; 0: as many as its memory holds
    recompute: bool = False  # keep only what is between blocks for the backward pass: memory for time
    compile: bool = False  # torch.compile the backbone
    channels_last: bool = False  # images in channels-last memory
    save_predictions: int = 0  # pictures of so many test images, their labels and predictions, in the run's folder
    export_coco: bool = False  # detections on the test images as COCO results, in the run's folder
    logger: str = ""  # tensorboard, wandb, mlflow, separated by commas


@contextlib.contextmanager
def hold(folder: Path, wait: float = 0) -> Iterator[None]:
    """Hold a run's folder against every other process, for as long as this one lives. Raises RunLockedError.

    wait: seconds to wait for another holder; -1: without end.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=wait)
    except Timeout as e:
        raise RunLockedError(folder.name) from e
    try:
        yield
    finally:
        lock.release()


def open_run(recipe: Recipe, results: Path) -> Path:
    """The run's folder, made where it is missing, with its recipe.json. Raises ConfigError where it cannot be
    written."""
    folder = Path(results) / recipe.run_id
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / RECIPE, recipe.complete_json() + "\n")
    except OSError as e:
        raise ConfigError(f"results folder {results} cannot be written ({e.strerror}); name another: --results") from e
    return folder


def recorded(folder: Path, report: Report = lambda event: None) -> RunRecord | None:
    """The folder's record; None where there is none, or a damaged one, which is said: then the run is to be done.
    Raises ConfigError where a newer version wrote it."""
    try:
        return RunRecord.load(folder)
    except FileNotFoundError:
        return None
    except NewerRecordError:
        raise
    except ConfigError as e:
        report(Event("note", text=str(e)))
        return None


def train(
    recipe: Recipe,
    results: Path,
    settings: Settings | None = None,
    report: Report = lambda event: None,
    wait: float = 0,
) -> RunRecord:
    """Train, evaluate and record one run in results/run_id/; resume it where it was cut off, or return its record (also
    one that lies in a folder of another name).

    report is called with progress.Event values; wait: seconds to wait for another process that has the run, -1 without
    end. Raises ConfigError (nothing was written), RunLockedError, TrainingInterrupted (Ctrl-C, SIGTERM, SIGHUP,
    SIGUSR1; the run can be resumed). A loss that is not finite ends the run with a record whose status is "failed".
    """
    settings, results = settings or Settings(), Path(results)
    task = TASKS[recipe.task]
    task.check_available(recipe)
    check_outputs(recipe, settings.save_predictions, settings.export_coco)
    check_start(recipe, results)
    recipe = settled([recipe], results, say=lambda text: report(Event("note", text=text)))[recipe.run_id]
    folder = folder_of(recipe, results)
    record = recorded(folder)
    if record is None:
        with signals.at_once():
            record, folder = _begin(recipe, results, settings, report, wait), results / recipe.run_id
    elif names_of(settings.logger):
        report(Event("note", text=logged_nothing(settings.logger)))
    if record.status == "finished" and is_first_process():
        place = _place(recipe, settings, record)
        if settings.save_predictions:
            draw_predictions(recipe, folder, settings.save_predictions, task, place, report)
        if settings.export_coco:
            export_detections(recipe, folder, task, place, report)
    return record


class Parts(NamedTuple):
    """What trains a run, before there is a folder."""

    module: Any
    data: ImageDataModule
    keeper: Keeper
    micro_batch: MicroBatch
    averaged: Averaged | None
    trainer: L.Trainer
    flops: float  # of an image's forward pass


def _place(recipe: Recipe, settings: Settings, record: RunRecord) -> Place:
    """Where a finished run's model is asked: on the first device, of as many images at a time as the run took."""
    first = int(settings.devices.split(",")[0]) if "," in settings.devices else 0
    device = torch.device("cuda", first) if uses_cuda(settings.accelerator) else torch.device("cpu")
    images = settings.micro_batch or int(record.machine.get("micro_batch", 1))
    workers = settings.workers if settings.workers >= 0 else default_workers()
    return Place(device, _precision(recipe.precision, settings.accelerator), images, workers)


def _begin(recipe: Recipe, results: Path, settings: Settings, report: Report, wait: float) -> RunRecord:
    """Check and build all that can be wrong, then train in a folder that is held against other processes."""
    find_start(recipe, results)
    check_loggers(settings.logger)
    # How many devices "auto" is, only Lightning will know; one is enough to find most of what can be wrong.
    world = int(settings.devices) * settings.nodes if settings.devices.isdigit() else 1
    check_sizes(recipe, world, settings.micro_batch)
    here, cores = world // settings.nodes, usable_cores()
    if here > cores and not uses_cuda(settings.accelerator):
        report(
            Event("note", text=f"{here} devices are {here} processes on {cores} cores: --devices {cores} is as fast")
        )
    workers = settings.workers if settings.workers >= 0 else default_workers()
    data = ImageDataModule(recipe, workers, results, say=lambda text: report(Event("note", text=text)))
    data.setup()
    for line in (*data.lines, *renamed(recipe, results)):
        report(Event("note", text=line))
    torch.set_num_threads(settings.threads or useful_threads(recipe, settings.jobs))
    parts = _build(recipe, results, settings, data, report)
    folder = open_run(recipe, results)
    report(Event("open"))
    with hold(folder, wait) if is_first_process() else contextlib.nullcontext():
        record = recorded(folder, report)  # the process that we waited for may have finished it
        if record is None:
            if is_first_process():
                remove_leftovers(folder)
            record = _train(recipe, folder, settings, parts, report)
        return record


def _build(recipe: Recipe, results: Path, settings: Settings, data: ImageDataModule, report: Report) -> Parts:
    """The model with the weights that it starts from, and its trainer. Writes nothing. Raises ConfigError."""
    memory = Memory(uses_cuda(settings.accelerator))
    module = TASKS[recipe.task](recipe, data.total_steps, data.names)
    start_from(module, recipe, results)
    flops = float(costs.recipe_flops(recipe) or counted_flops(module))  # before training: it may fail
    prepare(module, settings)
    keeper = Keeper(recipe, results / recipe.run_id, data, settings.checkpoint_minutes, report, memory)
    micro_batch = MicroBatch(recipe, data, settings.micro_batch, results, settings.recompute)
    averaged = Averaged(recipe.ema) if recipe.ema else None
    # The keeper is last: its checkpoints hold what the others did in the step.
    callbacks = [micro_batch, evaluation_steps.Evaluations(recipe, data), *([averaged] if averaged else []), keeper]
    trainer = make_trainer(recipe, settings, callbacks, data, results / recipe.run_id)
    return Parts(module, data, keeper, micro_batch, averaged, trainer, flops)


def _train(recipe: Recipe, folder: Path, settings: Settings, parts: Parts, report: Report) -> RunRecord:
    module, data, keeper, micro_batch, averaged, trainer, flops = parts
    keeper.begin()
    keeper.loggers = make_loggers(settings.logger, recipe, folder) if is_first_process() else []
    checkpoint = checkpoint_files.newest(folder, lambda text: report(Event("note", text=text)))
    failure: dict[str, Any] = {}
    results: dict[str, float] = {}
    try:
        with _out_of_memory(micro_batch):
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        report(Event("evaluate", keeper.progress(trainer)))
        results = _evaluate(recipe, folder, trainer, module, data, averaged)
        if not all(map(math.isfinite, results.values())):
            failure = {"reason": "test loss is not finite", "step": trainer.global_step, "lr": 0.0}
    except NonFiniteLossError as e:
        failure = e.facts
    keeper.finish(results)
    loss = results.pop("test_loss", None)
    metrics = {}
    if not failure:
        metrics = {**results, "train_loss": keeper.train_loss, **data.skipped, **keeper.skipped}
    record = RunRecord(
        run_id=recipe.run_id,
        group=recipe.group,
        recipe=recipe.to_dict(),
        status="failed" if failure else "finished",
        test_loss=None if failure else loss,
        metrics=metrics,
        tokens=costs.recipe_tokens(recipe),
        parameters=sum(p.numel() for p in module.parameters() if p.requires_grad),
        flops_per_image=flops,
        peak_memory=keeper.peak_memory,
        images_per_second=keeper.images_per_second,
        wall_time=keeper.wall_time(),
        class_names=list(data.names),
        failure=failure,
        versions=versions(),
        git_commit=git_commit(),
        machine={
            **machine(),
            **conditions(trainer, module, settings.recompute, data.workers, settings.jobs)._asdict(),
            "devices": trainer.world_size,
            "micro_batch": micro_batch.size(trainer.world_size),
        },
        started=keeper.started,
        ended=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    if trainer.is_global_zero:
        record.save(folder)
    trainer.strategy.barrier()  # the next stage of a chain begins with what this one wrote
    return record


def prepare(module: Any, settings: Settings) -> None:
    """What makes steps faster or smaller, and changes a step's numbers in their last bits only."""
    if settings.recompute:
        module.backbone.checkpoint_module.set_grad_checkpointing(True)
    if settings.channels_last:
        module.to(memory_format=torch.channels_last)
        module.channels_last = True
    if settings.strategy == "fsdp":
        shard_when_built(module)
    if settings.compile:
        module.backbone.compile()


@contextlib.contextmanager
def _out_of_memory(micro_batch: MicroBatch) -> Iterator[None]:
    """Say what to do about it."""
    try:
        yield
    except torch.OutOfMemoryError as e:
        micro_batch.forget()
        reason = f"out of memory on the device ({first_line(e)}); the same command goes on with half the micro-batch"
        raise MemoryError(reason) from e


def _evaluate(
    recipe: Recipe, folder: Path, trainer: L.Trainer, module: Any, data: ImageDataModule, averaged: Averaged | None
) -> dict[str, float]:
    """The results of the weights that the recipe judges by; with an average, those of both under names of their own
    too. Leaves the weights in the run's folder."""
    found, weights = {}, {}
    for kind in ("raw", "averaged") if averaged else ("raw",):
        if kind == "averaged" and averaged:
            averaged.load_average(module)
        trainer.test(module, datamodule=data, verbose=False)
        found[kind], weights[KEYS[kind]] = module.compute_metrics(), weights_of(module)
        if data.held_out is not None:
            trainer.test(module, dataloaders=data.val_dataloader(), verbose=False)
            found[kind] |= evaluation_steps.of_held_out(module.compute_metrics())
    if trainer.is_global_zero:
        save_weights(weights, folder)
    named = {f"{name}_{kind}": value for kind, results in found.items() for name, value in results.items()}
    return {**found[recipe.judged], **(named if averaged else {})}


def make_trainer(
    recipe: Recipe, settings: Settings, callbacks: list[Any], data: ImageDataModule, folder: Path
) -> L.Trainer:
    """Lightning's Trainer as every run has it. Raises ConfigError where there is no such accelerator or device."""
    every = evaluation_steps.steps_between(recipe, data)
    try:
        return L.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices if not settings.devices.isdigit() else int(settings.devices),
            precision=_precision(recipe.precision, settings.accelerator),
            max_epochs=-1,
            max_steps=data.total_steps,
            num_nodes=settings.nodes,
            strategy=sharded_strategy(recipe, settings.devices, settings.nodes)
            if settings.strategy == "fsdp"
            else settings.strategy,
            gradient_clip_val=recipe.clip or None,
            val_check_interval=every or None,  # in micro-batches, once it is known how many a step has
            check_val_every_n_epoch=None,
            limit_val_batches=1.0 if every else 0,
            num_sanity_val_steps=0,
            callbacks=callbacks,
            plugins=[checkpoint_files.InPlace(), *_slurm()],
            # Under SLURM Lightning resumes from any hpc_ckpt_*.ckpt there. This folder is never made: what is resumed
            # the run's own folder says alone.
            default_root_dir=folder / "lightning",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    except (ValueError, RuntimeError, L.fabric.utilities.exceptions.MisconfigurationException) as e:
        raise ConfigError(f"accelerator {settings.accelerator}, devices {settings.devices}: {first_line(e)}") from e


def _slurm() -> list[SLURMEnvironment]:
    """Lightning's way to work under srun, where that started this process, without a checkpoint and a requeueing of its
    own at SIGUSR1. torchrun comes first: it may have been started by srun itself."""
    wanted = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [SLURMEnvironment(auto_requeue=False)] if wanted else []


def _precision(wanted: str, accelerator: str) -> Any:
    gpu = uses_cuda(accelerator)
    if wanted == "auto":
        return "bf16-mixed" if gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    return {"32": "32-true"}.get(wanted, wanted)


def useful_threads(recipe: Recipe, jobs: int = 1) -> int:
    """CPU threads for a recipe on this machine."""
    return threads_for(recipe, usable_cores(), jobs)


def hush() -> None:
    """For programs: keep Lightning's advice on loaders, loggers and accelerators off the user's terminal."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for said in (
        "does not have many workers",
        "treespec",
        "`IterableDataset` has `__len__`",
        "is not resumable",
        "returned a view tensor",
        "The `srun` command is available",
    ):
        warnings.filterwarnings("ignore", message=f".*{said}.*")
