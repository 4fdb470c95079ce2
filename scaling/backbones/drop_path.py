"""Stochastic depth (arXiv 1603.09382) per image: what is dropped does not depend on the rest of the batch."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scaling.packing.packed_rows import PackedRows
from scaling.rng import SampleKey, uniform


class DropPath(nn.Module):
    """In training, an image's branch is dropped with probability `rate`; kept branches are scaled to the same mean.

    uniform_B: numbers in [0, 1) set by `set_sample_keys`; below the rate, the branch is dropped. None: torch's
    generator draws them."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.uniform_B: Tensor | None = None

    def forward(self, x_BLD: Tensor, rows: PackedRows | None = None) -> Tensor:
        """rows: of several images in each row of x; None: every row is an image."""
        if not self.training or self.rate == 0:
            return x_BLD
        images = len(x_BLD) if rows is None else len(rows.grids)
        # float32 whatever x is: bfloat16's steps of 1/256 would drop more than the rate
        uniform_B = torch.rand(images, device=x_BLD.device) if self.uniform_B is None else self.uniform_B
        kept_B = (uniform_B >= self.rate).to(x_BLD.dtype) / (1 - self.rate)
        if rows is not None:
            return x_BLD * F.pad(kept_B, (0, 1))[rows.on(x_BLD.device).images_RS].unsqueeze(-1)
        return x_BLD * kept_B.view(-1, *[1] * (x_BLD.ndim - 1))


# Of each model, found once: going through all modules at every step took 2 % of the shortest steps.
_PATHS: WeakKeyDictionary[nn.Module, list[DropPath]] = WeakKeyDictionary()


def set_sample_keys(model: nn.Module, keys: Sequence[SampleKey], seed: int, device: torch.device | str = "cpu") -> None:
    """Draw the numbers of every DropPath of the model for a batch of these images: a function of seed, sample key and
    position of the module among them."""
    paths = _PATHS.get(model)
    if paths is None:
        paths = _PATHS[model] = [module for module in model.modules() if isinstance(module, DropPath)]
    if not any(path.rate for path in paths):
        return
    uniform_BS = torch.from_numpy(uniform(keys, seed, "drop_path", len(paths))).float().to(device)
    for path, uniform_B in zip(paths, uniform_BS.unbind(1), strict=True):
        path.uniform_B = uniform_B
