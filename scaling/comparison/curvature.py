"""Top eigenvalue of a symmetric matrix that is known by its products alone, by power iteration. A vector is a list of
tensors, as the parameters of a model are."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Vector = Sequence[Tensor]
Product = Callable[[Vector], list[Tensor]]  # of the matrix and a vector
TOLERANCE = 1e-3  # change of the eigenvalue from one product to the next, as a share of it
MOST = 100  # products, before and after a shift


class TopEigenvalue(NamedTuple):
    """The largest eigenvalue, and how well it is known."""

    value: float
    residual: float  # |H v - value v| of the unit vector v: some eigenvalue lies as near as that
    products: int


def top_eigenvalue(product: Product, start: Vector) -> TopEigenvalue:
    """The largest eigenvalue of H. start: not orthogonal to its eigenvector, as a random one."""
    found = _dominant(product, start)
    if found.value >= 0:
        return found
    # The eigenvalue of largest magnitude is negative: H - value has no negative one, and its top is that of H.
    lowest = found.value
    shifted = _dominant(lambda v: [h - lowest * x for h, x in zip(product(v), v, strict=True)], start)
    return TopEigenvalue(shifted.value + lowest, shifted.residual, found.products + shifted.products)


def _dominant(product: Product, start: Vector) -> TopEigenvalue:
    """The eigenvalue of largest magnitude."""
    v, before = _unit(start), math.inf
    for number in range(1, MOST + 1):
        image = product(v)
        value = dot(v, image)
        residual = norm([h - value * x for h, x in zip(image, v, strict=True)])
        if residual == 0 or abs(value - before) <= TOLERANCE * abs(value) or number == MOST:
            break
        v, before = _unit(image), value
    return TopEigenvalue(value, residual, number)


def dot(a: Vector, b: Vector) -> float:
    """In float64."""
    return sum(torch.sum(x.double() * y.double()).item() for x, y in zip(a, b, strict=True))


def norm(a: Vector) -> float:
    """Euclidean."""
    return math.sqrt(dot(a, a))


def _unit(a: Vector) -> list[Tensor]:
    length = norm(a)
    return [x / length for x in a]
