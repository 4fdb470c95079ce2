"""CKA against the formula it is defined by, its invariances, and a map whose distances are known."""

import numpy as np
import pytest

from analysis.similarity.cka import cka, distance, gram, hsic
from analysis.similarity.mds import classical_mds
from scaling.rng import stream


def gaussian(n, d, key=0):
    return stream(0, "test", key).standard_normal((n, d))


def stated_hsic(x, y):
    """The unbiased HSIC term by term, as printed, from features that are not centred."""
    n, one = len(x), np.ones(len(x))
    k, m = (a @ a.T for a in (x, y))
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    return (
        np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ m @ one)
    ) / (n * (n - 3))


def cka_of(*batches):
    """CKA of pairs of representations, one pair per mini-batch."""
    return cka(sum(hsic(np.stack([gram(x), gram(y)])) for x, y in batches))


def biased_cka(x, y):
    x, y = (a - a.mean(0) for a in (x, y))
    return np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


def related(n, d, key=0):
    """Two representations with something in common, means far from 0."""
    x, noise = gaussian(n, d, 2 * key), gaussian(n, d, 2 * key + 1)
    return x + 3, np.tanh(x) + noise + 5


def test_the_sum_over_mini_batches_is_the_stated_formula():
    batches = [related(n, 7, n) for n in (4, 9, 16)]
    of_xy, of_xx, of_yy = (sum(stated_hsic(pair[a], pair[b]) for pair in batches) for a, b in ((0, 1), (0, 0), (1, 1)))
    found = cka_of(*batches)
    assert found[0, 1] == pytest.approx(of_xy / np.sqrt(of_xx * of_yy), abs=1e-10)
    assert np.array_equal(found, found.T)
    assert np.diag(found) == pytest.approx(1, abs=1e-12)


def test_rotation_scale_and_shift_change_nothing():
    x, y = related(32, 10)
    rotation = np.linalg.qr(gaussian(10, 10, 99))[0]
    assert cka_of((x, 7 * y @ rotation - 2)) == pytest.approx(cka_of((x, y)), abs=1e-10)
    assert cka_of((x, 0.1 * x @ rotation))[0, 1] == pytest.approx(1, abs=1e-10)


def test_a_linear_map_that_is_no_rotation_does():
    x, _ = related(32, 10)
    assert cka_of((x, x * np.linspace(0.1, 3, 10)))[0, 1] < 0.95


def test_independent_features_have_a_cka_of_0_and_the_biased_one_has_not():
    pairs = [(gaussian(64, 48, 2 * k), gaussian(64, 48, 2 * k + 1)) for k in range(200)]
    assert abs(np.mean([cka_of(pair)[0, 1] for pair in pairs])) < 0.01
    assert np.mean([biased_cka(*pair) for pair in pairs]) > 0.4


def test_mini_batches_and_all_images_at_once_agree():
    x, y = related(512, 20)
    parts = list(zip(np.split(x, 8), np.split(y, 8), strict=True))
    assert cka_of(*parts)[0, 1] == pytest.approx(cka_of((x, y))[0, 1], abs=0.02)


def test_features_that_are_the_same_for_all_images_have_no_cka():
    x, _ = related(16, 5)
    same = np.repeat(gaussian(1, 5), 16, axis=0).astype(np.float32) * (1 + 1e-7 * gaussian(16, 5, 5))
    found = cka_of((x, same))
    assert found[0, 0] == pytest.approx(1)
    assert np.isnan(found[[0, 1, 1], [1, 0, 1]]).all()


def test_fewer_than_four_images_are_refused():
    with pytest.raises(ValueError, match="3 images; the unbiased HSIC needs 4 or more"):
        hsic(np.ones((2, 3, 3)))


def test_the_distance_is_the_angle_and_estimates_beyond_the_ends_are_clipped():
    found = distance(np.array([[1 + 1e-12, 0.5], [0.0, -1.01]]))
    assert found == pytest.approx(np.array([[0, np.pi / 3], [np.pi / 2, np.pi]]))


def test_points_of_a_plane_are_found_by_their_distances():
    points = gaussian(9, 2) * [3, 1]
    wanted = np.linalg.norm(points[:, None] - points, axis=2)
    found = classical_mds(wanted)
    assert np.linalg.norm(found.places_P2[:, None] - found.places_P2, axis=2) == pytest.approx(wanted, abs=1e-10)
    assert found.explained == pytest.approx(1)
    assert found.places_P2.mean(0) == pytest.approx(0, abs=1e-10)
    assert found.places_P2.std(0)[0] > found.places_P2.std(0)[1]
    assert (found.places_P2[np.abs(found.places_P2).argmax(0), [0, 1]] > 0).all()


def test_a_map_of_points_of_more_dimensions_states_what_it_leaves_out():
    points = gaussian(200, 3)
    found = classical_mds(np.linalg.norm(points[:, None] - points, axis=2))
    spread = np.linalg.eigvalsh(np.cov(points.T))[::-1]
    assert found.explained == pytest.approx(spread[:2].sum() / spread.sum(), abs=1e-6)


def test_one_point_and_equal_points_have_a_map():
    for n in (1, 3):
        found = classical_mds(np.zeros((n, n)))
        assert np.array_equal(found.places_P2, np.zeros((n, 2)))
        assert found.explained == 1
