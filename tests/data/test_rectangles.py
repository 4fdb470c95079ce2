"""Generated images that are no squares: which sizes there are, and that they are drawn and labelled as squares are."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.config.edit import edit
from scaling.data.batch import Split
from scaling.data.classification import ClassificationSource
from scaling.data.generated.embedded_set import rendered, sizes_of
from scaling.data.generated.generated_shapes import CLASSES, cell_scales, render, shape_numbers
from scaling.data.generated.ideal_observer import ideal_loss
from scaling.data.generated.rectangles import rectangles
from scaling.errors import ConfigError
from scaling.rng import SampleKey
from tests.data.test_the_law_of_the_embedded_set_is_known import nearest_class

# SHA-256 of image, label and mask bytes, as in test_shapes.py
PINNED = {
    ((12, 22), 1): "d0d7bd2775e82d15",
    ((20, 12), 1): "d1a322b07ffab4e4",
    ((24, 40), 4): "ebfaa325ec77fdc6",
}
SIDES = st.tuples(st.integers(8, 40), st.integers(8, 40)).filter(lambda sides: sides[0] != sides[1])


def test_the_pixels_are_those_of_this_version():
    for (size, objects), pinned in PINNED.items():
        batch = render(7, np.array([0, 1, 2, 3, 10**6]), size, objects)
        little_endian = batch.image_BHWC.tobytes() + batch.label_B.astype("<i8").tobytes()
        digest = hashlib.sha256(little_endian + batch.mask_BHW.astype("<i8").tobytes()).hexdigest()
        assert digest[:16] == pinned, (size, objects)


@settings(max_examples=20)
@given(size=st.integers(2, 28).map(lambda eighth: 8 * eighth), low=st.floats(0.25, 1), high=st.floats(1, 4))
def test_rectangles_are_all_sizes_in_eighths_with_the_nearest_area_and_a_ratio_in_the_range(size, low, high):
    eighth, found = size // 8, rectangles(size, f"{low:.4f}-{high:.4f}")
    low, high = float(f"{low:.4f}"), float(f"{high:.4f}")
    wanted = set()
    for long in range(8, 17):
        short = min(range(1, 17), key=lambda side: abs(side * long - 64))
        wanted |= {(short, long), (long, short)}
    assert set(found) == {(h * eighth, w * eighth) for h, w in wanted if low <= w / h <= high}
    assert (size, size) in found
    ratios = [w / h for h, w in found]
    assert ratios == sorted(ratios)
    assert all(abs(h * w / size**2 - 1) < 0.1 for h, w in found)


@pytest.mark.parametrize(
    ("size", "text", "says"), [(20, "0.5-2", "needs an image size that 8 divides"), (16, "1.1-1.2", "no rectangle")]
)
def test_sizes_that_there_are_not_are_named(size, text, says):
    with pytest.raises(ConfigError, match=says):
        rectangles(size, text)


def test_all_sizes_are_drawn_equally_often_and_independently_of_the_class():
    drawn = shape_numbers(0, np.arange(14_000), 7)
    count = np.bincount(drawn, minlength=7)
    assert ((count - 2000) ** 2 / 2000).sum() < 22.5  # 6 degrees of freedom: exceeded once in a thousand
    label = render(0, np.arange(14_000), 16).label_B
    table = np.histogram2d(drawn, label, (7, 3))[0]
    assert ((table - 14_000 / 21) ** 2 / (14_000 / 21)).sum() < 45.3  # 20 degrees of freedom


@settings(max_examples=15)
@given(
    index=st.lists(st.integers(0, 2**40), min_size=1, max_size=5), size=SIDES, objects=st.integers(1, 4), data=st.data()
)
def test_a_rectangle_is_the_same_whatever_batch_it_is_drawn_in(index, size, objects, data):
    which = data.draw(st.integers(0, len(index) - 1))
    batch = render(0, np.array(index), size, objects, "test", instances=True)
    alone = render(0, np.array(index[which : which + 1]), size, objects, "test", instances=True)
    for of_batch, of_one in zip(batch, alone, strict=True):
        np.testing.assert_array_equal(of_batch[which], of_one[0])


@settings(max_examples=15)
@given(size=SIDES, objects=st.integers(1, 9))
def test_boxes_masks_and_classes_agree(size, objects):
    batch = render(5, np.arange(3), size, objects, instances=True)
    assert batch.image_BHWC.shape == (3, *size, 3)
    assert batch.image_BHWC.min() > 0
    assert batch.image_BHWC.max() < 255
    for i in range(3):
        masks, kinds = batch.instance_masks[i], batch.instance_classes[i]
        np.testing.assert_array_equal((masks * (1 + kinds)[:, None, None]).sum(0), batch.mask_BHW[i])
        assert batch.label_B[i] == kinds[masks.sum((1, 2)).argmax()]
        for (x0, y0, x1, y1), mask in zip(batch.boxes[i].astype(int), masks, strict=True):
            y, x = np.nonzero(mask)
            assert (x0, y0, x1, y1) == (x.min(), y.min(), x.max() + 1, y.max() + 1)


def test_objects_are_not_stretched_and_lie_anywhere_along_the_longer_side():
    index = np.arange(300)
    batch, fine = render(0, index, (32, 64), instances=True), cell_scales(0, index, (32, 64)) < 1
    x0, y0, x1, y1 = np.concatenate(batch.boxes)[fine].T  # of coarser tiles, outlines are less true
    np.testing.assert_allclose(x1 - x0, y1 - y0, atol=4)
    middle = (x0 + x1) / 2
    assert (middle < 22).mean() > 0.15
    assert (middle > 42).mean() > 0.15


@pytest.mark.parametrize(
    ("size", "patch"),
    [((16, 32), 1), ((16, 32), 4), ((32, 16), 16), ((16, 48), 16), ((12, 20), 2), ((12, 20), 4), ((24, 16), 8)],
)
def test_an_observer_of_the_means_reaches_the_ideal_loss_of_the_shorter_side(size, patch):
    """The law of squares holds where patches tile the rectangle: an observer that is sure where a block's mean has a
    hue, and at chance where none has."""
    batch, images = render(0, np.arange(2000), size, split="test"), 2000
    pixels = batch.image_BHWC.astype(np.float64)
    chroma = pixels - pixels.mean(3, keepdims=True)
    height, width = size
    mean = chroma.reshape(images, height // patch, patch, width // patch, patch, 3).mean((2, 4)).reshape(images, -1, 3)
    strength = np.linalg.norm(mean, axis=2)
    colour = mean[np.arange(images), strength.argmax(1)]
    sure = strength.max(1) > 10 / patch + 1
    assert (nearest_class(colour[sure]) == batch.label_B[sure]).mean() > 0.999
    assert (1 - sure.mean()) * math.log(len(CLASSES)) == pytest.approx(ideal_loss(min(size), patch), abs=0.015)


def test_a_recipe_gets_each_image_at_its_own_size(tiny):
    config = edit(tiny, packing="sequences", aspect_ratios="0.5-2", patch_size=2, num_train=600, pos_embed="sincos")
    indices = np.arange(600)
    sizes = sizes_of(config, "train", indices)
    assert set(sizes) == set(rectangles(16, "0.5-2"))
    seen = np.concatenate([chunk for chunk, _ in rendered(config, "train", indices)])
    assert sorted(seen.tolist()) == indices.tolist()
    data = ClassificationSource().generate(config, "train", indices, Split.VAL)
    native = data.get_batch([SampleKey(0, i) for i in range(20)])
    assert native.rows.grids == tuple((h // 2, w // 2) for h, w in sizes[:20])
    for i, image_CHW in enumerate(native.images.images()):
        wanted = render(0, indices[i : i + 1], sizes[i])
        np.testing.assert_array_equal(image_CHW.permute(1, 2, 0), wanted.image_BHWC[0])
        assert native.targets.label_B[i] == wanted.label_B[0]


def test_or_squashed_to_squares_of_as_many_pixels(tiny):
    config = edit(tiny, packing="sequences", aspect_ratios="0.5-2", patch_size=2, pos_embed="sincos")
    squashed = edit(config, keep_aspect_ratio=False)
    data = ClassificationSource().generate(squashed, "train", np.arange(50), Split.TRAIN)
    batch = data.get_batch([SampleKey(0, i) for i in range(50)])
    assert batch.rows is None
    assert tuple(batch.pixels.shape[1:]) == (3, 16, 16)
