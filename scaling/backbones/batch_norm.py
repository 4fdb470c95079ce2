"""BatchNorm in place of LayerNorm, each token of a batch being a sample, with the running statistics of all patch sizes
together or of each (arXiv 1502.03167; per size: as networks of switchable width have it, arXiv 1812.08928).

Unlike LayerNorm, what a token becomes in training depends on all tokens of its micro-batch. B images, T tokens, D
channels, K patch sizes.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOMENTUM = 0.1  # torch's
EPS = 1e-6  # timm's of a ViT's LayerNorm
STATISTICS = ("running_mean", "running_var")  # buffers (K, D)


class TokenBatchNorm(nn.Module):
    """Norm over all tokens of a batch, per channel; weight and bias are shared by all patch sizes."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        width: int,
        patches: Sequence[int] = (),
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """patches: sizes [px] that have statistics of their own; none: all share them. device, dtype: as timm passes
        them to every layer."""
        super().__init__()
        self.patches, self.patch_size = tuple(patches), 0
        zeros_KD = torch.zeros(max(1, len(self.patches)), width, device=device, dtype=dtype)
        self.weight, self.bias = nn.Parameter(torch.ones_like(zeros_KD[0])), nn.Parameter(zeros_KD[0].clone())
        self.register_buffer("running_mean", zeros_KD)
        self.register_buffer("running_var", torch.ones_like(zeros_KD))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.weight.fill_(1)
        self.bias.zero_()
        self.running_mean.zero_()
        self.running_var.fill_(1)

    def row(self, patch_size: int) -> int:
        """Whose statistics serve a patch size [px]: its own, or of a size that was not trained those of the nearest
        ratio (of two, the finer)."""
        if not self.patches:
            return 0
        return min(range(len(self.patches)), key=lambda k: (self._octaves(k, patch_size), self.patches[k]))

    def _octaves(self, k: int, patch_size: int) -> float:
        return abs(math.log2(self.patches[k] / patch_size))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """At patch_size, which the backbone sets for each batch. In at least float32, as LayerNorm under autocast."""
        k = self.row(self.patch_size)
        wide = x_BTD.to(torch.promote_types(x_BTD.dtype, torch.float32)).flatten(0, 1)
        mean_D, var_D = self.running_mean[k], self.running_var[k]
        y = F.batch_norm(wide, mean_D, var_D, self.weight, self.bias, self.training, MOMENTUM, EPS)
        return y.unflatten(0, x_BTD.shape[:2])


def batch_norms(model: nn.Module) -> list[TokenBatchNorm]:
    """Those of a model, in the order of its modules."""
    return [module for module in model.modules() if isinstance(module, TokenBatchNorm)]


def statistics_at(model: nn.Module, patch_size: int) -> dict[str, Tensor]:
    """The running statistics (1, D) that serve a patch size, by their names in the model's state."""
    found: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, TokenBatchNorm):
            k = module.row(patch_size)
            found |= {f"{name}.{one}": getattr(module, one)[k : k + 1].clone() for one in STATISTICS}
    return found
