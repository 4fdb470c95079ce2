"""train(recipe, results) -> RunRecord: one run from its recipe to its record, on Lightning.

Lightning sees one long stream of steps: what an epoch is, the recipe decides (scaling/data/sampler.py). The order of
images and every random number of a step follow from seed and step, so a checkpoint needs no random state, and a run
that was interrupted anywhere ends with the weights of one that was not.
"""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import lightning as L
import torch

from scaling import costs
from scaling.config.experiment import ExperimentConfig
from scaling.config.runtime import RuntimeConfig
from scaling.costs.hardware import usable_cores
from scaling.data.datamodule import ImageDataModule, default_workers
from scaling.data.files.listing_cache import listed_once
from scaling.data.fingerprints import with_fingerprints
from scaling.engine import checkpoint_files, evaluation_steps
from scaling.engine.callbacks.clock import utc_now
from scaling.engine.callbacks.run_callbacks import RunCallbacks, run_callbacks
from scaling.engine.counted_flops import counted_flops
from scaling.engine.distributed import is_first_process
from scaling.engine.ema import Averaged
from scaling.engine.environment import Memory, conditions, machine, uses_cuda
from scaling.engine.evaluate import Evaluated, evaluate
from scaling.engine.logged_run import logged
from scaling.engine.loggers import check_loggers, logged_nothing, names_of
from scaling.engine.micro_batch import MicroBatch
from scaling.engine.micro_batch_sizes import check_sizes
from scaling.engine.predict import draw_predictions, export_detections, place_of
from scaling.engine.teachers import set_teacher
from scaling.engine.trainer import apply_speed_options, make_trainer, useful_threads
from scaling.engine.warm_start import start_from
from scaling.errors import NonFiniteLossError, first_line
from scaling.runs.atomic_files import remove_leftovers
from scaling.runs.environment import git_commit, versions
from scaling.runs.events import Event, Report
from scaling.runs.identity import folder_of, renamed, training_folder
from scaling.runs.outputs import check_outputs
from scaling.runs.predecessor import check_start, find_start
from scaling.runs.record import RunRecord
from scaling.runs.run_folder import hold, open_run, read_record
from scaling.runs.stop_signals import at_once
from scaling.runs.teacher import check_teacher
from scaling.tasks.base import TaskModule
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.detection import DetectionTask
from scaling.tasks.segmentation import SegmentationTask

TASKS: dict[str, type[TaskModule]] = {
    "classify": ClassificationTask,
    "detect": DetectionTask,
    "segment": SegmentationTask,
}


@listed_once()
def train(
    config: ExperimentConfig,
    results: Path,
    settings: RuntimeConfig | None = None,
    report: Report = lambda event: None,
    wait: float = 0,
) -> RunRecord:
    """Train, evaluate and record one run in results/run_id/; resume it where it was interrupted, or return its record
    (also one that lies in a folder of another name).

    wait: seconds to wait for another process that trains this run; -1: without end. Raises ConfigError (nothing was
    written), RunLockedError, TrainingInterrupted (Ctrl-C, SIGTERM, SIGHUP, SIGUSR1; the run can be resumed). A loss
    that is not finite ends the run with a record whose status is "failed".
    """
    settings, results = settings or RuntimeConfig(), Path(results)
    task = TASKS[config.task.kind]
    task.check_available(config)
    check_outputs(config, settings.save_predictions, settings.export_coco)
    check_start(config, results)
    check_teacher(config, results)
    config = with_fingerprints([config], results, notify=lambda text: report(Event("note", text=text)))[config.run_id]
    folder = folder_of(config, results)
    record = read_record(folder)
    if record is None:
        with at_once():
            record, folder = _train(config, results, settings, report, wait), training_folder(config, results)
    elif names_of(settings.logger):
        report(Event("note", text=logged_nothing(settings.logger)))
    if record.status == "finished" and is_first_process():
        place = place_of(config, settings, record)
        if settings.save_predictions:
            draw_predictions(config, folder, settings.save_predictions, task, place, report)
        if settings.export_coco:
            export_detections(config, folder, task, place, report)
    return record


def _train(config: ExperimentConfig, results: Path, settings: RuntimeConfig, report: Report, wait: float) -> RunRecord:
    """Check and build everything that can be wrong; then train in a folder that is held against other processes."""
    data = _open_data(config, results, settings, report)
    torch.set_num_threads(settings.threads or useful_threads(config, settings.max_parallel_runs or 1))
    parts = _build(config, results, settings, data, report)
    folder = open_run(config, results)
    report(Event("open"))
    with hold(folder, wait) if is_first_process() else contextlib.nullcontext():
        # The process that we waited for may have finished the run.
        record = read_record(folder, lambda text: report(Event("note", text=text)))
        if record is None:
            if is_first_process():
                remove_leftovers(folder)
            task = TASKS[config.task.kind]
            with logged(config, folder, settings, parts.callbacks.curve, task, report):
                outcome = _fit_and_evaluate(config, folder, parts, report)
                record = _record(config, folder.name, settings, parts, outcome)
                if parts.trainer.is_global_zero:
                    record.save(folder)
                parts.trainer.strategy.barrier()  # the next stage starts from what this one wrote
        return record


def _open_data(config: ExperimentConfig, results: Path, settings: RuntimeConfig, report: Report) -> ImageDataModule:
    """The run's data, once all that can be checked before they are read is right. Raises ConfigError."""
    find_start(config, results)
    check_loggers(settings.logger)
    # Only Lightning knows how many devices "auto" is; one is enough to find most of what can be wrong.
    world = int(settings.devices) * settings.num_nodes if settings.devices.isdigit() else 1
    check_sizes(config, world, settings.micro_batch_size or 0)
    here, cores = world // settings.num_nodes, usable_cores()
    if here > cores and not uses_cuda(settings.accelerator):
        report(
            Event("note", text=f"{here} devices are {here} processes on {cores} cores: --devices {cores} is as fast")
        )
    num_workers = default_workers() if settings.num_workers is None else settings.num_workers
    data = ImageDataModule(config, num_workers, results, notify=lambda text: report(Event("note", text=text)))
    data.setup()
    for line in (*data.lines, *renamed(config, results)):
        report(Event("note", text=line))
    return data


class Parts(NamedTuple):
    """Everything that trains a run, built before there is a folder."""

    module: TaskModule
    data: ImageDataModule
    callbacks: RunCallbacks
    micro_batch: MicroBatch
    averaged: Averaged | None
    trainer: L.Trainer
    flops: float  # of an image's forward pass [FLOPs]
    teacher_flops: float  # the same of the teacher, where there is one


def _build(
    config: ExperimentConfig, results: Path, settings: RuntimeConfig, data: ImageDataModule, report: Report
) -> Parts:
    """The model with its initial weights, and its trainer. Writes nothing. Raises ConfigError."""
    memory = Memory(uses_cuda(settings.accelerator))
    module = TASKS[config.task.kind](config, data.total_steps, data.names)
    start_from(module, config, results)
    teacher_flops = set_teacher(module)
    flops = float(costs.recipe_flops(config) or counted_flops(module))  # before training: it may fail
    apply_speed_options(module, settings)
    folder = training_folder(config, results)
    micro_batch = MicroBatch(config, data, settings.micro_batch_size or 0, results, settings.grad_checkpointing)
    averaged = Averaged(config.optim.model_ema_decay or 0.0) if config.optim.model_ema_decay else None
    callbacks = run_callbacks(
        config, folder, data, settings.checkpoint_minutes, settings.test_points, averaged, report, memory
    )
    # The micro-batch is found before anything counts in it; the average is in the checkpoints that the last one writes.
    before = [micro_batch, evaluation_steps.Evaluations(config, data), *([averaged] if averaged else [])]
    trainer = make_trainer(config, settings, [*before, *callbacks.for_lightning], data, folder)
    return Parts(module, data, callbacks, micro_batch, averaged, trainer, flops, teacher_flops)


class Outcome(NamedTuple):
    """How training and evaluation ended. failure: reason, step, lr; empty where the run finished."""

    evaluated: Evaluated
    failure: dict[str, object]


def _fit_and_evaluate(config: ExperimentConfig, folder: Path, parts: Parts, report: Report) -> Outcome:
    callbacks, trainer = parts.callbacks, parts.trainer
    callbacks.clock.start()
    checkpoint = checkpoint_files.newest(folder, lambda text: report(Event("note", text=text)))
    evaluated, failure = Evaluated({}, []), {}
    try:
        with _out_of_memory(parts.micro_batch):
            trainer.fit(parts.module, datamodule=parts.data, ckpt_path=checkpoint, weights_only=True)
        report(Event("evaluate", callbacks.progress.progress(trainer)))
        evaluated = evaluate(config, folder, trainer, parts.module, parts.data, parts.averaged)
        losses = [row["test_loss"] for row in evaluated.rows]
        if not all(map(math.isfinite, [*evaluated.results.values(), *losses])):
            failure = {"reason": "test loss is not finite", "step": trainer.global_step, "lr": 0.0}
    except NonFiniteLossError as e:
        failure = e.facts
    callbacks.curve.finish(evaluated.results)
    return Outcome(evaluated, failure)


def _record(
    config: ExperimentConfig, run_id: str, settings: RuntimeConfig, parts: Parts, outcome: Outcome
) -> RunRecord:
    """The record of a run that has ended, on every process that shares it."""
    module, data, callbacks, trainer = parts.module, parts.data, parts.callbacks, parts.trainer
    metrics, failed = dict(outcome.evaluated.results), bool(outcome.failure)
    loss = metrics.pop("test_loss", None)
    metrics |= {"train_loss": callbacks.curve.train_loss} if data.total_steps else {}
    metrics |= callbacks.curve.read_by_instruments()
    metrics |= {**data.skipped, **callbacks.skipped.counts, **callbacks.packing.metrics}
    return RunRecord(
        run_id=run_id,
        group=config.group,
        config=config.to_dict(),
        status="failed" if failed else "finished",
        test_loss=None if failed else loss,
        metrics={} if failed else metrics,
        tokens=costs.recipe_tokens(config),
        parameters=sum(p.numel() for p in module.parameters() if p.requires_grad),
        flops_per_image=parts.flops,
        teacher_flops_per_image=parts.teacher_flops,
        peak_memory=callbacks.throughput.peak_memory,
        images_per_second=callbacks.throughput.images_per_second,
        wall_time=callbacks.clock.wall_time(),
        class_names=list(data.names),
        failure=outcome.failure,
        versions=versions(),
        git_commit=git_commit(),
        machine={
            **machine(),
            **conditions(
                trainer, module, settings.grad_checkpointing, data.num_workers, settings.max_parallel_runs or 1
            )._asdict(),
            "devices": trainer.world_size,
            "micro_batch": parts.micro_batch.size(trainer.world_size),
        },
        started=callbacks.clock.started,
        ended=utc_now(),
        evaluations=[] if failed else outcome.evaluated.rows,
        phases=[] if failed else callbacks.phases.rows(trainer, callbacks.curve.read_by_instruments),
    )


@contextlib.contextmanager
def _out_of_memory(micro_batch: MicroBatch) -> Iterator[None]:
    """Turn the device's error into one that names the remedy, and halve the micro-batch for the next start."""
    try:
        yield
    except torch.OutOfMemoryError as e:
        micro_batch.forget()
        reason = f"out of memory on the device ({first_line(e)}); the same command resumes with half the micro-batch"
        raise MemoryError(reason) from e
