"""Top eigenvalue of a symmetric matrix that is known by its products alone. A vector is a list of tensors, as the
parameters of a model are.

By Lanczos' method (ARPACK, in scipy), which makes the products of a power iteration and uses all of them. Power
iteration alone, which keeps the last one, finds the eigenvalue of largest magnitude, and none where one above and one
below zero are about as large: Hessians of a test loss have such pairs.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

Vector = Sequence[Tensor]
Product = Callable[[Vector], list[Tensor]]  # of the matrix and a vector
TOLERANCE = 1e-2  # error, as a share of the eigenvalue
KEPT = 12  # vectors in memory
RESTARTS = 25


class TopEigenvalue(NamedTuple):
    """The largest eigenvalue, and how well it is known; nan: not found in all restarts."""

    value: float
    residual: float  # |H v - value v| of the unit vector v: some eigenvalue lies as near as that
    products: int


def top_eigenvalue(product: Product, start: Vector) -> TopEigenvalue:
    """The largest eigenvalue of H. start: the first vector, not orthogonal to its eigenvector, as a random one."""
    first, products = _flat(start), 0

    def multiply(x: np.ndarray) -> np.ndarray:
        nonlocal products
        products += 1
        return _flat(product(_like(start, x.ravel())))

    H = LinearOperator((len(first), len(first)), matvec=multiply, dtype=first.dtype)
    kept = min(KEPT, len(first))
    try:
        values, vectors = eigsh(H, k=1, which="LA", v0=first, ncv=kept, tol=TOLERANCE, maxiter=RESTARTS)
    except ArpackNoConvergence:
        return TopEigenvalue(math.nan, math.nan, products)
    v = _like(start, vectors[:, 0])
    residual = norm([h - values.item() * x for h, x in zip(product(v), v, strict=True)])
    return TopEigenvalue(values.item(), residual, products + 1)


def dot(a: Vector, b: Vector) -> float:
    """In float64."""
    return sum(torch.sum(x.double() * y.double()).item() for x, y in zip(a, b, strict=True))


def norm(a: Vector) -> float:
    """Euclidean."""
    return math.sqrt(dot(a, a))


def _flat(a: Vector) -> np.ndarray:
    return torch.cat([x.detach().flatten() for x in a]).cpu().numpy()


def _like(a: Vector, numbers: np.ndarray) -> list[Tensor]:
    """The numbers as a vector of the shapes of `a`, on its device."""
    parts = torch.from_numpy(numbers).split([x.numel() for x in a])
    return [part.view_as(x).to(x) for part, x in zip(parts, a, strict=True)]
