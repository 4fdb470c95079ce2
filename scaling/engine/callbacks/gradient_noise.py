"""Gradient noise scale: the batch size above which larger batches hardly help (McCandlish et al., arXiv 1812.06162,
section 2.2 and appendix A.1).

The expected square of the norm of a batch's gradient is |G|^2 + tr(S) / B, with the true gradient G and the covariance
S of one image's gradient. Two batch sizes give both: small batches are the micro-batches of all devices, the large one
is the batch. Without bias:

    |G|^2 = (B |g_B|^2 - b |g_b|^2) / (B - b)    tr(S) = (|g_b|^2 - |g_B|^2) / (1/b - 1/B)

where |g_b|^2 is the mean over the small batches. Estimates of single steps are noisy, and that of |G|^2 may be
negative: the noise scale tr(S) / |G|^2 is the ratio of their means.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypedDict, cast

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from scaling.data.batch import Batch
from scaling.engine.callbacks.instrument import WINDOW, Instrument
from scaling.engine.callbacks.step import RunState
from scaling.engine.distributed import each_over_devices
from scaling.tasks.base import TaskModule

SIGNAL, NOISE, SCALE = "grad_signal", "grad_noise", "noise_scale"


class Parts(NamedTuple):
    """Estimates from one step."""

    signal: float  # |G|^2
    noise: float  # tr(S)


def noise_parts(small_square: float, large_square: float, small: int, large: int) -> Parts:
    """From squared norms of gradients of batches of `small` (the mean over several) and of `large` images."""
    return Parts(
        signal=(large * large_square - small * small_square) / (large - small),
        noise=(small_square - large_square) / (1 / small - 1 / large),
    )


def noise_scale(signal: float, noise: float) -> dict[str, float]:
    """The ratio [images], by its column; empty where the estimate of |G|^2 is not above zero: not known."""
    return {SCALE: noise / signal} if signal > 0 else {}


class _Read(NamedTuple):
    """Of one step."""

    small_square: Tensor | float  # mean over the micro-batches of this device
    large_square: Tensor | float
    small: int  # images of a micro-batch: a resumed run may have others, and so may steps of another shape
    large: int  # of the step


class _Kept(TypedDict):
    """The callback's part of a checkpoint."""

    read: list[tuple[float, float, int, int]]
    window: list[list[float]]


class GradientNoise(Instrument):
    """Columns: grad_signal, grad_noise: means over the steps that were read since the last row; noise_scale: over the
    window. Not known where a batch is one micro-batch of one device, and where devices share the weights (fsdp): no
    device has a gradient of its images alone there. Stands behind GradientNorms."""

    columns = (SIGNAL, NOISE, SCALE)

    def __init__(self, state: RunState) -> None:
        self.state = state
        self._parameters: list[nn.Parameter] = []
        self._hooks: list[RemovableHandle] = []  # on the parameters, within a step that is read
        self._norms: list[Tensor] = []  # of the micro-batch's gradients, by parameter
        self._small: list[Tensor] = []  # squared norms of the step's micro-batches on this device
        self._read: list[_Read] = []  # since the last row
        self._window: deque[Parts] = deque(maxlen=WINDOW)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._parameters = [p for p in pl_module.parameters() if p.requires_grad]

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        if self._hooks or not self.state.read:
            return
        micro_batches = self.state.data.size_of(batch.shape).micro_batches
        if micro_batches * trainer.world_size == 1 or cast(TaskModule, pl_module).sharded:
            return
        see = _norm_to(self._norms)
        self._hooks = [p.register_hook(see) for p in self._parameters]

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        if not self._hooks:
            return
        if self._norms:
            self._small.append(torch.stack(self._norms).square().sum())
            self._norms.clear()
        if self.state.step is None:
            return
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        if self._small and self.state.gradient_norms_P is not None:
            # Lightning has divided each micro-batch's loss by their number.
            images, micro_batches = self.state.data.size_of(batch.shape)
            small_square = torch.stack(self._small).mean() * micro_batches**2
            small = images // trainer.world_size // micro_batches
            self._read.append(_Read(small_square, self.state.gradient_norms_P.square().sum(), small, images))
        self._small = []

    def cells(self, trainer: L.Trainer) -> dict[str, float]:
        read, self._read = self._read, []
        if not read:
            return {}
        squares = each_over_devices(trainer, [float(each.small_square) for each in read], "mean")
        pairs = zip(squares, read, strict=True)
        found = [noise_parts(square, float(each.large_square), each.small, each.large) for square, each in pairs]
        self._window.extend(found)
        signal, noise = _mean(found)
        return {SIGNAL: signal, NOISE: noise} | noise_scale(*_mean(self._window))

    def summary(self, rows: Sequence[Mapping[str, float]], steps: Sequence[int]) -> dict[str, float]:
        found = super().summary(rows, steps)
        found.pop(SCALE, None)  # a mean of ratios is not the ratio of the means
        return found | (noise_scale(found[SIGNAL], found[NOISE]) if SIGNAL in found else {})

    def state_dict(self) -> dict[str, object]:
        read = [(float(each.small_square), float(each.large_square), each.small, each.large) for each in self._read]
        return {"read": read, "window": [list(parts) for parts in self._window]}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        kept = cast(_Kept, state_dict)
        self._read = [_Read(*each) for each in kept["read"]]
        self._window.extend(Parts(*parts) for parts in kept["window"])


def _norm_to(norms: list[Tensor]) -> Callable[[Tensor], None]:
    """A hook that leaves the gradient as it is."""
    return lambda gradient: norms.append(torch.linalg.vector_norm(gradient.detach()))


def _mean(parts: Sequence[Parts] | deque[Parts]) -> Parts:
    signals, noises = zip(*parts, strict=True)
    return Parts(sum(signals) / len(signals), sum(noises) / len(noises))
