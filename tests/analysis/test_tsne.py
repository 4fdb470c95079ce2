"""t-SNE against the paper's formulas, which are written out here."""

import numpy as np
import pytest

from analysis.similarity.tsne import perplexity, tsne
from scaling.rng import stream


def distances(points):
    return np.linalg.norm(points[:, None] - points, axis=2)


def three_groups(of=8):
    """Points of 5 dimensions in three groups, far from each other."""
    return np.repeat(10 * np.eye(3, 5), of, axis=0) + stream(0, "test").standard_normal((3 * of, 5))


def stated_affinities(distance_PP, wanted):
    """p_ij of the paper's section 2 and 3.1: Gaussians of each point, of the wanted perplexity, made symmetric."""
    p_PP = np.zeros_like(distance_PP)
    for i, row in enumerate(np.square(distance_PP)):
        others = np.arange(len(row)) != i
        low, high = 1e-8, 1e8  # precisions
        for _ in range(200):
            middle = np.sqrt(low * high)
            p = np.exp(-middle * (row[others] - row[others].min()))
            p /= p.sum()
            entropy = -(p * np.log(np.maximum(p, 1e-300))).sum()
            low, high = (middle, high) if entropy > np.log(wanted) else (low, middle)
        p_PP[i, others] = p
    return (p_PP + p_PP.T) / (2 * len(p_PP))


def stated_cost(p_PP, places):
    """Kullback-Leibler divergence of Student's q_ij from p_ij (equations 4 and 5)."""
    q_PP = 1 / (1 + np.square(distances(places)))
    np.fill_diagonal(q_PP, 0)
    q_PP /= q_PP.sum()
    seen = p_PP > 0
    return (p_PP[seen] * np.log(p_PP[seen] / q_PP[seen])).sum()


def test_the_places_are_a_minimum_of_the_stated_cost():
    points = three_groups()
    places = tsne(distances(points))
    p_PP = stated_affinities(distances(points), perplexity(len(points)))
    cost = stated_cost(p_PP, places)
    for key in range(20):
        step = stream(0, "test", key).standard_normal(places.shape)
        assert stated_cost(p_PP, places + 0.05 * places.std() * step) > cost
    assert cost < stated_cost(p_PP, points[:, :2])


def test_neighbours_stay_neighbours_and_the_distances_are_left_as_they_were():
    wanted = distances(three_groups())
    before = wanted.copy()
    found = distances(tsne(wanted))
    assert np.array_equal(wanted, before)
    group = np.repeat(range(3), 8)
    nearest = np.argsort(found + np.diag(np.full(len(found), np.inf)), axis=1)[:, :7]
    assert (group[nearest] == group[:, None]).all()


def test_the_same_distances_have_the_same_places():
    wanted = distances(three_groups(3))
    assert np.array_equal(tsne(wanted), tsne(wanted))


@pytest.mark.parametrize("points", [1, 2, 3, 5])
def test_few_points_and_equal_ones_have_places(points):
    assert np.isfinite(tsne(np.zeros((points, points)))).all()
    assert tsne(distances(stream(0, "test").standard_normal((points, 3)))).shape == (points, 2)


def test_the_perplexity_stays_below_the_number_of_points():
    assert [perplexity(n) for n in (2, 4, 7, 91, 500)] == [1, 1, 2, 30, 30]
    assert all(perplexity(n) < n for n in range(2, 200))
