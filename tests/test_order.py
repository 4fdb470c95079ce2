import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.data.order import Stream, subset
from scaling.recipe import BadInput

small = st.integers(1, 60)


@given(n=small, batch=small, seed=st.integers(0, 2**32 - 1), epochs=st.integers(1, 4))
@settings(deadline=None)
def test_an_epoch_shows_no_image_twice(n, batch, seed, epochs):
    if batch > n:
        with pytest.raises(BadInput):
            Stream(n, batch, seed, 0, 1)
        return
    per_epoch = n // batch
    steps = list(Stream(n, batch, seed, 0, per_epoch * epochs))
    for epoch in range(epochs):
        shown = [d for step in steps[epoch * per_epoch : (epoch + 1) * per_epoch] for d in step]
        assert {d.epoch for d in shown} == {epoch}
        assert len({d.image for d in shown}) == len(shown) == per_epoch * batch


@given(n=st.integers(8, 60), start=st.integers(0, 40), seed=st.integers(0, 9))
@settings(deadline=None)
def test_a_stream_can_be_taken_up_at_any_step(n, start, seed):
    whole = list(Stream(n, 4, seed, 0, 40))
    assert list(Stream(n, 4, seed, start, 40)) == whole[start:]


@given(world=st.integers(1, 4), seed=st.integers(0, 9))
@settings(deadline=None)
def test_the_ranks_share_every_batch_out(world, seed):
    alone = list(Stream(50, 12, seed, 0, 8))
    shares = [list(Stream(50, 12, seed, 0, 8, rank=r, world=world)) for r in range(world)]
    for step, batch in enumerate(alone):
        assert sorted(d for share in shares for d in share[step]) == sorted(batch)


def test_seeds_and_epochs_give_different_orders():
    orders = [tuple(d.image for d in batch) for seed in (0, 1) for batch in Stream(64, 64, seed, 0, 3)]
    assert len(set(orders)) == len(orders)


def test_a_subset_is_the_same_whatever_the_seed_and_grows_from_itself():
    assert set(subset(100, 10)) <= set(subset(100, 20))
    assert np.array_equal(subset(100, 0), np.arange(100))
    with pytest.raises(BadInput, match="at most 100"):
        subset(100, 101)
