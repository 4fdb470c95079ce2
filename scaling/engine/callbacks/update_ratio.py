"""Update-to-weight ratio: how far a step moves the weights, as a share of their norm."""

from typing import cast

import lightning as L
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from scaling.engine.callbacks.instrument import Instrument
from scaling.engine.callbacks.step import RunState
from scaling.engine.fsdp import whole

RATIO = "update_ratio"


class UpdateRatio(Instrument):
    """Column update_ratio: |w_after - w_before| / |w_before| over all matrices and kernels that are trained [1], mean
    over the steps that were read since the last row; vectors (biases, norms) hold few of the weights and are left out.
    Weights are copied within these steps, when activations are free."""

    columns = (RATIO,)

    def __init__(self, state: RunState) -> None:
        self.state = state
        self._weights: list[Tensor] = []
        self._before: list[Tensor] = []  # the weights before the step, within one that is read
        self._ratios: list[Tensor | float] = []  # since the last row

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._weights = [p.detach() for p in pl_module.parameters() if p.requires_grad and p.ndim > 1]

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if self.state.read:
            self._before = [w.clone() for w in self._weights]

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if self.state.step is None or not self._before:
            return
        before, self._before = self._before, []
        norm = _norm(before)
        torch._foreach_sub_(before, self._weights)
        self._ratios.append(_norm(before) / norm)

    def cells(self, trainer: L.Trainer) -> dict[str, float]:
        ratios, self._ratios = [float(ratio) for ratio in self._ratios], []
        return {RATIO: sum(ratios) / len(ratios)} if ratios else {}

    def state_dict(self) -> dict[str, object]:
        return {"ratios": [float(ratio) for ratio in self._ratios]}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        self._ratios = [*cast(list[float], state_dict["ratios"])]


def _norm(tensors: list[Tensor]) -> Tensor:
    """Of all tensors together."""
    if any(isinstance(t, DTensor) for t in tensors):
        norms = [torch.linalg.vector_norm(t) for t in tensors]
    else:
        norms = list(torch._foreach_norm(tensors))
    return torch.linalg.vector_norm(whole(torch.stack(norms)))
