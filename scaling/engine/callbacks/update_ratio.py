"""Update-to-weight ratio: how far a step moves the weights, as a share of their norm."""

from typing import cast

import lightning as L
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from scaling.engine.callbacks.instrument import Instrument, is_read
from scaling.engine.callbacks.step import RunState
from scaling.engine.fsdp import whole

RATIO = "update_ratio"


class UpdateRatio(Instrument):
    """Column update_ratio: |w_after - w_before| / |w_before| over all parameters that are trained [1], mean over the
    steps that were read since the last row. Weights are copied within these steps, when activations are free."""

    columns = (RATIO,)

    def __init__(self, state: RunState) -> None:
        self.state = state
        self._before: list[Tensor] = []
        self._ratios: list[Tensor | float] = []  # since the last row

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if is_read(trainer):
            self._before = [p.detach().clone() for p in pl_module.parameters() if p.requires_grad]

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if self.state.step is None or not self._before:
            return
        before, self._before = self._before, []
        weights = _norm(before)
        torch._foreach_sub_(before, [p.detach() for p in pl_module.parameters() if p.requires_grad])
        self._ratios.append(_norm(before) / weights)

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
