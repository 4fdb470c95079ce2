"""Gradient norms before clipping, of the whole model and by group of parameters, their variance, and clipped steps.

A run that clips gradients computes the norms of all parameters anyway, so they are read at every step; in one that does
not they are read at every EVERY-th step. S steps, P parameters, G groups.
"""

from collections import deque
from collections.abc import Sequence
from typing import TypedDict, cast

import lightning as L
import numpy as np
import torch
from torch import Tensor

from scaling.engine.callbacks.instrument import WINDOW, Instrument, is_read
from scaling.engine.callbacks.step import RunState
from scaling.engine.fsdp import whole
from scaling.engine.parameter_groups import parameter_groups
from scaling.tasks.base import TaskModule
from scaling.tasks.gradient_norms import GradientNorms as Norms
from scaling.tasks.gradient_norms import gradient_norms

ALL, VARIANCE, CLIPPED = "grad_norm", "grad_norm_var", "clipped_steps"


class _Kept(TypedDict):
    """The callback's part of a checkpoint."""

    squares: list[list[float]]
    window: list[list[float]]


class GradientNorms(Instrument):
    """Writes state.gradient_squares. Columns: grad_norm, grad_norm_GROUP: means over the steps since the last row;
    grad_norm_var, grad_norm_var_GROUP: variances over the window [square of the norm's unit]; clipped_steps [%]."""

    def __init__(self, state: RunState) -> None:
        self.state, self.max_norm = state, state.config.optim.max_grad_norm
        self._unclipped: Norms | None = None  # of a step that is read, where nothing is clipped
        self._squares: list[Tensor | list[float]] = []  # (G,) of each step since the last row
        self._window: deque[list[float]] = deque(maxlen=WINDOW)  # norms: of all, then of each group
        self._group_of: dict[int, int] = {}  # by the parameter's id
        self._indices: dict[tuple[int, ...], Tensor] = {}  # groups (P,) of parameters, by their ids

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Not setup: where devices share the weights, there are other parameters behind it."""
        groups = parameter_groups(cast(TaskModule, pl_module))
        self._group_of = {id(p): n for n, parameters in enumerate(groups.values()) for p in parameters}
        self._groups = len(groups)
        self._norm_columns = (ALL, *(f"{ALL}_{name}" for name in groups))
        self._variance_columns = (VARIANCE, *(f"{VARIANCE}_{name}" for name in groups))
        clipped = (CLIPPED,) if self.max_norm else ()
        self.columns = (*self._norm_columns, *self._variance_columns, *clipped)

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if not self.max_norm and is_read(trainer):
            self._unclipped = gradient_norms(p for group in optimizer.param_groups for p in group["params"])

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if self.state.step is None:
            return
        norms = cast(TaskModule, pl_module).gradient_norms if self.max_norm else self._unclipped
        self._unclipped = self.state.gradient_squares = None
        if norms is not None:
            square_P = whole(norms.norm_P).square()
            square_G = square_P.new_zeros(self._groups).index_add_(0, self._index(norms, square_P.device), square_P)
            self._squares.append(square_G)
            self.state.gradient_squares = square_G

    def _index(self, norms: Norms, device: torch.device) -> Tensor:
        """The group of each parameter that has a gradient: others may have one in the next step."""
        ids = tuple(map(id, norms.parameters))
        if ids not in self._indices:
            self._indices[ids] = torch.tensor([self._group_of[each] for each in ids], device=device)
        return self._indices[ids]

    def cells(self, trainer: L.Trainer) -> dict[str, float]:
        if not self._squares:
            return {}
        square_SG = np.array(_numbers(self._squares))
        self._squares = []
        norm_SG = np.sqrt(np.column_stack([square_SG.sum(1), square_SG]))
        self._window.extend(norm_SG.tolist())
        found = dict(zip(self._norm_columns, norm_SG.mean(0).tolist(), strict=True))
        if len(self._window) > 1:
            variance_G = np.var(np.array(self._window), axis=0, ddof=1)
            found |= zip(self._variance_columns, variance_G.tolist(), strict=True)
        if self.max_norm:
            found[CLIPPED] = 100 * float((norm_SG[:, 0] > self.max_norm).mean())
        return found

    def state_dict(self) -> dict[str, object]:
        return {"squares": _numbers(self._squares), "window": list(self._window)}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        kept = cast(_Kept, state_dict)
        self._squares = [*kept["squares"]]
        self._window.extend(kept["window"])


def _numbers(rows: Sequence[Tensor | list[float]]) -> list[list[float]]:
    return [row.tolist() if isinstance(row, Tensor) else row for row in rows]
