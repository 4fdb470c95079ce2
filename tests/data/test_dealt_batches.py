"""Test images dealt to devices in batches."""

from hypothesis import given
from hypothesis import strategies as st

from scaling.data.dataset import batches, deal

SIZES = st.lists(st.sampled_from([(16, 16), (16, 24), (40, 24)]), max_size=60)


@given(SIZES, st.booleans(), st.integers(1, 9), st.integers(1, 8))
def test_each_image_is_dealt_once_and_all_devices_have_as_many_batches_of_one_size(sizes, alike, largest, world):
    hands = deal(len(sizes), largest, [] if alike else sizes, world)
    assert len(hands) == world
    assert len({len(hand) for hand in hands}) == 1
    dealt = [batch for hand in hands for batch in hand]
    assert sorted(i for batch in dealt for i in batch) == list(range(len(sizes)))
    assert all(len(batch) <= largest for batch in dealt)
    assert alike or all(len({sizes[i] for i in batch}) <= 1 for batch in dealt)
    assert sum(not batch for batch in dealt) < world  # no more than it takes


@given(SIZES, st.integers(1, 9), st.integers(1, 8))
def test_the_batches_are_those_of_one_device_in_turn(sizes, largest, world):
    alone = batches(len(sizes), largest, sizes)
    assert [i for batch in alone for i in batch] == list(range(len(sizes)))
    assert deal(len(sizes), largest, sizes, 1) == [alone]
    hands = deal(len(sizes), largest, sizes, world)
    in_turn = [hand[turn] for turn in range(len(hands[0])) for hand in hands]
    assert [batch for batch in in_turn if batch] == alone


def test_images_of_one_size_that_are_no_neighbours_are_not_brought_together():
    assert batches(5, 4, ["a", "a", "b", "a", "a"]) == [[0, 1], [2], [3, 4]]
    assert batches(5, 4, []) == [[0, 1, 2, 3], [4]]
    assert deal(5, 4, [], 3) == [[[0, 1, 2, 3]], [[4]], [[]]]
