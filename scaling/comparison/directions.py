"""Random directions in the space of a model's parameters, the same for parameters of the same name and shape."""

from collections.abc import Mapping

import torch
from torch import Tensor

from scaling.rng import stream


def random_direction(parameters: Mapping[str, Tensor], seed: int) -> list[Tensor]:
    """Standard normal numbers, by the parameter's name, so that models with the same parameters have the same."""
    return [
        torch.from_numpy(stream(seed, "sharpness", name).standard_normal(p.shape)).to(p)
        for name, p in parameters.items()
    ]


def filter_normalised(parameters: Mapping[str, Tensor], seed: int) -> list[Tensor]:
    """A random direction whose filters have the norms of the model's (Li et al., arXiv 1712.09913, section 4), so that
    its length means the same for models whose weights differ in scale. A filter is what makes one output channel: a row
    of a matrix, the kernel of a channel; of a table (1, T, D) a token's vector. Vectors (biases, norms) have zero, as
    in the authors' code."""
    directions = random_direction(parameters, seed)
    return [_as_large(direction, p) for direction, p in zip(directions, parameters.values(), strict=True)]


def _as_large(direction: Tensor, parameter: Tensor) -> Tensor:
    if parameter.ndim < 2:
        return torch.zeros_like(direction)
    table = parameter.ndim == 3 and len(parameter) == 1
    rows, own = (t.detach().flatten(0, 1) if table else t.detach().flatten(1) for t in (direction, parameter))
    norms = rows.norm(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
    return (rows / norms * own.norm(dim=1, keepdim=True)).view_as(direction)
