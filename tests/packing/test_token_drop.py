"""Which patches are kept: how many on average, each equally often, in order, whatever else is in the batch."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from scaling.backbones.base import TokenLayout
from scaling.config.packing import SequencePacking
from scaling.config.token_drop import BetaDrop, ScheduledDrop
from scaling.packing.packed_images import pack, patches_of
from scaling.packing.token_drop import drop_rates, kept_counts, kept_patches
from scaling.rng import SampleKey

CPU = torch.device("cpu")
KEYS = [SampleKey(0, i) for i in range(50_000)]
SETS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
        lambda grid: st.tuples(st.just(grid), st.sets(st.integers(0, grid[0] * grid[1] - 1), min_size=1).map(sorted))
    ),
    min_size=1,
    max_size=6,
)


def test_rates_of_images_have_their_distribution_and_differ_by_epoch_and_seed():
    packing = SequencePacking(token_drop=BetaDrop(drop_mean=0.4, drop_most=0.8))
    rates = drop_rates(packing, [256] * len(KEYS), KEYS, 0, 0.0)
    assert stats.kstest(rates, stats.beta(7 / 6, 7 / 6, scale=0.8).cdf).pvalue > 0.01
    few = [256] * 9
    later = drop_rates(packing, few, [SampleKey(1, i) for i in range(9)], 0, 0.0)
    other = drop_rates(packing, few, KEYS[:9], 1, 0.0)
    assert len({*rates[:9], *later, *other}) == 27
    assert np.array_equal(drop_rates(packing, few[:3], KEYS[4:7], 0, 0.0), rates[4:7])  # whatever else is in the batch


def test_a_schedule_is_read_at_the_progress_of_the_step():
    packing = SequencePacking(token_drop=ScheduledDrop(drop_start=0.8, drop_end=0.2))
    first, middle, last = (drop_rates(packing, [1, 1], KEYS[:2], 0, at) for at in (0.0, 0.5, 1.0))
    assert first == pytest.approx([0.796] * 2, abs=1e-3)
    assert middle == pytest.approx([0.5] * 2)
    assert last == pytest.approx([0.204] * 2, abs=1e-3)


@pytest.mark.parametrize(("patches", "rate"), [(64, 0.5), (10, 0.33), (7, 0.8), (3, 0.1)])
def test_the_mean_number_of_kept_patches_is_exact(patches, rate):
    counts = np.array(kept_counts([patches] * len(KEYS), np.full(len(KEYS), rate), KEYS, 0))
    exact = (1 - rate) * patches
    assert set(counts) <= {int(np.floor(exact)), int(np.floor(exact)) + 1}
    # within 4 standard errors of the mean of a random rounding
    share = exact % 1
    assert abs(counts.mean() - exact) <= 4 * np.sqrt(share * (1 - share) / len(KEYS)) + 1e-12


@given(st.integers(1, 5000), st.floats(0, 1, exclude_max=True), st.integers(0, 2**20))
def test_at_least_one_patch_and_at_most_all_are_kept(patches, rate, image):
    (count,) = kept_counts([patches], np.array([rate]), [SampleKey(0, image)], 0)
    assert 1 <= count <= patches
    assert count == patches or rate > 0


@given(st.integers(1, 60), st.data(), st.integers(0, 2**20))
def test_kept_patches_are_ascending_and_without_replacement(patches, data, image):
    count = data.draw(st.integers(1, patches))
    key = SampleKey(2, image)
    (kept,) = kept_patches([patches], [count], [key], 5)
    assert len(kept) == count
    beside = kept_patches([99, patches], [9, count], [SampleKey(0, 0), key], 5)
    assert np.array_equal(beside[1], kept)  # whatever else is in the batch
    assert (np.diff(kept) > 0).all()
    assert 0 <= kept.min() <= kept.max() < patches


def test_every_set_of_patches_is_equally_likely():
    found = [tuple(kept.tolist()) for kept in kept_patches([5] * 5000, [2] * 5000, KEYS[:5000], 3)]
    sets = list(itertools.combinations(range(5), 2))
    counts = [found.count(one) for one in sets]
    assert sum(counts) == 5000
    assert stats.chisquare(counts).pvalue > 0.01


def packed(images, leading=0, trailing=0, **options):
    pictures = [torch.randint(0, 256, (3, 2 * h, 2 * w), dtype=torch.uint8) for (h, w), _ in images]
    kept = tuple(np.array(one) for _, one in images)
    return pictures, pack(pictures, 2, 24, (leading, trailing), kept=kept, **options)


@given(SETS, st.integers(0, 2), st.integers(0, 1), st.booleans())
def test_rows_hold_the_kept_patches_of_each_image_in_order(images, leading, trailing, trim):
    pictures, found = packed(images, leading, trailing, trim=trim)
    rows = found.rows
    first = 0
    for number, (picture, (_, kept)) in enumerate(zip(pictures, images, strict=True)):
        assert rows.lengths[number] == leading + len(kept) + trailing
        own = slice(first, first + len(kept))
        assert torch.equal(found.patch_LP[own], patches_of(picture, 2)[kept])
        first = own.stop
        begin = rows.starts_N[number]
        assert rows.patches_L[own].tolist() == list(range(begin + leading, begin + leading + len(kept)))
        for token in range(leading + trailing):
            skipped = token if token < leading else token + len(kept)
            assert rows.class_tokens_N(token)[number] == begin + skipped
    assert len(found.patch_LP) == first == sum(rows.patch_counts)
    assert np.bincount(rows.images_RS.ravel(), minlength=len(images))[: len(images)].tolist() == rows.lengths


@given(SETS, st.integers(0, 2), st.integers(0, 1))
def test_a_kept_patch_has_its_place_in_the_whole_image(images, leading, trailing):
    _, found = packed(images, leading, trailing)
    layout = TokenLayout(2, CPU, rows=found.rows)
    alone = [TokenLayout(2, CPU, grid).coords_BL2[0][kept] for grid, kept in images]
    assert torch.equal(layout.coords_BL2[0], torch.cat(alone))
    index, order = found.rows.on(CPU), found.rows.order
    named = [[(i, t) for t in range(leading + images[i][0][0] * images[i][0][1] + trailing)] for i in order]
    wanted = [
        (i, t)
        for i, tokens in zip(order, named, strict=True)
        for _, t in tokens
        if not leading <= t < len(tokens) - trailing or t - leading in images[i][1]
    ]
    whole = torch.tensor([one for tokens in named for one in tokens])
    assert index.kept_tokens(whole).tolist() == [list(one) for one in wanted]


def test_what_is_kept_whole_is_packed_as_without_dropping():
    images = [((2, 3), list(range(6))), ((1, 2), [0, 1])]
    pictures, found = packed(images, 1)
    plain = pack(pictures, 2, 24, (1, 0))
    assert torch.equal(found.patch_LP, plain.patch_LP)
    assert found.rows.rows == plain.rows.rows
    assert np.array_equal(found.rows.places_T, plain.rows.places_T)
