"""All callbacks of a run, in the order in which they are called at every hook."""

import functools
from dataclasses import dataclass
from pathlib import Path

import lightning as L

from scaling.config.experiment import ExperimentConfig
from scaling.data.datamodule import ImageDataModule
from scaling.engine.callbacks.checkpointer import Checkpointer
from scaling.engine.callbacks.clock import RunClock
from scaling.engine.callbacks.curve_logger import CurveLogger
from scaling.engine.callbacks.dispatcher import HookDispatcher
from scaling.engine.callbacks.embedding_scale import EmbeddingScale
from scaling.engine.callbacks.gradient_noise import GradientNoise
from scaling.engine.callbacks.gradient_norms import GradientNorms
from scaling.engine.callbacks.keeper_state import KeeperState
from scaling.engine.callbacks.loss_spikes import LossSpikes
from scaling.engine.callbacks.nonfinite_guard import NonFiniteGuard
from scaling.engine.callbacks.packing import PackingCounts
from scaling.engine.callbacks.phases import PhaseMeter
from scaling.engine.callbacks.progress import ProgressReporter
from scaling.engine.callbacks.run_log import RunLog
from scaling.engine.callbacks.signals import SignalHandler
from scaling.engine.callbacks.skipped_images import SkippedImages
from scaling.engine.callbacks.step import RunState, StepTracker
from scaling.engine.callbacks.step_seeder import StepSeeder
from scaling.engine.callbacks.test_losses import TestLosses
from scaling.engine.callbacks.throughput import ThroughputMonitor
from scaling.engine.callbacks.update_ratio import UpdateRatio
from scaling.engine.ema import Averaged
from scaling.engine.environment import Memory
from scaling.runs.events import Report


@dataclass(frozen=True)
class RunCallbacks:
    """The callbacks of a run: by name those that a record is made from, and all of them in order.

    Order matters, and every callback only reads what others before it have written (RunState):
    StepSeeder seeds before anything draws;
    SignalHandler is ready before the first event is reported; StepTracker finds the step that the others are about;
    NonFiniteGuard ends the run before the step leaves a trace; ThroughputMonitor measures what ProgressReporter and
    RunLog show; of the instruments GradientNoise needs what GradientNorms has read; CurveLogger adds the row whose loss
    RunLog shows, with the instruments' cells; PhaseMeter counts the time of the step before TestLosses, which adds
    another row, takes its own; Checkpointer is the last: its checkpoints hold what all others did in the step, and it
    ends the run where a signal asked for it.
    """

    clock: RunClock
    throughput: ThroughputMonitor
    progress: ProgressReporter
    curve: CurveLogger
    skipped: SkippedImages
    packing: PackingCounts
    phases: PhaseMeter
    ordered: tuple[L.Callback, ...]

    @functools.cached_property
    def for_lightning(self) -> list[L.Callback]:
        """What the trainer takes: all as one callback, after the one that reads checkpoints of earlier versions."""
        return [KeeperState(), HookDispatcher(self.ordered)]


def run_callbacks(
    config: ExperimentConfig,
    folder: Path,
    data: ImageDataModule,
    checkpoint_minutes: float,
    test_points: int,
    averaged: Averaged | None,
    report: Report,
    memory: Memory,
) -> RunCallbacks:
    """The callbacks that keep a run's folder up to date. test_points, averaged: of TestLosses. memory: made before the
    model was."""
    clock = RunClock()
    state = RunState(config, folder, data, report, clock)
    throughput, progress = ThroughputMonitor(state, memory), ProgressReporter(state)
    instruments = (
        GradientNorms(state),
        GradientNoise(state),
        UpdateRatio(state),
        EmbeddingScale(state),
        LossSpikes(state),
    )
    curve, skipped, packing = CurveLogger(state, instruments), SkippedImages(), PackingCounts()
    phases = PhaseMeter(state)
    ordered = (
        clock,
        StepSeeder(config.seed),
        SignalHandler(state),
        StepTracker(state),
        NonFiniteGuard(state),
        throughput,
        progress,
        *instruments,
        curve,
        phases,
        TestLosses(state, curve, test_points, averaged if config.evaluation.eval_weights == "ema" else None),
        RunLog(state),
        skipped,
        packing,
        Checkpointer(state, checkpoint_minutes),
    )
    return RunCallbacks(clock, throughput, progress, curve, skipped, packing, phases, ordered)
