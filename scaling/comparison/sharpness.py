"""Sharpness of a loss surface: the top eigenvalue of the Hessian, and losses along a random direction."""

from collections.abc import Sequence
from typing import NamedTuple

from scaling.comparison.curvature import TopEigenvalue, Vector, norm, top_eigenvalue
from scaling.comparison.directions import filter_normalised, random_direction
from scaling.comparison.loss_surface import LossSurface

AUTOGRAD, DIFFERENCES = "autograd", "differences"
AGREE = 0.05  # to which share products by autograd and by differences have to agree


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
    the first vector of the eigenvalue's search."""
    start = random_direction(surface.parameters, seed)
    method = _method(surface, start)
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


def _method(surface: LossSurface, v: Vector) -> str:
    """Of a part with one derivative alone, as Adventurer's mixer, autograd leaves the second one out and raises no
    error: so its product is compared with that of differences."""
    exact, near = surface.hessian_product(v), surface.differences(v)
    away = norm([a - b for a, b in zip(exact, near, strict=True)])
    return AUTOGRAD if away <= AGREE * norm(near) else DIFFERENCES
