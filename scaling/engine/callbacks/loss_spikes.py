"""Loss spikes: steps whose training loss is far above those before, by a rule that spikes themselves do not move.

A step is a spike if its loss exceeds the median of the last SPIKE_WINDOW steps of the same shape (patch and image size)
by more than LIMIT median absolute deviations; for a normal distribution LIMIT is 5.4 standard deviations. Steps of
another shape have another level of loss, which is no spike. Until a shape has had SPIKE_WINDOW steps none is a spike.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TypedDict, cast

import lightning as L
from torch import Tensor

from scaling.config.step_shapes import StepShape
from scaling.data.batch import Batch
from scaling.engine.callbacks.instrument import Instrument
from scaling.engine.callbacks.step import RunState
from scaling.engine.distributed import each_over_devices

SPIKES = "loss_spikes"
SPIKE_WINDOW = 33  # steps; odd, so that a median is one of them
LIMIT = 8.0  # median absolute deviations


class SpikeRule:
    """The rule for losses [nats] of one shape of steps, in order."""

    def __init__(self, before: Sequence[float] = ()) -> None:
        self.window = deque(before, maxlen=SPIKE_WINDOW)

    def is_spike(self, loss: float) -> bool:
        """Whether the next loss is one; it joins the window in either case."""
        window, found = self.window, False
        if len(window) == SPIKE_WINDOW:
            median = _median(window)
            if loss > median:  # only then the deviations matter
                found = loss - median > LIMIT * _median([abs(x - median) for x in window])
        window.append(loss)
        return found


def _median(numbers: Sequence[float] | deque[float]) -> float:
    """Of an odd number."""
    return sorted(numbers)[len(numbers) // 2]


class _Kept(TypedDict):
    """The callback's part of a checkpoint."""

    windows: list[tuple[list[int], list[float]]]
    losses: list[tuple[list[int], float]]


class LossSpikes(Instrument):
    """Column loss_spikes: steps since the last row that are spikes [1]; the record has their number."""

    columns = (SPIKES,)

    def __init__(self, state: RunState) -> None:
        self.state = state
        self._rules: dict[StepShape, SpikeRule] = {}
        self._losses: list[tuple[StepShape, Tensor | float]] = []  # of the steps since the last row

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        if self.state.step is not None:
            self._losses.append((batch.shape, self.state.step.loss))

    def cells(self, trainer: L.Trainer) -> dict[str, float]:
        shapes, losses = [shape for shape, _ in self._losses], [float(loss) for _, loss in self._losses]
        self._losses = []
        losses = each_over_devices(trainer, losses, "mean")
        rules = [self._rules.setdefault(shape, SpikeRule()) for shape in shapes]
        return {SPIKES: float(sum(rule.is_spike(loss) for rule, loss in zip(rules, losses, strict=True)))}

    def summary(self, rows: Sequence[Mapping[str, float]], steps: Sequence[int]) -> dict[str, float]:
        counts = [row[SPIKES] for row in rows if SPIKES in row]
        return {SPIKES: sum(counts)} if counts else {}

    def state_dict(self) -> dict[str, object]:
        return {
            "windows": [(list(shape), list(rule.window)) for shape, rule in self._rules.items()],
            "losses": [(list(shape), float(loss)) for shape, loss in self._losses],
        }

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        kept = cast(_Kept, state_dict)
        self._rules = {StepShape(*shape): SpikeRule(window) for shape, window in kept["windows"]}
        self._losses = [(StepShape(*shape), loss) for shape, loss in kept["losses"]]
