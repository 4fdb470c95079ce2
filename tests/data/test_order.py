from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.data import Mixup
from timm.data.distributed_sampler import RepeatAugSampler

from scaling.config.step_shapes import StepShape
from scaling.data.sampler import ResumableBatchSampler, StepSize, folded, subset
from scaling.errors import ConfigError
from scaling.rng import uniform

small = st.integers(1, 60)


@st.composite
def cuts(draw):
    """(batch, world, micro_batches) that divide evenly."""
    world, micro_batches = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return draw(st.integers(1, 6)) * world * micro_batches, world, micro_batches


@given(n=small, batch=small, seed=st.integers(0, 2**32 - 1), epochs=st.integers(1, 4))
@settings(deadline=None, derandomize=True)
def test_an_epoch_shows_no_image_twice(n, batch, seed, epochs):
    if batch > n:
        with pytest.raises(ConfigError):
            ResumableBatchSampler(n, batch, seed, 0, 1)
        return
    per_epoch = n // batch
    steps = list(ResumableBatchSampler(n, batch, seed, 0, per_epoch * epochs))
    for epoch in range(epochs):
        shown = [d for step in steps[epoch * per_epoch : (epoch + 1) * per_epoch] for d in step.keys]
        assert {d.epoch for d in shown} == {epoch}
        assert len({d.image for d in shown}) == len(shown) == per_epoch * batch


@given(cut=cuts(), start=st.integers(0, 40), seed=st.integers(0, 9), repeats=st.integers(1, 4))
@settings(deadline=None, derandomize=True)
def test_a_stream_can_be_taken_up_at_any_step(cut, start, seed, repeats):
    batch, world, micro_batches = cut
    how = {"rank": world - 1, "world": world, "micro_batches": micro_batches, "repeats": repeats}
    whole = ResumableBatchSampler(2 * batch + 1, batch, seed, 0, 40, **how)
    later = ResumableBatchSampler(2 * batch + 1, batch, seed, start, 40, **how)
    assert list(later) == list(whole)[start * micro_batches :]
    assert len(later) == len(whole) == len(list(whole))  # Lightning counts from the run's beginning


@given(
    start=st.integers(0, 12),
    kinds=st.lists(st.sampled_from([(1, 1), (2, 1), (2, 4), (5, 2)]), min_size=12, max_size=12),
)
@settings(deadline=None, derandomize=True)
def test_steps_of_unequal_batches_take_the_next_images_and_can_be_taken_up_at_any_step(start, kinds):
    """kinds: of each step, its batch in that of the sampler, and its micro-batches per device."""

    def stream(rank, world, begin):
        def size(shape):
            return StepSize(8 * kinds[shape.patch_size][0], kinds[shape.patch_size][1])

        how = {"rank": rank, "world": world, "shape_at": lambda step: StepShape(step, 16), "size_of": size}
        return list(ResumableBatchSampler(21, 8, 3, begin, 12, **how))

    alone = stream(0, 1, 0)
    assert [len(one.keys) for one in alone] == [8 * n // m for n, m in kinds for _ in range(m)]
    assert stream(0, 1, start) == alone[sum(m for _, m in kinds[:start]) :]
    plain = [key for one in ResumableBatchSampler(21, 8, 3, 0, sum(n for n, _ in kinds)) for key in one.keys]
    steps = [[key for one in alone if one.shape.patch_size == step for key in one.keys] for step in range(12)]
    for step, keys in enumerate(steps):
        before = 8 * sum(n for n, _ in kinds[:step])
        assert sorted(keys) == sorted(plain[before : before + len(keys)])
        shared = [key for rank in (0, 1) for one in stream(rank, 2, step)[: kinds[step][1]] for key in one.keys]
        assert sorted(shared) == sorted(keys)


@given(cut=cuts(), seed=st.integers(0, 9), repeats=st.integers(1, 4), more=st.integers(0, 50))
@settings(deadline=None, derandomize=True)
def test_ranks_and_micro_batches_share_every_batch_out(cut, seed, repeats, more):
    batch, world, micro_batches = cut
    alone = list(ResumableBatchSampler(batch + more, batch, seed, 0, 5, repeats=repeats))
    shares = [
        list(
            ResumableBatchSampler(
                batch + more, batch, seed, 0, 5, rank=r, world=world, micro_batches=micro_batches, repeats=repeats
            )
        )
        for r in range(world)
    ]
    for step, wanted in enumerate(alone):
        parts = [part for share in shares for part in share[step * micro_batches : (step + 1) * micro_batches]]
        assert {len(part.keys) for part in parts} == {batch // (world * micro_batches)}
        assert sorted(key for part in parts for key in part.keys) == sorted(wanted.keys)


@given(cut=cuts())
def test_a_share_has_both_of_every_pair_that_is_mixed(cut):
    n, shares = cut[0], cut[1] * cut[2]
    parts = folded(n, shares)
    assert {len(part) for part in parts} == {n // shares}
    assert sorted(np.concatenate(parts)) == list(range(n))
    if n // shares % 2 == 0:
        assert all(np.array_equal(part[::-1], n - 1 - part) for part in parts)
    assert np.array_equal(folded(n, 1)[0], np.arange(n))


@pytest.mark.parametrize("alphas", [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
@given(half=st.integers(1, 4), shares=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25, derandomize=True)
def test_mixing_the_shares_is_mixing_the_batch(alphas, half, shares, seed):
    n = 2 * half * shares
    image_BCHW, label_B = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(n)
    mixing = Mixup(*alphas, label_smoothing=0.1, num_classes=n)

    def mixed(part):
        np.random.seed(seed)  # noqa: NPY002  timm's Mixup uses it
        return mixing(image_BCHW[part].clone(), label_B[part])

    whole = mixed(torch.arange(n))
    for part in map(torch.from_numpy, folded(n, shares)):
        assert all(torch.equal(ours, wanted[part]) for ours, wanted in zip(mixed(part), whole, strict=True))


@given(batch=st.integers(1, 12), more=st.integers(0, 60), repeats=st.integers(1, 5), seed=st.integers(0, 9))
@settings(deadline=None, derandomize=True)
def test_an_epoch_repeats_its_images_until_it_is_as_long_as_without(batch, more, repeats, seed):
    n = batch + more
    shown = [d for step in ResumableBatchSampler(n, batch, seed, 0, n // batch, repeats=repeats) for d in step.keys]
    assert len(shown) == n // batch * batch
    copies = {image: [d.copy for d in shown if d.image == image] for image in dict.fromkeys(d.image for d in shown)}
    *others, last = copies.values()
    assert all(c == list(range(repeats)) for c in others)
    assert last == list(range((len(shown) - 1) % repeats + 1))
    assert len(np.unique(uniform(shown, seed, "flip"))) == len(shown)  # every copy is augmented in its own way


def test_repeats_are_those_of_timms_sampler():
    """Over the ranks in turn each of its images comes three times in a row, and an epoch is as long."""
    ranks = [RepeatAugSampler(range(48), num_replicas=4, rank=r, num_repeats=3, selected_round=0) for r in range(4)]
    theirs = [image for step in zip(*ranks, strict=True) for image in step]
    ours = [d.image for step in ResumableBatchSampler(48, 12, 0, 0, 4, repeats=3) for d in step.keys]
    for shown in (ours, theirs):
        assert np.array_equal(shown, np.repeat(shown[::3], 3))
        assert Counter(Counter(shown).values()) == {3: 16}


def test_seeds_and_epochs_give_different_orders():
    orders = [
        tuple(d.image for d in batch.keys) for seed in (0, 1) for batch in ResumableBatchSampler(64, 64, seed, 0, 3)
    ]
    assert len(set(orders)) == len(orders)


def test_a_subset_is_the_same_whatever_the_seed_and_grows_from_itself():
    assert set(subset(100, 10)) <= set(subset(100, 20))
    assert np.array_equal(subset(100, 0), np.arange(100))
    with pytest.raises(ConfigError, match="at most 100"):
        subset(100, 101)
