"""How a batch is cut: the sizes there are, the search for the largest that fits, and what a cut does to counts."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.costs import activation_bytes
from scaling.micro_batch import _recount, largest, sizes
from scaling.recipe import BadInput, Recipe
from scaling.sizes import SIZES

POWERS = [2**n for n in range(11)]


@given(st.integers(1, 300), st.integers(1, 8), st.booleans())
def test_sizes_are_all_that_cut_each_devices_share_evenly(share, world, even):
    wanted = [n for n in range(1, share + 1) if share % n == 0 and (n % 2 == 0 or not even)]
    if wanted:
        assert sizes(share * world, world, even) == wanted
    else:
        assert even
        assert share % 2
        with pytest.raises(BadInput, match="mix pairs"):
            sizes(share * world, world, even)


def test_devices_that_cannot_share_a_batch_are_told_what_would_do():
    with pytest.raises(BadInput, match="batch 64 cannot be divided among 3 devices; nearest that can: 63, 66"):
        sizes(64, 3, even=False)
    with pytest.raises(BadInput, match=r"batch 2 cannot be divided among 3 devices; nearest that can: 3$"):
        sizes(2, 3, even=False)
    with pytest.raises(
        BadInput, match=r"leaves 3 image\(s\) to each of 2 device\(s\); take a batch with an even share"
    ):
        sizes(6, 2, even=True)


def search(possible, planned, limit):
    """What largest finds where `limit` images fit, and what it tried."""
    tried = []

    def fits(images):
        tried.append(images)
        return images <= limit

    return largest(possible, planned, fits), tried


@given(st.integers(1, 600), st.integers(0, 2000), st.integers(1, 2000))
def test_what_is_found_fits_and_nothing_above_a_failure_is_tried(batch, planned, limit):
    """A step that runs out of memory is slow, and one beyond it is slower and as vain."""
    possible = sizes(batch, 1, even=False)
    found, tried = search(possible, planned, limit)
    assert found in possible
    assert found <= limit
    assert found in tried
    failed = None
    for images in tried:
        assert failed is None or images < failed
        failed = images if images > limit else failed
    assert len(set(tried)) == len(tried)


@given(st.integers(0, 2000), st.integers(1, 2000))
def test_of_powers_of_two_the_largest_that_fits_is_found(planned, limit):
    assert search(POWERS, planned, limit)[0] == max(n for n in POWERS if n <= limit)


@given(st.integers(1, 600), st.integers(1, 2000))
def test_from_a_plan_that_fits_doubling_ends_at_the_last_or_where_twice_as_many_do_not_fit(batch, limit):
    possible = sizes(batch, 1, even=False)
    found, _ = search(possible, 1, limit)
    above = [n for n in possible if n > found]
    assert not above or max([n for n in above if n <= 2 * found], default=above[0]) > limit


def test_where_nothing_fits_it_is_said_what_may_help():
    with pytest.raises(BadInput, match=r"micro-batch of 2 .*--recompute"):
        search([2, 4, 8], 8, 1)


@given(
    st.integers(0, 50), st.integers(0, 7), st.integers(1, 8), st.integers(1, 8), st.sampled_from(["total", "current"])
)
def test_a_run_goes_on_at_the_same_step_with_another_cut(steps, lag, before, now, span):
    """lag: micro-batches that a count is behind a whole number of steps, as `completed` is at a checkpoint by one."""
    lag %= min(before, now)
    counts = {"ready": steps * before, "completed": max(0, steps * before - lag), "started": steps * before}
    loops = {"epoch_loop.batch_progress": {s: dict(counts) for s in ("total", "current")}}
    loops["epoch_loop.batch_progress"]["is_last_batch"] = False
    _recount(loops, before, now)
    found = loops["epoch_loop.batch_progress"]
    assert found[span] == {
        "ready": steps * now,
        "completed": max(0, steps * now - lag),
        "started": steps * now,
    }
    assert found["is_last_batch"] is False
    _recount(loops, now, before)
    assert found[span] == counts


# What a plan goes by


@pytest.mark.parametrize("backbone", sorted(SIZES))
def test_a_plan_grows_with_the_tokens_and_shrinks_by_recomputing(backbone):
    recipe = Recipe(backbone=backbone, image=32, patch=8)
    whole, less = activation_bytes(recipe), activation_bytes(recipe, recompute=True)
    assert 0 < less < whole
    finer = replace(recipe, patch=4)
    assert activation_bytes(finer) / whole == pytest.approx((64 + 1) / (16 + 1))
    assert activation_bytes(finer, recompute=True) / less == pytest.approx((64 + 1) / (16 + 1))


def test_a_plan_is_the_sum_that_it_says():
    recipe = Recipe(backbone="deit_tiny", image=224, patch=16)
    assert activation_bytes(recipe) == 12 * 20 * 197 * 192 * 4
    assert activation_bytes(recipe, recompute=True) == (12 + 50) * 197 * 192 * 4
