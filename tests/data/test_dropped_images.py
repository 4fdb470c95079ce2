"""Dropped tokens as the data module hands them out: which patches, in which steps, of which images."""

import numpy as np
import pytest
import torch

from scaling.config.edit import edit
from scaling.data.batch import Split
from scaling.data.sampler import ResumableBatchSampler
from scaling.errors import ConfigError
from scaling.rng import SampleKey
from tests.data.test_packed_images import of, pictures, set_up


@pytest.fixture
def packed(tiny):
    return edit(tiny, packing="sequences", image_sizes="8-24", pos_embed="sincos", patch_size=4, augment="flip")


def kept_of(config, micro_batches=1):
    """{key: (grid, kept patches, bytes of these)} of all training images."""
    found = {}
    for batch in set_up(config, micro_batches).train_dataloader():
        parts = batch.pixels.split(batch.rows.patch_counts)
        for key, grid, kept, x in zip(batch.keys, batch.rows.grids, batch.rows.kept, parts, strict=True):
            found[key] = (grid, tuple(kept.tolist()), x.numpy().tobytes())
    return found


@pytest.mark.parametrize("drop", ["constant", "beta", "resolution", "schedule"])
def test_an_image_keeps_the_same_patches_however_the_batch_is_cut(packed, drop):
    config = edit(packed, token_drop=drop)
    whole = kept_of(config)
    assert kept_of(config, 4) == whole
    assert len(whole) == 3 * 64
    for (h, w), kept, _ in whole.values():
        assert kept == tuple(sorted(set(kept)))
        assert max(kept) < h * w
    share = sum(len(kept) for _, kept, _ in whole.values()) / sum(h * w for (h, w), _, _ in whole.values())
    assert 0.3 < share < 0.7


def test_patches_differ_between_epochs_and_seeds_and_the_pixels_are_those_of_the_places(packed):
    config = edit(packed, image_sizes="16", token_drop="constant", augment="none")
    found, other = kept_of(config), kept_of(edit(config, seed=1))
    assert len({kept for _, kept, _ in found.values()}) > 150
    assert any(found[key][1] != other[key][1] for key in found.keys() & other.keys())
    whole = {}
    for batch in set_up(edit(config, token_drop="none")).train_dataloader():
        assert batch.rows is None  # equal images, none of them dropped
        patches = batch.pixels.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
        whole |= dict(zip(batch.keys, patches, strict=True))
    for key, (_, kept, pixels) in found.items():
        assert whole[key][list(kept)].numpy().tobytes() == pixels


def test_sizes_and_flips_are_those_without_dropping(packed):
    sizes = {}
    for batch in set_up(packed).train_dataloader():
        sizes |= dict(zip(batch.keys, batch.rows.grids, strict=True))
    assert {key: grid for key, (grid, _, _) in kept_of(edit(packed, token_drop="beta")).items()} == sizes


@pytest.mark.parametrize("sizes", ["8-24", "16"])
def test_a_rate_of_0_is_bit_for_bit_no_dropping(packed, sizes):
    packed = edit(packed, image_sizes=sizes)
    plain = list(set_up(packed).train_dataloader())
    zero = list(set_up(edit(packed, drop_rate=0.0)).train_dataloader())
    for ours, theirs in zip(zero, plain, strict=True):
        assert torch.equal(ours.pixels, theirs.pixels)
        assert ours.keys == theirs.keys
        assert (ours.rows is None) == (theirs.rows is None)
        if ours.rows is not None:
            assert ours.rows.kept is None
            assert (ours.rows.rows, ours.rows.grids) == (theirs.rows.rows, theirs.rows.grids)


def test_test_images_are_whole(packed):
    for config in (packed, edit(packed, image_sizes="native")):
        plain = set_up(config).test_dataloader()
        for ours, theirs in zip(set_up(edit(config, drop_rate=0.9)).test_dataloader(), plain, strict=True):
            assert torch.equal(ours.pixels, theirs.pixels)
            assert ours.rows is None


def test_steps_of_a_schedule_keep_more_and_more(packed):
    config = edit(packed, image_sizes="16", token_drop="schedule", drop_start=0.8, drop_end=0.0)
    counts = [batch.pixels.shape[0] for batch in set_up(config).train_dataloader()]
    assert len(counts) == 12
    assert counts == sorted(counts)
    progress = np.arange(12) / 12
    wanted = 16 * 16 * (1 - 0.8 + 0.8 / (1 + np.exp(-(progress - 0.5) / 0.1)))
    np.testing.assert_allclose(counts, wanted, atol=16)  # each image is rounded by less than a patch


def test_the_progress_of_a_step_does_not_depend_on_where_a_run_was_resumed():
    def progress(start):
        return [request.progress for request in ResumableBatchSampler(8, 4, 0, start, 6, micro_batches=2)]

    assert progress(0) == [n / 6 for n in range(6) for _ in range(2)]
    assert progress(4) == progress(0)[8:]


def test_an_image_fits_in_a_row_where_the_patches_that_it_keeps_do(packed):
    images = pictures((80, 40), (8, 8))  # 200 patches and 4
    keys = [SampleKey(0, 0), SampleKey(0, 1)]
    config = edit(packed, image_sizes="native", augment="none", drop_rate=0.5)

    def rows(length, split=Split.TRAIN, **fields):
        return of(images, edit(config, sequence_length=length, **fields), split).get_batch(keys).rows

    assert rows(101).grids == ((20, 10), (2, 2))
    assert rows(101).patch_counts == [100, 2]
    assert rows(33).grids == ((11, 5), (2, 2))  # of 64 patches, 11 x 5 have its shape
    assert rows(33).patch_counts[0] in (27, 28)
    assert rows(33, Split.VAL).grids == ((8, 4), (2, 2))
    assert rows(101, on_large_image="stop").patch_counts == [100, 2]
    wanted = (
        r"^an image of 80 x 40 px has 200 patches, of which 100 are kept, and a row of sequence_length 100 holds 99"
    )
    with pytest.raises(ConfigError, match=wanted):
        rows(100, on_large_image="stop")
