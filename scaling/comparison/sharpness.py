"""Sharpness of a loss surface: the top eigenvalue of the Hessian, and losses along a random direction."""

from collections.abc import Sequence
from typing import NamedTuple

from scaling.comparison.curvature import TopEigenvalue, Vector, norm, top_eigenvalue
from scaling.comparison.directions import filter_normalised, random_direction
from scaling.comparison.loss_surface import LossSurface

ONE_DERIVATIVE = "once_differentiable"  # in torch's error
AUTOGRAD, DIFFERENCES = "autograd", "differences"


class Sharpness(NamedTuple):
    """Of a model at a patch size."""

    patch: int  # [px]
    loss: float  # at the weights [nats]
    gradient_norm: float
    top: TopEigenvalue
    hessian: str  # how products with it were made: AUTOGRAD or DIFFERENCES
    losses: list[float]  # along the direction [nats]


def sharpness(surface: LossSurface, distances: Sequence[float], seed: int) -> Sharpness:
    """distances: of the losses along the direction, as shares of the norm of each filter. seed: of the direction and of
    the vector that the power iteration begins with."""
    start, method = random_direction(surface.parameters, seed), AUTOGRAD
    try:
        surface.hessian_product(start)
    except RuntimeError as e:
        if ONE_DERIVATIVE not in str(e):
            raise
        method = DIFFERENCES
    product = surface.hessian_product if method == AUTOGRAD else surface.differences
    line: Vector = filter_normalised(surface.parameters, seed)
    return Sharpness(
        surface.patch,
        surface.loss(),
        norm(surface.gradient()),
        top_eigenvalue(product, start),
        method,
        surface.losses(line, distances),
    )
