"""The top eigenvalue of matrices that are known, and directions in the space of weights."""

import math

import numpy as np
import pytest
import torch

from scaling.comparison.curvature import KEPT, RESTARTS, TOLERANCE, dot, norm, top_eigenvalue
from scaling.comparison.directions import filter_normalised, random_direction


def quadratic(eigenvalues, seed=0):
    """Products with the Hessian of x' A x / 2 by autograd, A of these eigenvalues; x in two parts."""
    n = len(eigenvalues)
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]
    A = torch.from_numpy(Q @ np.diag(eigenvalues) @ Q.T)
    parts = [torch.ones(2, dtype=torch.float64, requires_grad=True), torch.ones(n - 2, 1, dtype=torch.float64)]
    parts[1].requires_grad_()

    def product(v):
        x = torch.cat([part.flatten() for part in parts])
        gradient = torch.autograd.grad(x @ A @ x / 2, parts, create_graph=True)
        return list(torch.autograd.grad(sum((g * d).sum() for g, d in zip(gradient, v, strict=True)), parts))

    random = np.random.default_rng(seed + 1)
    return product, [torch.from_numpy(random.standard_normal(part.shape)) for part in parts]


@pytest.mark.parametrize(
    ("eigenvalues", "top"),
    [
        ([8.0, 5.0, 1.0, 0.0], 8.0),
        ([-9.0, 5.0, 1.0, 0.5], 5.0),
        ([-4.0, -3.0, -1.0, -0.5], -0.5),
        ([-2.0, 2.0, 1.0, 0.5], 2.0),  # power iteration alone finds neither of two of one magnitude
        ([-0.9, 0.5, 0.2, *[0.0] * 200], 0.5),  # as of a network: nearly all are near zero
    ],
)
def test_the_top_eigenvalue_of_a_quadratic_is_known(eigenvalues, top):
    found = top_eigenvalue(*quadratic(eigenvalues))
    assert found.value == pytest.approx(top, rel=TOLERANCE)
    assert found.residual <= 0.1
    assert 1 < found.products <= KEPT * (RESTARTS + 1) + 1


@pytest.mark.parametrize("seed", range(5))
def test_the_top_eigenvalue_of_a_random_matrix_is_that_of_numpy(seed):
    eigenvalues = np.random.default_rng(seed).standard_normal(40)
    found = top_eigenvalue(*quadratic(eigenvalues, seed))
    assert found.value == pytest.approx(eigenvalues.max(), rel=TOLERANCE)
    assert np.abs(eigenvalues - found.value).min() <= found.residual + 1e-9


def test_power_iteration_finds_the_same_where_the_top_dominates():
    """The slow and obvious way."""
    product, v = quadratic([6.0, 4.0, -3.0, 1.0, *[0.0] * 30])
    for _ in range(60):
        image = product(v)
        v = [x / norm(image) for x in image]
    assert top_eigenvalue(product, v).value == pytest.approx(dot(v, product(v)), rel=TOLERANCE)


def test_what_does_not_converge_is_not_known(monkeypatch):
    monkeypatch.setattr("scaling.comparison.curvature.RESTARTS", 1)
    monkeypatch.setattr("scaling.comparison.curvature.KEPT", 3)
    found = top_eigenvalue(*quadratic(np.linspace(0.0, 1.0, 60)))
    assert math.isnan(found.value)


def test_a_direction_has_the_norms_of_the_filters():
    drawn = torch.Generator().manual_seed(0)
    parameters = {
        name: 3 * torch.randn(shape, generator=drawn)
        for name, shape in {"kernel": (4, 3, 2, 2), "matrix": (5, 7), "table": (1, 6, 8), "bias": (4,)}.items()
    }
    kernel, matrix, table, bias = filter_normalised(parameters, 0)
    torch.testing.assert_close(kernel.flatten(1).norm(dim=1), parameters["kernel"].flatten(1).norm(dim=1))
    torch.testing.assert_close(matrix.norm(dim=1), parameters["matrix"].norm(dim=1))
    torch.testing.assert_close(table.norm(dim=2), parameters["table"].norm(dim=2))
    assert not bias.any()
    parameters["matrix"][2] = 0
    assert not filter_normalised(parameters, 0)[1][2].any()


def test_a_direction_follows_from_the_seed_and_the_name():
    one = {"a": torch.zeros(3, 2), "b": torch.zeros(4)}
    first, again, other = (random_direction(one, seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert torch.equal(random_direction({"x": torch.zeros(2), **one}, 0)[1], first[0])
    assert norm(first) == pytest.approx(dot(first, first) ** 0.5)
