"""Gradient norms before clipping, of the whole model and by group of parameters, their variance, and clipped steps.

A run that clips gradients computes the norms of all parameters anyway, so they are read at every step; in one that does
not they are read at every EVERY-th step. P parameters that have a gradient.
"""

import math
from collections.abc import Sequence
from operator import mul
from typing import TypedDict, cast

import lightning as L
import torch
from torch import Tensor

from scaling.engine.callbacks.instrument import WINDOW, Instrument
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
    """Writes state.gradient_norms_P. Columns: grad_norm, grad_norm_GROUP: means over the steps since the last row;
    grad_norm_var, grad_norm_var_GROUP: variances over the window [square of the norm's unit]; clipped_steps [%]."""

    def __init__(self, state: RunState) -> None:
        self.state, self.max_norm = state, state.config.optim.max_grad_norm
        self._unclipped: Norms | None = None  # of a step that is read, where nothing is clipped
        self._since: list[tuple[Tensor, list[int]]] = []  # norms (P,) and groups of parameters, since the last row
        self._earlier: list[list[float]] = []  # squared norms by group of those before the checkpoint
        self._window: list[list[float]] = []  # norms: of all, then of each group
        self._group_of: dict[int, int] = {}  # by the parameter's id
        self._all_groups: list[int] = []  # of all parameters in the optimiser's order

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Not setup: where devices share the weights, there are other parameters behind it."""
        groups = parameter_groups(cast(TaskModule, pl_module))
        self._group_of = {id(p): n for n, parameters in enumerate(groups.values()) for p in parameters}
        self._count = len(groups)
        self._norm_columns = (ALL, *(f"{ALL}_{name}" for name in groups))
        self._variance_columns = (VARIANCE, *(f"{VARIANCE}_{name}" for name in groups))
        clipped = (CLIPPED,) if self.max_norm else ()
        self.columns = (*self._norm_columns, *self._variance_columns, *clipped)

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if self.state.read and not self.max_norm:
            self._unclipped = gradient_norms(p for group in optimizer.param_groups for p in group["params"])

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if self.state.step is None:
            return
        norms = cast(TaskModule, pl_module).gradient_norms if self.max_norm else self._unclipped
        self._unclipped = self.state.gradient_norms_P = None
        if norms is not None:
            self.state.gradient_norms_P = whole(norms.norm_P)
            self._since.append((self.state.gradient_norms_P, self._groups(norms)))

    def _groups(self, norms: Norms) -> list[int]:
        """The group of each parameter that has a gradient: in other steps others may have one."""
        if len(norms.parameters) == len(self._all_groups):
            return self._all_groups
        groups = [self._group_of[id(p)] for p in norms.parameters]
        if len(groups) == len(self._group_of):
            self._all_groups = groups
        return groups

    def cells(self, trainer: L.Trainer) -> dict[str, float]:
        """Loops: a row has few steps, for which an operation of torch or numpy costs more than its numbers."""
        squares = self._squares()
        self._since, self._earlier = [], []
        if not squares:
            return {}
        norms = [[math.sqrt(sum(row)), *map(math.sqrt, row)] for row in squares]
        self._window = [*self._window, *norms][-WINDOW:]
        columns = zip(self._norm_columns, zip(*norms, strict=True), strict=True)
        found = {name: sum(each) / len(each) for name, each in columns}
        if len(self._window) > 1:
            columns = zip(self._variance_columns, zip(*self._window, strict=True), strict=True)
            found |= {name: _variance(each) for name, each in columns}
        if self.max_norm:
            found[CLIPPED] = 100 * sum(row[0] > self.max_norm for row in norms) / len(norms)
        return found

    def _squares(self) -> list[list[float]]:
        """Squared norms by group of the steps since the last row."""
        found = list(self._earlier)
        for norm_P, groups in self._since:
            row = [0.0] * self._count
            for norm, group in zip(norm_P.tolist(), groups, strict=True):
                row[group] += norm * norm
            found.append(row)
        return found

    def state_dict(self) -> dict[str, object]:
        return {"squares": self._squares(), "window": self._window}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        kept = cast(_Kept, state_dict)
        self._earlier, self._window = kept["squares"], kept["window"]


def _variance(numbers: Sequence[float]) -> float:
    """Without bias, of two or more."""
    total = sum(numbers)
    return max(0.0, sum(map(mul, numbers, numbers)) - total * total / len(numbers)) / (len(numbers) - 1)
