"""Stochastic depth (arXiv 1603.09382), image by image: what an image loses does not depend on the batch around it."""

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """An image's branch is dropped with probability `rate` in training, and kept ones scaled to the same mean.

    Which ones, `draws_B` says, numbers in [0, 1) that `set_draws` hands out; without them, torch's generator does."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.draws_B: Tensor | None = None

    def forward(self, x_BLD: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x_BLD
        # float32 whatever x is: bfloat16's steps of 1/256 would drop more than the rate
        draws_B = torch.rand(len(x_BLD), device=x_BLD.device) if self.draws_B is None else self.draws_B
        kept_B = (draws_B >= self.rate).to(x_BLD.dtype) / (1 - self.rate)
        return x_BLD * kept_B.view(-1, *[1] * (x_BLD.ndim - 1))


def set_draws(model: nn.Module, draws_BS: Tensor | None) -> None:
    """Hand a column to every DropPath of the model, in the order of its modules; None: torch's generator again."""
    for column, module in enumerate(m for m in model.modules() if isinstance(m, DropPath)):
        module.draws_B = None if draws_BS is None else draws_BS[:, column]
