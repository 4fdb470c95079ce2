"""A linear layer on a CPU whose output's rows begin where vectors of AVX do.

MKL's product takes twice as long where the rows of an output larger than the caches are no multiple of 16 bytes, as the
227 channels of adventurer_nano's mixer: 14 and 6 ms for 16,640 rows (docs/results/speed.md)."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

FAST_ROWS, VECTOR = 16, 32  # bytes


class AlignedLinear(nn.Linear):
    """nn.Linear without a bias. The output (..., out_features) may have unused memory between its rows."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self._needs_aligning(x):
            return super().forward(x)
        return cast(Tensor, _Product.apply(x, self.weight))

    def _needs_aligning(self, x: Tensor) -> bool:
        plain = x.device.type == "cpu" and x.dtype == self.weight.dtype and x.dtype in (torch.float32, torch.float64)
        if not plain or self.out_features * x.element_size() % FAST_ROWS == 0 or torch.is_autocast_enabled("cpu"):
            return False
        # Compilers choose the memory of what they make, and torch.func has its own rules for Functions.
        return not torch.compiler.is_compiling() and not torch._C._are_functorch_transforms_active()


class _Context(FunctionCtx):
    saved_tensors: tuple[Tensor, Tensor]
    needs_input_grad: tuple[bool, bool]


class _Product(torch.autograd.Function):
    """x (..., in) times weight (out, in), transposed."""

    @staticmethod
    def forward(ctx: _Context, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        channels = len(weight)
        filled = -(-channels * x.element_size() // VECTOR) * VECTOR // x.element_size()
        out = x.new_empty(*x.shape[:-1], filled)[..., :channels]
        torch.mm(x.flatten(0, -2), weight.t(), out=out.flatten(0, -2))
        return out

    @staticmethod
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad_rows, (of_x, of_weight) = grad.flatten(0, -2), ctx.needs_input_grad
        return (
            torch.mm(grad_rows, weight).view(x.shape) if of_x else None,
            torch.mm(grad_rows.t(), x.flatten(0, -2)) if of_weight else None,
        )
