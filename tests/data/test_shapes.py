"""The embedded data set: deterministic, fair, and labelled as it is drawn."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.data.generated.generated_shapes import CLASSES, MAX_SIZE, MIN_SIZE, VERSION, render
from scaling.errors import ConfigError

# SHA-256 of image, label and mask bytes: a change here is a new data set, so VERSION goes up with it.
PINNED_VERSION = 2
PINNED = {
    ("train", 16, 1): "c1d47a399a71a8ba",
    ("test", 32, 1): "f8669b4ed94bb75b",
    ("train", 50, 4): "efe5ccd52b3044e7",
}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    index=st.lists(st.integers(0, 2**40), min_size=1, max_size=9),
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(16, 33),
    objects=st.integers(1, 4),
    split=st.sampled_from(["train", "test"]),
    data=st.data(),
)
def test_an_image_is_the_same_whatever_batch_it_is_drawn_in(index, seed, size, objects, split, data):
    which = data.draw(st.integers(0, len(index) - 1))
    batch = render(seed, np.array(index), size, objects, split, instances=True)
    alone = render(seed, np.array(index[which : which + 1]), size, objects, split, instances=True)
    for of_batch, of_one in zip(batch, alone, strict=True):
        assert len(of_batch) == len(index)
        np.testing.assert_array_equal(of_batch[which], of_one[0])


def test_an_image_is_the_same_across_the_chunks_that_a_large_batch_is_drawn_in():
    index = np.arange(700)
    forward, backward = render(3, index, 16), render(3, index[::-1], 16)
    np.testing.assert_array_equal(forward.image_BHWC, backward.image_BHWC[::-1])


def test_no_image_of_a_stream_is_in_another_stream():
    index = np.arange(500)
    streams = [render(seed, index, 16, split=split) for seed in (0, 1) for split in ("train", "test")]
    images = {image.tobytes() for stream in streams for image in stream.image_BHWC}
    assert len(images) == 4 * 500


def test_the_pixels_are_those_of_this_version():
    assert VERSION == PINNED_VERSION
    for (split, size, objects), pinned in PINNED.items():
        batch = render(7, np.array([0, 1, 2, 3, 10**6]), size, objects, split)
        little_endian = batch.image_BHWC.tobytes() + batch.label_B.astype("<i8").tobytes()
        digest = hashlib.sha256(little_endian + batch.mask_BHW.astype("<i8").tobytes()).hexdigest()
        assert digest[:16] == pinned, (split, size, objects)


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_class_is_about_as_frequent(split):
    count = np.bincount(render(0, np.arange(12_000), 16, split=split).label_B, minlength=len(CLASSES))
    chi2 = ((count - 4000) ** 2 / 4000).sum()
    assert chi2 < 13.9  # 2 degrees of freedom: exceeded once in a thousand


@pytest.mark.parametrize("size", [MIN_SIZE, 17, 32, 100, MAX_SIZE])
def test_label_and_mask_agree_at_every_size(size):
    batch = render(1, np.arange(24), size)
    assert batch.image_BHWC.shape == (24, size, size, 3)
    assert batch.image_BHWC.dtype == np.uint8
    for label, mask_HW in zip(batch.label_B, batch.mask_BHW, strict=True):
        assert {1 + label} <= set(np.unique(mask_HW)) <= {0, 1 + label}


def test_class_and_place_do_not_depend_on_the_size():
    small, large = render(0, np.arange(50), 32), render(0, np.arange(50), 64)
    np.testing.assert_array_equal(small.label_B, large.label_B)
    share = (small.mask_BHW > 0).mean((1, 2)), (large.mask_BHW > 0).mean((1, 2))
    np.testing.assert_allclose(*share, atol=0.08)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(16, 80), objects=st.integers(1, 16))
def test_boxes_masks_and_classes_agree(seed, size, objects):
    batch = render(seed, np.arange(4), size, objects, instances=True)
    for i in range(4):
        masks, kinds = batch.instance_masks[i], batch.instance_classes[i]
        assert 1 <= len(masks) == len(kinds) == len(batch.boxes[i]) <= objects
        assert masks.sum(0).max() == 1  # disjoint
        painted = (masks * (1 + kinds)[:, None, None]).sum(0)
        np.testing.assert_array_equal(painted, batch.mask_BHW[i])
        assert batch.label_B[i] == kinds[masks.sum((1, 2)).argmax()]
        for (x0, y0, x1, y1), mask in zip(batch.boxes[i].astype(int), masks, strict=True):
            assert mask.sum() == mask[y0:y1, x0:x1].sum() > 0
            for edge in (mask[y0, x0:x1], mask[y1 - 1, x0:x1], mask[y0:y1, x0], mask[y0:y1, x1 - 1]):
                assert edge.any()  # tight


def test_up_to_that_many_objects_are_drawn_and_some_hide_part_of_others():
    batch = render(0, np.arange(200), 64, 4, instances=True)
    assert {len(boxes) for boxes in batch.boxes} == {1, 2, 3, 4}
    x0, y0, x1, y1 = np.concatenate(batch.boxes).T
    visible = np.concatenate([masks.sum((1, 2)) for masks in batch.instance_masks])
    fill = visible / ((x1 - x0) * (y1 - y0))
    assert ((fill > 0.45) & (fill < 0.72)).any()  # whole outlines fill 0.38, 0.79 and 1.00 of their boxes


def test_instances_are_made_only_when_asked_for():
    batch = render(0, np.arange(3), 16, 2)
    assert batch.boxes == batch.instance_masks == batch.instance_classes == []


@pytest.mark.parametrize("size", [16, 24, 32, 224])
def test_no_pixel_is_clipped(size):
    image = render(0, np.arange(100), size).image_BHWC
    assert image.min() > 0
    assert image.max() < 255


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"size": 15}, "image 15"),
        ({"size": 225}, "image 225"),
        ({"size": 16.0}, "image 16.0"),
        ({"objects": 0}, "objects 0"),
        ({"objects": 17}, "objects 17"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 2**32}, "seed 4294967296"),
        ({"index": np.array([3, -2])}, "index -2"),
        ({"index": np.array([0.5])}, "float64"),
        ({"index": np.array([[1]])}, "shape"),
        ({"split": "tset"}, "did you mean test"),
    ],
)
def test_bad_input_is_named(bad, says):
    with pytest.raises(ConfigError, match=says) as raised:
        render(**({"seed": 0, "index": np.array([0]), "size": 16} | bad))
    assert "\n" not in str(raised.value)


def test_an_empty_batch_is_empty():
    assert render(0, np.array([], np.int64), 16, instances=True).image_BHWC.shape == (0, 16, 16, 3)
