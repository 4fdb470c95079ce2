import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scaling.data.batch import normalise
from scaling.data.transforms.classification import augment_batch, erase, fit_image
from scaling.rng import SampleKey, uniform


def images(n, side=16):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, 3, side, side), dtype=np.uint8))


@pytest.mark.parametrize("how", ["none", "flip", "pad_crop_flip"])
def test_an_image_is_augmented_alike_whatever_its_batch(how):
    draws = [SampleKey(e, i) for e in range(2) for i in range(8)]
    together = augment_batch(images(16), draws, 3, how)
    alone = [augment_batch(images(16)[k : k + 1], [draws[k]], 3, how)[0] for k in range(16)]
    assert torch.equal(together, torch.stack(alone))


def test_seed_epoch_index_and_copy_each_change_the_numbers():
    draws = [SampleKey(e, i, c) for e in (0, 1) for i in (0, 1) for c in (0, 1)]
    rows = [row for seed in (0, 1) for row in uniform(draws, seed, "shift", 2)]
    assert len({tuple(row) for row in rows}) == 16


def test_the_numbers_are_uniform_and_independent():
    numbers = uniform([SampleKey(0, i) for i in range(20_000)], 1, "shift", 2)
    assert abs(numbers.mean(0) - 0.5).max() < 0.01
    assert abs(numbers.var(0) - 1 / 12).max() < 0.002
    assert abs(np.corrcoef(numbers.T)[0, 1]) < 0.03


def test_half_of_the_images_are_flipped():
    draws = [SampleKey(0, i) for i in range(1000)]
    batch = images(1).expand(1000, -1, -1, -1)
    flipped = augment_batch(batch, draws, 0, "flip")
    share = (flipped != batch).flatten(1).any(1).float().mean().item()
    assert 0.45 < share < 0.55


def test_a_shift_moves_by_at_most_an_eighth_of_the_side():
    batch = torch.zeros(64, 3, 16, 16, dtype=torch.uint8)
    batch[:, :, 8, 8] = 255
    moved = augment_batch(batch, [SampleKey(0, i) for i in range(64)], 0, "pad_crop_flip")
    where = moved[:, 0].nonzero()
    assert len(where) == 64
    assert where[:, 1].min() >= 6
    assert where[:, 1].max() <= 10


@given(width=st.integers(8, 80), height=st.integers(8, 80), side=st.sampled_from([8, 16, 32]), crop=st.floats(0.5, 1))
@settings(deadline=None, max_examples=50, derandomize=True)
def test_the_evaluation_view_has_the_size_asked_for(width, height, side, crop):
    view = fit_image(Image.new("RGB", (width, height), (10, 20, 30)), side, crop)
    assert view.shape == (3, side, side)
    assert view.dtype == np.uint8
    assert (view == np.array([10, 20, 30], np.uint8)[:, None, None]).all()


def test_an_image_of_the_right_size_is_left_as_it_is():
    pixels = images(1)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(fit_image(Image.fromarray(pixels), 16, 1.0), pixels.transpose(2, 0, 1))


def test_the_crop_ratio_keeps_the_centre():
    """At 0.5 the outer half of the side is cut away."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[8:24, 8:24] = 255
    assert (fit_image(Image.fromarray(pixels), 16, 0.5) == 255).all()


def test_normalise_matches_the_usual_formula():
    batch = images(4)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    wanted = (batch.double() / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(normalise(batch), wanted.float(), rtol=1e-5, atol=1e-5)


def test_the_share_asked_for_is_erased_and_each_time_a_rectangle():
    """timm's: noise a pixel on 2 % to a third of the area. What it left alone is as it was, to the byte."""
    batch = images(1, 32).expand(1000, -1, -1, -1)
    erased = erase(batch.clone(), [SampleKey(0, i) for i in range(1000)], 0, 0.25)
    changed = (erased != batch).any(1).numpy()
    assert 0.2 < changed.any((1, 2)).mean() < 0.3
    for mask in changed[changed.any((1, 2))]:
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        area = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert 0.015 < np.prod(area) / 32**2 < 0.36
        assert mask.sum() > 0.8 * np.prod(area)


def test_erasing_none_gives_the_images_back_and_erasing_all_leaves_none():
    batch, draws = images(64), [SampleKey(0, i) for i in range(64)]
    assert erase(batch, draws, 0, 0.0) is batch
    assert torch.equal(batch, images(64))
    assert (erase(batch, draws, 0, 1.0) != images(64)).flatten(1).any(1).all()


@given(cuts=st.sets(st.integers(1, 23)), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25, derandomize=True)
def test_an_image_is_erased_alike_however_the_batch_is_cut(cuts, seed):
    draws = [SampleKey(2, i, i % 3) for i in range(24)]
    parts = [slice(a, b) for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 24], strict=True)]
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    together = erase(images(24), draws, seed, 0.5)
    apart = [erase(images(24)[part], draws[part], seed, 0.5) for part in parts]
    assert torch.equal(together, torch.cat(apart))
    assert torch.equal(torch.random.get_rng_state(), before)
