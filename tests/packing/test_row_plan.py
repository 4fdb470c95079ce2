"""Plans of rows: no image is lost or split, no row overflows, and how close the number of rows is to the fewest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.benchmarks.packing import DISTRIBUTIONS, padding_of
from scaling.config.packing import SequencePacking
from scaling.errors import ConfigError
from scaling.packing.row_plan import (
    LITTLE,
    PLANS,
    balanced,
    best_fit,
    first_fit,
    first_fit_decreasing,
    padding_share,
    row_length,
)

LENGTHS = st.lists(st.integers(1, 20), max_size=30)


def fewest_rows(lengths, capacity, rooms=()):
    """By trying every row that is begun, and a new one, for the first image, then for the next."""
    if not lengths:
        return len(rooms)
    n, *others = lengths
    choices = [(*rooms[:i], room - n, *rooms[i + 1 :]) for i, room in enumerate(rooms) if room >= n]
    return min(fewest_rows(others, capacity, choice) for choice in [*choices, (*rooms, capacity - n)])


@pytest.mark.parametrize("plan", PLANS.values(), ids=list(PLANS))
@given(lengths=LENGTHS, capacity=st.integers(20, 50))
def test_every_image_is_in_one_row_that_has_room_for_it(plan, lengths, capacity):
    rows = plan(lengths, capacity)
    assert sorted(image for row in rows for image in row) == list(range(len(lengths)))
    for row in rows:
        assert row == sorted(row)
        assert 0 < sum(lengths[image] for image in row) <= capacity


@given(lengths=st.lists(st.integers(1, 10), max_size=6), capacity=st.integers(10, 16))
def test_decreasing_needs_at_most_eleven_ninths_of_the_fewest_rows_and_one(lengths, capacity):
    fewest = fewest_rows(lengths, capacity)
    assert 9 * len(first_fit_decreasing(lengths, capacity)) <= 11 * fewest + 6


def test_first_fit_and_best_fit_of_a_worked_example():
    lengths = [6, 5, 3, 4, 2]  # rows of 10: the 3 fits in both, the first has room 4, the second 5
    assert first_fit(lengths, 10) == [[0, 2], [1, 3], [4]]
    assert best_fit([5, 6, 3, 4, 2], 10) == [[0, 3], [1, 2], [4]]
    assert first_fit([5, 6, 3, 4, 2], 10) == [[0, 2, 4], [1, 3]]


@given(lengths=LENGTHS, capacity=st.integers(20, 50))
def test_one_open_row_is_next_fit(lengths, capacity):
    rows, room = [], 0
    for image, length in enumerate(lengths):
        if length > room:
            rows.append([])
            room = capacity
        rows[-1].append(image)
        room -= length
    assert first_fit(lengths, capacity, window=1) == best_fit(lengths, capacity, window=1) == rows


@given(lengths=LENGTHS, capacity=st.integers(20, 50))
def test_a_window_of_all_rows_is_no_window(lengths, capacity):
    assert first_fit(lengths, capacity, window=len(lengths) + 1) == first_fit(lengths, capacity)


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=30), capacity=st.integers(20, 60))
def test_balanced_rows_have_no_more_padding_than_decreasing_ones_that_are_cut_at_the_longest(lengths, capacity):
    def places(rows):
        return len(rows) * max(sum(lengths[image] for image in row) for row in rows)

    assert places(balanced(lengths, capacity)) <= places(first_fit_decreasing(lengths, capacity))


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=30), capacity=st.integers(20, 60))
def test_balanced_rows_are_the_best_of_all_numbers_of_even_rows_or_have_hardly_any_padding(lengths, capacity):
    rows = balanced(lengths, capacity)
    places = len(rows) * row_length("balanced", rows, lengths, capacity)
    most = min(2 * len(first_fit_decreasing(lengths, capacity)), len(lengths))
    for count in range(1, most + 1):
        totals = [0] * count
        for length in sorted(lengths, reverse=True):
            totals[totals.index(min(totals))] += length
        if max(totals) <= capacity:
            assert places <= max(count * max(totals), sum(lengths) / (1 - LITTLE))


def test_padding_is_below_two_percent_with_the_defaults_on_sizes_of_real_images():
    for patch, sizes in DISTRIBUTIONS.values():
        assert padding_of(patch, sizes, SequencePacking().packing_plan, SequencePacking().sequence_length, 8) < 2


def test_a_worked_example_of_balanced_rows():
    assert first_fit_decreasing([6, 4, 4, 3, 3], 12) == [[0, 1], [2, 3, 4]]
    assert balanced([8, 2, 2, 2, 2], 10) == [[0], [1, 2, 3, 4]]
    assert balanced([], 10) == []


@pytest.mark.parametrize("plan", PLANS.values(), ids=list(PLANS))
def test_an_image_longer_than_a_row_is_refused(plan):
    with pytest.raises(ConfigError, match=r"^an image of 11 tokens does not fit in a sequence of 10"):
        plan([3, 11], 10)


def test_padding_is_what_no_image_fills():
    assert padding_share([[0, 1], [2]], [4, 4, 2], 8) == pytest.approx(6 / 16)
    assert padding_share([], [], 8) == 0
