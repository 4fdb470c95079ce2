"""What means of p x p pixels hold about the class: the claimed ideal loss against enumeration, and against images."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaling.data.generated import palette_mosaic
from scaling.data.generated.generated_shapes import CLASSES, render
from scaling.data.generated.ideal_observer import ideal_loss
from scaling.data.generated.palette_mosaic import (
    EXPONENT,
    PALETTES,
    Objects,
    even_numbers,
    mosaics,
    scales,
    shares_below,
)
from scaling.errors import ConfigError
from scaling.rng import splitmix64

KEYS = splitmix64(np.arange(64, dtype=np.uint64))


def block_sums(chroma: np.ndarray, patch: int) -> np.ndarray:
    """(B, C, H / p, W / p)"""
    images, channels, size, _ = chroma.shape
    blocks = chroma.reshape(images, channels, size // patch, patch, size // patch, patch)
    return blocks.sum((3, 5), dtype=np.int64)


def every_mosaic(palette: np.ndarray, side: int, size: int) -> list[np.ndarray]:
    """All equally likely (C, H, W) mosaics of one class with cells of this side and no grey tile, written without the
    generator."""
    across = size // (2 * side)
    tiles = [np.stack(order).reshape(2, 2, 3) for order in itertools.permutations(palette)]
    if side == size:  # one cell: the first hue
        return [np.broadcast_to(palette[0][:, None, None], (3, size, size))]
    images = []
    for choice in itertools.product(tiles, repeat=across * across):
        rows = [np.concatenate(choice[r * across : (r + 1) * across], 1) for r in range(across)]
        cells = np.concatenate(rows, 0).repeat(side, 0).repeat(side, 1)
        images.append(cells[:size, :size].transpose(2, 0, 1))
    return images


@pytest.mark.parametrize(("patch", "size"), [(1, 2), (2, 2), (1, 4), (2, 4), (4, 4)])
def test_the_ideal_loss_is_the_conditional_entropy_of_the_class_by_enumeration(patch, size):
    joint: Counter[tuple[int, bytes]] = Counter()  # (class, what is seen) -> probability
    below = [0, *(shares_below(size) / 65536), 1]
    sides = [0, *(2**k for k in range(size.bit_length()))]
    for k, palette in enumerate(PALETTES.values()):
        for side, low, high in zip(sides, below[:-1], below[1:], strict=True):
            # cells of 1 px in an image of 4 px: one tile stands for the four independent ones, which are alike
            drawn = every_mosaic(palette, side, min(size, 2) if side == 1 else size) if side else None
            images = np.zeros((1, 3, size, size), np.int64) if drawn is None else np.stack(drawn).astype(np.int64)
            seen = block_sums(images, min(patch, images.shape[-1]))
            for one in seen:
                key = one.tobytes() if one.any() else b""  # grey blocks look the same at any side
                joint[k, key] += (high - low) / len(seen) / len(PALETTES)
    of_view: Counter[bytes] = Counter()
    for (_, view), p in joint.items():
        of_view[view] += p
    entropy = -sum(p * math.log(p / of_view[view]) for (_, view), p in joint.items())
    assert entropy == pytest.approx(ideal_loss(size, patch), rel=1e-12)


def nearest_class(colour_NC: np.ndarray) -> np.ndarray:
    """(N,) the class of the hue that is nearest in direction."""
    hues = np.stack(list(PALETTES.values())).reshape(-1, 3)
    return (colour_NC.astype(float) @ (hues / np.linalg.norm(hues, axis=1, keepdims=True)).T).argmax(1) // 4


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.sampled_from([16, 32, 64]), patch=st.sampled_from([1, 2, 4, 8, 16]), scale=st.integers(-1, 6))
def test_means_of_blocks_hold_nothing_of_finer_cells_and_the_hues_of_coarser_ones(size, patch, scale, monkeypatch):
    monkeypatch.setattr(palette_mosaic, "_LIGHT", 0)
    scale = min(scale, size.bit_length() - 1)
    kind = np.arange(len(KEYS)) % len(PALETTES)
    middle = np.full(len(KEYS), size // 3)
    objects = Objects(KEYS, kind, np.full(len(KEYS), scale), middle, middle)
    sums = block_sums(mosaics(objects, (size, size)), patch)
    if scale < 0 or 2**scale < patch:
        assert not sums.any()
        return
    colours = sums.transpose(0, 2, 3, 1)
    for k in range(len(PALETTES)):
        seen = colours[kind == k]
        assert seen.any((1, 2, 3)).all()
        assert (nearest_class(seen[seen.any(-1)]) == k).all()


def seen_by_an_observer(image_BHWC: np.ndarray, patch: int) -> np.ndarray:
    """(B,) class that the mean colours of blocks tell, -1 where all of them are grey to within the noise."""
    images = len(image_BHWC)
    pixels = image_BHWC.astype(np.float64).transpose(0, 3, 1, 2)
    mean = block_sums(pixels - pixels.mean(1, keepdims=True), patch) / patch**2
    strength = np.linalg.norm(mean, axis=1).reshape(images, -1)
    block = strength.argmax(1)
    colour = mean.reshape(images, 3, -1)[np.arange(images), :, block]
    return np.where(strength.max(1) > 10 / patch + 1, nearest_class(colour), -1)


@pytest.mark.parametrize("patch", [1, 2, 4, 8, 16])
def test_an_observer_of_the_means_of_real_images_reaches_the_ideal_loss(patch):
    """An observer that is sure where it sees a hue, and at chance where it sees none, on noisy images."""
    batch = render(0, np.arange(4000), 16, split="test")
    seen = seen_by_an_observer(batch.image_BHWC, patch)
    sure = seen >= 0
    assert (seen[sure] == batch.label_B[sure]).mean() > 0.999
    assert (1 - sure.mean()) * math.log(len(CLASSES)) == pytest.approx(ideal_loss(16, patch), abs=0.01)


@pytest.mark.parametrize("first", [0, 1234, 10**6])
def test_any_images_in_a_row_have_the_scales_of_the_law(first):
    index = np.arange(first, first + 2000, dtype=np.uint64)
    share = np.bincount(scales(even_numbers(KEYS[:1], index), 16) + 1, minlength=6) / 2000
    expected = np.diff([0, *shares_below(16), 65536]) / 65536
    np.testing.assert_allclose(share, expected, atol=3 / 2000)


def test_each_halving_of_the_patch_divides_the_ideal_loss_alike():
    losses = [ideal_loss(224, 2**k) for k in range(6)]
    np.testing.assert_allclose(np.divide(losses[1:], losses[:-1]), 2**EXPONENT, rtol=2e-3)


def test_colours_and_palettes_sum_to_zero_and_have_one_covariance():
    covariances = []
    for palette in PALETTES.values():
        assert not palette.sum(1).any()
        assert not palette.sum(0).any()
        covariances.append(palette.T.astype(float) @ palette / 4)
    np.testing.assert_allclose(covariances[1:], [covariances[0]] * 2, atol=0.02 * covariances[0].max())


@pytest.mark.parametrize("patch", [0, 3, 5, 32])
def test_a_patch_without_an_exact_ideal_loss_is_refused(patch):
    with pytest.raises(ConfigError, match=f"patch {patch} has no exact ideal loss at image 16"):
        ideal_loss(16, patch)
