"""The phases of a run with a schedule: time and training loss of each, and what its change did to the loss."""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, TypedDict, cast

import lightning as L
from torch import Tensor

from scaling.config.step_shapes import PatchSchedule, StepShape
from scaling.costs.phases import Phase, phases_of
from scaling.costs.run_flops import cumulated_flops
from scaling.engine.callbacks.change_probe import AFTER, AT_CHANGE, KINDS, probe_loss
from scaling.engine.callbacks.step import RunState
from scaling.engine.curve_steps import images_at_each
from scaling.engine.distributed import over_devices
from scaling.runs.phases import PhaseRow
from scaling.tasks.base import TaskModule


class _Kept(TypedDict):
    """The callback's part of a checkpoint, by phase."""

    seconds: list[float]
    losses: list[float]
    probes: list[list[float]]


class PhaseMeter(L.Callback):
    """Measures each phase of a run with a schedule, and nothing of other runs. At the change from one shape to another,
    and some steps after it (AFTER), the loss of the same training images is taken: of so many that all of this costs
    about 3 % of the training (curve_steps.py), and of none where these are too few. A resumed run has the same rows, to
    the last bit but for their seconds."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self._phases: list[Phase] = []
        self._of_step: list[int] = []  # the phase of every step
        self._changes: dict[int, tuple[StepShape, StepShape]] = {}  # by phase
        self._images = 0  # of a probe
        self._seconds: list[float] = []  # by phase
        self._losses: list[float] = []  # sums over the steps of this device, by phase
        self._pending: list[Tensor] = []  # losses of steps of the phase at hand that are not in _losses yet
        self._probes: list[list[float]] = []  # by phase: before and after the change, and after the steps of AFTER
        self._mark = self._other = 0.0  # the end of the step before, and seconds that were no training until then

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        config, data = self.state.config, self.state.data
        if not isinstance(config.step_shapes, PatchSchedule) or not data.total_steps:
            return
        self._phases = phases_of(config, data.total_steps)
        self._of_step = [number for number, phase in enumerate(self._phases) for _ in range(phase.steps)]
        pure = [next(iter(phase.shares)) if len(phase.shares) == 1 else None for phase in self._phases]
        if config.task.kind in KINDS:
            pairs = enumerate(pairwise(pure), start=1)
            self._changes = {number: (one, other) for number, (one, other) in pairs if one and other and one != other}
        points = len(self._changes) * (AT_CHANGE + len(AFTER))
        seen = data.total_steps * config.optim.global_batch_size
        affordable = images_at_each(points, seen, len(data.train_set))
        self._images = affordable - affordable % trainer.world_size  # equal shares: sharded weights need equal passes
        if not self._seconds:
            self._seconds, self._losses = [0.0] * len(self._phases), [0.0] * len(self._phases)
            self._probes = [[] for _ in self._phases]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step and not any(self._seconds):  # a checkpoint of an earlier version
            self._phases = []
        self._set_mark(time.monotonic())

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        step = self.state.step
        if step is None or not self._phases:
            return
        phase = self._of_step[step.number - 1]
        self._seconds[phase] += step.ended - self._mark - (self._other_seconds() - self._other)
        self._set_mark(step.ended)
        self._pending.append(step.loss)
        if step.number == len(self._of_step) or self._of_step[step.number] != phase:
            self._add_pending(phase)
        self._probe(trainer, pl_module, step.number)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._set_mark(time.monotonic())

    def _set_mark(self, now: float) -> None:
        self._mark, self._other = now, self._other_seconds()

    def _other_seconds(self) -> float:
        """Spent on checkpoints, on test losses and on probes so far [s]; TestLosses comes after this callback."""
        return self.state.saving_seconds + self.state.testing_seconds + self.state.probing_seconds

    def _add_pending(self, phase: int) -> None:
        for loss in self._pending:
            self._losses[phase] += loss.item()
        self._pending = []

    def _probe(self, trainer: L.Trainer, pl_module: L.LightningModule, done: int) -> None:
        """Take the losses that are due after so many steps of the run."""
        if done >= len(self._of_step) or not self._images:
            return
        phase = self._of_step[done]
        if phase not in self._changes:
            return
        before, after = self._changes[phase]
        since = done - self._phases[phase].first_step
        due = (before, after) if since == 0 else (after,) if since in AFTER else ()
        begun = time.monotonic()
        for shape in due:
            loss = probe_loss(trainer, cast(TaskModule, pl_module), self.state.data, shape, self._images)
            self._probes[phase].append(loss)
        self.state.probing_seconds += time.monotonic() - begun

    def rows(self, trainer: L.Trainer, read: Callable[[int, int], dict[str, float]]) -> list[PhaseRow]:
        """RunRecord.phases. read: the instruments' numbers of the steps after so many up to so many, by column
        (CurveLogger.read_by_instruments). All devices have to call."""
        config, data = self.state.config, self.state.data
        found: list[PhaseRow] = []
        if not self._phases:
            return found
        flops = cumulated_flops(config, data.total_steps)
        for number, phase in enumerate(self._phases):
            end = phase.first_step + phase.steps
            shapes = [data.shape_at(step) for step in range(phase.first_step, end)]
            loss = over_devices(trainer, self._losses[number], "mean") / phase.steps
            spike = spike_of(self._probes[number])
            found.append(
                PhaseRow(
                    first_step=phase.first_step,
                    steps=phase.steps,
                    patch_sizes=sorted({shape.patch_size for shape in shapes}, reverse=True),
                    img_sizes=sorted({shape.img_size for shape in shapes}, reverse=True),
                    crops=sorted({shape.crop for shape in shapes}, reverse=True),
                    images=sum(data.size_of(shape).images for shape in shapes),
                    flops=float(flops[end] - flops[phase.first_step]) if len(flops) else 0.0,
                    seconds=self._seconds[number],
                    train_loss=loss,
                    loss_before=spike.before,
                    loss_after=spike.after,
                    spike=spike.height,
                    spike_steps=spike.steps,
                    instruments=read(phase.first_step, end),
                )
            )
        return found

    def state_dict(self) -> dict[str, object]:
        if self._pending:
            self._add_pending(self._of_step[self.state.step.number - 1] if self.state.step else 0)
        kept = _Kept(seconds=list(self._seconds), losses=list(self._losses), probes=[list(one) for one in self._probes])
        return cast(dict[str, object], kept) if self._phases else {}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        kept = cast(_Kept, state_dict)
        self._seconds, self._losses, self._probes = kept["seconds"], kept["losses"], kept["probes"]


class Spike(NamedTuple):
    """What a change did to the loss, as in PhaseRow."""

    before: float | None
    after: float | None
    height: float | None
    steps: int | None


def spike_of(probes: list[float]) -> Spike:
    """probes: the loss before and after a change, and after the steps of AFTER, as far as the phase goes [nats]; empty:
    none was taken."""
    if len(probes) < AT_CHANGE:
        return Spike(None, None, None, None)
    before, *later = probes
    above = [number for number, loss in enumerate(later) if loss > before]
    steps = (0, *AFTER)[: len(later)]
    settled = above[-1] + 1 if above else 0  # from there on it stays at the level of before
    return Spike(before, later[0], max(later) - later[0], steps[settled] if settled < len(steps) else None)
