"""Images of any size, whole or in windows: what a pixel is given does not depend on where windows happen to lie."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.tasks.sliding_window import padded, slide, starts, whole

sides = st.integers(1, 23)


def of_pixels(image_BCHW):
    """A dense prediction that looks at nothing but the pixel."""
    return torch.cat([image_BCHW.sum(1, keepdim=True), image_BCHW[:, :1] * 2], 1)


@given(sides, st.integers(1, 23), st.integers(1, 23))
def test_windows_cover_a_side_and_stay_inside(side, window, stride):
    window, stride = min(window, side), min(stride, window, side)
    found = starts(side, window, stride)
    assert {at + k for at in found for k in range(window)} == set(range(side))
    assert found == sorted(set(found))


@settings(deadline=None, derandomize=True)
@given(sides, sides, st.integers(1, 12), st.data())
def test_what_looks_at_pixels_alone_gives_the_same_in_windows_as_whole(height, width, window, data):
    stride = data.draw(st.integers(1, window))
    image = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(height))
    wanted = of_pixels(image)
    torch.testing.assert_close(slide(of_pixels, image, window, stride), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole(of_pixels, image, window), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 13), (5, 11)])
def test_where_windows_overlap_their_mean_is_taken_as_a_slow_loop_takes_it(height, width):
    window, stride = 4, 3
    torch.manual_seed(0)
    image = torch.randn(1, 3, height, width)

    def of_windows(crop):  # depends on the whole window
        return crop[:, :2] + crop.mean((1, 2, 3), keepdim=True)

    wanted = torch.zeros(1, 2, height, width)
    for y in range(height):
        for x in range(width):
            seen = [
                of_windows(image[..., top : top + window, left : left + window])[0, :, y - top, x - left]
                for top in starts(height, window, stride)
                for left in starts(width, window, stride)
                if top <= y < top + window and left <= x < left + window
            ]
            wanted[0, :, y, x] = torch.stack(seen).mean(0)
    torch.testing.assert_close(slide(of_windows, image, window, stride), wanted, rtol=1e-4, atol=1e-5)


def test_padding_is_below_and_to_the_right_and_no_more_than_it_takes():
    image = torch.ones(1, 3, 5, 8)
    bigger = padded(image, 4)
    assert bigger.shape == (1, 3, 8, 8)
    assert torch.equal(bigger[..., :5, :], image)
    assert not bigger[..., 5:, :].any()
    assert padded(image, 1).shape == image.shape
    assert padded(image, 4, 11).shape == (1, 3, 12, 12)
