"""Grids of packed images: whole patches, at most as many as fit, the aspect ratio kept."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.packing.fitted_grid import fitted_grid, reduced_grid

SIDE = st.integers(1, 3000)
PATCH = st.sampled_from([1, 2, 4, 8, 14, 16])


@given(SIDE, SIDE, PATCH, st.none() | st.floats(8, 512), st.sampled_from(["area", "side"]))
def test_each_side_is_within_half_a_patch_of_the_image_at_its_size(height, width, patch, size, measure):
    h, w = fitted_grid(height, width, patch, size, measure)
    own = math.sqrt(height * width) if measure == "area" else min(height, width)
    scale = 1.0 if size is None else size / own
    for patches, side in ((h, height), (w, width)):
        assert patches == 1 or abs(patches * patch - side * scale) <= patch / 2 + 1e-6
        assert patches >= 1


@given(SIDE, SIDE, PATCH, st.integers(1, 400))
def test_a_reduced_image_has_at_most_so_many_patches_and_never_more_than_its_shape_asks_for(height, width, patch, most):
    h, w = reduced_grid(height, width, patch, most)
    assert 1 <= h * w <= most
    scale = math.sqrt(most * patch**2 / (height * width))
    for patches, side in ((h, height), (w, width)):
        assert patches == 1 or patches * patch <= side * scale + 1e-6


def test_worked_examples():
    assert fitted_grid(480, 640, 16) == (30, 40)
    assert fitted_grid(480, 640, 16, 128) == (7, 9)  # 110.9 x 147.8 px
    assert fitted_grid(480, 640, 16, 128, "side") == (8, 11)  # 128 x 170.7 px
    assert reduced_grid(480, 640, 16, 255) == (13, 18)
    assert reduced_grid(1, 1000, 4, 10) == (1, 10)


@pytest.mark.parametrize("side", [8, 16, 224])
def test_a_square_image_at_its_own_size_is_as_it_is_without_packing(side):
    assert fitted_grid(side, side, 8, side) == (side // 8, side // 8)
