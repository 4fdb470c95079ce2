"""Random numbers of steps and of branches: no two share a stream, and those of runs that exist are what they were."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from scaling.data import detection_transforms, segmentation_transforms, transforms
from scaling.data.batch import SampleKey
from scaling.data.transforms import dropping_streams, uniform
from scaling.rng import numpy_key, step_key

SEEDS, STEPS, RANKS = st.integers(0, 2**32 - 1), st.integers(0, 2**40), st.integers(0, 2**16)
PLACES = st.tuples(SEEDS, STEPS, RANKS)


@given(PLACES, PLACES)
@example((0, 1_000_003, 0), (1, 0, 0))  # the first release gave these one key
@example((0, 0, 4099), (0, 1, 0))
@example((3, 2_000_006, 1), (5, 0, 1))
@example((2**32 - 1, 10, 0), (2**32 - 2, 1_000_013, 0))
def test_no_two_steps_seeds_or_ranks_have_the_same_key(a, b):
    keys = {step_key(*place) for place in (a, b)}
    assert len(keys) == len({a, b})
    assert all(0 <= key < 2**64 for key in keys)
    mixing = {str(numpy_key(*place[:2])) for place in (a, b)}
    assert len(mixing) == len({a[:2], b[:2]})
    for place in (a, b):
        np.random.RandomState(numpy_key(*place[:2]))


@given(st.integers(0, 2**31), st.integers(0, 1_000_002), st.integers(0, 4098))
def test_below_a_million_steps_keys_are_those_of_the_first_release(seed, step, rank):
    assert step_key(seed, step, rank) == (seed * 1_000_003 + step) * 4099 + rank
    if seed < 4000:
        assert numpy_key(seed, step) == (seed * 1_000_003 + step) % 2**32


@given(st.integers(0, 300))
def test_branches_of_any_depth_share_no_stream_with_each_other_or_with_anything_else(branches):
    streams = [n for first, count in dropping_streams(branches) for n in range(first, first + count)]
    assert len(set(streams)) == len(streams) == branches
    assert streams[:100] == list(range(201, 201 + min(branches, 100)))
    objects = range(detection_transforms.STREAM, detection_transforms.STREAM + 3)
    others = {*range(1, 4), transforms.ERASING, transforms.ERASING + 1, segmentation_transforms.STREAM, *objects}
    assert not others & set(streams)


def test_numbers_of_branches_that_exist_are_what_they_were():
    draws = [SampleKey(2, 7), SampleKey(0, 3, 1)]
    found = [uniform(draws, 5, count, first) for first, count in dropping_streams(64)]
    assert np.array_equal(np.concatenate(found, axis=1), uniform(draws, 5, 64, 201))
