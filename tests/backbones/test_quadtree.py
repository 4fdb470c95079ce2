"""Trees by one sort beside a slow queue, and scores beside exact sums."""

import heapq
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.backbones.quadtree import SCORES, edge_scores, leaf_masks, leaves, variance_scores
from scaling.config.embed_shapes import leaf_sides, most_leaves, most_splits

SIZES = st.fixed_dictionaries(
    {
        "roots": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "levels": st.integers(2, 4),
        "finest": st.sampled_from([1, 2]),
        "seed": st.integers(0, 999),
    }
)


def drawn(roots, levels, finest, seed, values=None, images=2, dtype=torch.float64):
    """Images, of whole numbers below `values` or of noise; and the sides of their leaves."""
    coarsest = finest * 2 ** (levels - 1)
    size, draw = (images, 3, roots[0] * coarsest, roots[1] * coarsest), torch.Generator().manual_seed(seed)
    pixels = torch.randint(values, size, generator=draw) if values else torch.randn(size, generator=draw)
    return pixels.to(dtype), leaf_sides(finest, coarsest)


def slow_variance(node_CHW):
    total = Fraction(0)
    for channel in node_CHW.flatten(1).tolist():
        mean = Fraction(sum(map(Fraction, channel)), len(channel))
        total += sum((Fraction(x) - mean) ** 2 for x in channel)
    return total


def slow_edges(image_CHW, top, left, side):
    channels, height, width = image_CHW.shape
    total = Fraction(0)
    for c in range(channels):
        pixel = [[Fraction(x) for x in row] for row in image_CHW[c].tolist()]
        for y in range(top, top + side):
            for x in range(left, left + side):
                down = pixel[min(y + 1, height - 1)][x] - pixel[max(y - 1, 0)][x]
                across = pixel[y][min(x + 1, width - 1)] - pixel[y][max(x - 1, 0)]
                total += (down / 2) ** 2 + (across / 2) ** 2
    return total


def slow_score(image_CHW, top, left, side, split_by):
    if split_by == "edges":
        return slow_edges(image_CHW, top, left, side)
    if split_by == "turned":
        image_CHW = image_CHW.flip(1, 2)
    return slow_variance(image_CHW[:, top : top + side, left : left + side])


def slow_leaves(image_CHW, sides, share, threshold, split_by):
    """(top, left, side) of the leaves: the node with the highest score is split, until there are as many as may be."""
    height, width = image_CHW.shape[1:]
    allowed = share * (height // sides[-1]) * (width // sides[-1]) + 1e-9  # a share is a rounded number

    def node(top, left, side):
        if side == sides[-1]:
            return None
        return (-slow_score(image_CHW, top, left, side, split_by), -side, top, left)

    tops, lefts = range(0, height, sides[0]), range(0, width, sides[0])
    found = {(top, left, sides[0]) for top in tops for left in lefts}
    queue = [node(*leaf) for leaf in found]
    heapq.heapify(queue)
    while queue and len(found) + 3 <= allowed:
        score, side, top, left = heapq.heappop(queue)
        if -score <= threshold:
            break
        found.remove((top, left, -side))
        half = -side // 2
        for leaf in [(top + y, left + x, half) for y in (0, half) for x in (0, half)]:
            found.add(leaf)
            if (one := node(*leaf)) is not None:
                heapq.heappush(queue, one)
    return found


def listed(masks, sides, image):
    """(top, left, side) of the leaves of one image."""
    pairs = zip(masks, sides, strict=True)
    return {(y * side, x * side, side) for mask, side in pairs for y, x in mask[image].nonzero().tolist()}


def covers(masks):
    """How many leaves cover each of the finest cells (B, h, w)."""
    finest = masks[-1].shape[1:]
    total = torch.zeros(masks[-1].shape, dtype=torch.int64)
    for mask in masks:
        times = finest[0] // mask.shape[1]
        total += mask.repeat_interleave(times, 1).repeat_interleave(times, 2).long()
    return total


@settings(max_examples=20)
@given(
    sizes=SIZES,
    share=st.floats(0.02, 1),
    threshold=st.sampled_from([0.0, 1.0, 5.0]),
    split_by=st.sampled_from(list(SCORES)),
    values=st.sampled_from([2, 3, 200]),
)
def test_the_leaves_are_those_of_a_slow_queue(sizes, share, threshold, split_by, values):
    """Ties, of which few values make many, are decided alike."""
    image_BCHW, sides = drawn(**sizes, values=values)
    share = max(share, 4.0 ** (1 - len(sides)))
    masks = leaves(image_BCHW, sides, share, threshold, split_by)
    for number, image_CHW in enumerate(image_BCHW):
        assert listed(masks, sides, number) == slow_leaves(image_CHW, sides, share, threshold, split_by)


@settings(max_examples=50)
@given(
    sizes=SIZES,
    finest=st.sampled_from([1, 2, 3, 7]),
    share=st.floats(0.02, 1),
    threshold=st.floats(0, 100),
    split_by=st.sampled_from(list(SCORES)),
    scale=st.sampled_from([1e-12, 1.0, 1e6]),
)
def test_leaves_tile_the_image_once_and_are_never_more_than_allowed(sizes, finest, share, threshold, split_by, scale):
    """In float32, too, where sums are rounded."""
    image_BCHW, sides = drawn(**{**sizes, "finest": finest}, dtype=torch.float32)
    share = max(share, 4.0 ** (1 - len(sides)))
    masks = leaves(scale * image_BCHW, sides, share, threshold, split_by)
    assert (covers(masks) == 1).all()
    counts = sum(mask.flatten(1).sum(1) for mask in masks)
    finest_cells = masks[-1][0].numel()
    assert (counts <= share * finest_cells + 1e-6).all()
    assert (counts <= most_leaves(masks[-1].shape[1:], len(sides), share)).all()
    if threshold == 0:
        assert (counts == most_leaves(masks[-1].shape[1:], len(sides), share)).all()


@pytest.mark.parametrize("split_by", list(SCORES))
def test_a_flat_image_has_the_coarsest_leaves_and_noise_the_finest(split_by):
    noise, sides = drawn((2, 3), 3, 2, 0, dtype=torch.float32)
    flat = torch.full_like(noise, 0.1)  # whose sums are rounded
    for image, threshold, finest in ((flat, 0.0, False), (noise, 0.0, True), (noise, math.inf, False)):
        masks = leaves(image, sides, 1.0, threshold, split_by)
        assert all(bool(mask.all()) == (n == (2 if finest else 0)) for n, mask in enumerate(masks))


@settings(max_examples=8)
@given(sizes=SIZES)
def test_scores_are_those_of_exact_sums(sizes):
    image_BCHW, sides = drawn(**sizes, values=200, images=1)
    for split_by in SCORES:
        for score, side in zip(SCORES[split_by](image_BCHW, sides), sides, strict=False):
            h, w = score.shape[1:]
            wanted = [slow_score(image_BCHW[0], y * side, x * side, side, split_by) for y in range(h) for x in range(w)]
            assert [Fraction(value) for value in score.flatten().tolist()] == wanted


def test_scores_of_sides_that_are_no_powers_of_two():
    image_BCHW, sides = drawn((2, 1), 3, 7, 1)
    for scores in (variance_scores(image_BCHW, sides), edge_scores(image_BCHW, sides)):
        assert [tuple(score.shape[1:]) for score in scores] == [(2, 1), (4, 2)]
    node = image_BCHW[:, :, :14, :14].flatten(2)
    wanted = (node - node.mean(2, keepdim=True)).square().sum((1, 2))
    torch.testing.assert_close(variance_scores(image_BCHW, sides)[1][:, 0, 0], wanted, rtol=1e-12, atol=0)


def test_the_tree_of_an_image_is_the_same_in_any_batch():
    image_BCHW, sides = drawn((3, 3), 4, 1, 2, images=5, dtype=torch.float32)
    together = leaves(image_BCHW, sides, 0.3, 0.0, "variance")
    order = [3, 0, 4, 1, 2]
    others = leaves(image_BCHW[order], sides, 0.3, 0.0, "variance")
    for n, image_CHW in enumerate(image_BCHW):
        alone = leaves(image_CHW[None], sides, 0.3, 0.0, "variance")
        for mask, other, one in zip(together, others, alone, strict=True):
            assert torch.equal(mask[n], one[0])
            assert torch.equal(mask[n], other[order.index(n)])


def test_the_turned_tree_has_as_many_leaves_of_each_size_at_the_opposite_places():
    image_BCHW, sides = drawn((2, 2), 4, 1, 3)
    turned = leaves(image_BCHW, sides, 0.3, 0.0, "turned")
    for mask, plain in zip(turned, leaves(image_BCHW, sides, 0.3, 0.0, "variance"), strict=True):
        assert torch.equal(mask, plain.flip(1, 2))


def test_details_have_small_leaves():
    image_BCHW = torch.zeros(1, 3, 32, 32)
    image_BCHW[:, :, 4:7, 20:23] = 1
    for split_by in ("variance", "edges"):
        masks = leaves(image_BCHW, leaf_sides(2, 16), 0.25, 0.0, split_by)
        finest = {(top, left) for top, left, side in listed(masks, leaf_sides(2, 16), 0) if side == 2}
        assert finest
        assert all(0 <= top < 8 and 16 <= left < 24 for top, left in finest)


def test_the_number_of_leaves_is_the_largest_that_is_allowed():
    """32 px from 8 to 2: 16, 19, ..., 256."""
    assert [most_leaves((16, 16), 3, n / 256) for n in (16, 18, 19, 64, 255, 256)] == [16, 16, 19, 64, 253, 256]
    assert most_splits((16, 16), 3, 0.25) == 16
    assert leaf_sides(2, 8) == [8, 4, 2]


def test_equal_scores_are_split_from_coarse_to_fine_and_row_by_row():
    scores = [torch.ones(1, 1, 2), torch.ones(1, 2, 4)]
    coarse, middle, fine = leaf_masks(scores, 3, 0.0)
    assert not coarse.any()
    assert middle.tolist() == [[[False, True, True, True], [True] * 4]]
    assert fine.sum() == 4
