"""Views of an image and the objects in it, and masks as run lengths."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from scaling.config.edit import edit, make_config
from scaling.config.task import JITTERS
from scaling.costs.token_counts import size_multiple
from scaling.data.batch import Split
from scaling.data.coco.instance_store import ImageObjects, run_ends, strip
from scaling.data.transforms import detection
from scaling.data.transforms.detection import Part, collate, frame_of, seen_masks, view
from scaling.data.transforms.segmentation import GREY
from scaling.rng import SampleKey
from tests.coco_folder import filled

AUGMENTS = ("none", "flip", *JITTERS)
RECIPE = make_config(task="detect", head="cascade_mask_rcnn", img_size=32, patch_size=8)


def encoded(mask_hw):
    return coco_mask.encode(np.asfortranarray(mask_hw, np.uint8))["counts"]


def objects_of(size, *rectangles):
    """Objects that are x, y, width, height [px]; the last one is a crowd."""
    n = len(rectangles)
    corners = np.array(rectangles, np.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return ImageObjects(
        1,
        size,
        corners,
        np.arange(n),
        np.arange(n) == n - 1,
        np.zeros(n, np.float32),
        [encoded(filled(size, *r)) for r in rectangles],
    )


def whole(part: Part | None, shape) -> np.ndarray:
    mask_HW = np.zeros(shape, np.uint8)
    if part is not None:
        rows, columns = part.pixels.shape
        mask_HW[part.top : part.top + rows, part.left : part.left + columns] = part.pixels
    return mask_HW


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    height=st.integers(1, 40), width=st.integers(1, 40), share=st.sampled_from([0, 0.02, 0.5, 1]), seed=st.integers(0)
)
def test_run_lengths_are_read_as_pycocotools_reads_them(height, width, share, seed):
    rng = np.random.default_rng(seed)
    mask_hw = (rng.random((height, width)) < share) & (rng.random(width) < 0.7)
    ends = run_ends(encoded(mask_hw))
    left, pixels_wh = strip(ends, height)
    assert ends[-1] == height * width
    found = np.zeros((width, height), bool)
    found[left : left + len(pixels_wh)] = pixels_wh
    assert np.array_equal(found.T, mask_hw)
    if mask_hw.any():  # no column too many
        assert pixels_wh[0].any()
        assert pixels_wh[-1].any()


def test_runs_may_be_empty_and_as_long_as_an_image():
    for runs in ([0, 12], [12], [12, 0], [3, 0, 4, 2, 3], [0, 0, 5, 7], [1, 0, 0, 0, 11]):
        rle = coco_mask.frPyObjects({"size": [3, 4], "counts": runs}, 3, 4)
        left, pixels_wh = strip(run_ends(rle["counts"]), 3)
        found = np.zeros((4, 3), np.uint8)
        found[left : left + len(pixels_wh)] = pixels_wh
        assert np.array_equal(found.T, coco_mask.decode(rle))
    many = np.random.default_rng(0).integers(0, 2**28, 99).tolist()
    rle = coco_mask.frPyObjects({"size": [3, 4], "counts": many}, 3, 4)
    assert run_ends(rle["counts"]).tolist() == np.cumsum(many).tolist()


@pytest.mark.parametrize("text", [b"", b"o", b"4o", b"zzz\xff", b" ", b"5O", b"o" * 20 + b"0"])
def test_a_text_that_is_no_mask_is_refused(text):
    with pytest.raises(ValueError, match="run lengths"):
        run_ends(text)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    size=st.tuples(st.integers(8, 90), st.integers(8, 120)),
    corner=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    sides=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)),
    short=st.sampled_from([0, 20, 48]),
    augment=st.sampled_from(AUGMENTS),
    seed=st.integers(0, 2**16),
)
def test_image_box_and_mask_move_together_into_every_view(size, corner, sides, short, augment, seed):
    """Red is where the object's columns are, green where its rows are: the mask is where both are, to half a pixel."""
    h, w = size
    width, height = (max(1, round(s * side)) for s, side in zip(sides, (w, h), strict=True))
    x, y = round(corner[0] * (w - width)), round(corner[1] * (h - height))
    image = torch.zeros(3, h, w, dtype=torch.uint8)
    image[0, :, x : x + width] = 255
    image[1, y : y + height] = 255
    r = edit(RECIPE, augment=augment, resize_short=short or None, seed=seed)
    draw = SampleKey(0, 5)
    found = view(image, objects_of(size, (x, y, width, height)), r, Split.TRAIN, draw)
    frame = frame_of(size, r, Split.TRAIN, draw)
    H, W = found.image_CHW.shape[1:]
    assert frame.shape == (H, W)
    if not found.masks:
        assert found.box_n4.shape == (0, 4)
        assert len(found.label_n) == len(found.crowd_n) == 0
    else:
        mask = torch.from_numpy(whole(found.masks[0], (H, W))).bool()
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        tight = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert found.masks[0].pixels.any(0).all()  # the part has nothing to spare
        assert found.masks[0].pixels.any(1).all()
        assert abs(found.box_n4[0] - tight).max() <= (0 if augment in JITTERS else 0.51)
        assert int(mask.sum()) == len(rows) * len(columns)
    # What is smaller than a few pixels, or that close to a border of the image, is smoothed away with its surroundings.
    for channel, (start, length), stored, seen in (
        (0, (x, width), w, frame.size[1]),
        (1, (y, height), h, frame.size[0]),
    ):
        reach = 3 * max(1, stored / seen)
        gaps = start, stored - start - length
        if length < reach or any(0 < gap < reach for gap in gaps) or not found.masks:
            continue
        inside = mask.any(0)[None, :] if channel == 0 else mask.any(1)[:, None]
        inside = inside.expand(H, W)
        assert (found.image_CHW[channel][inside] >= 112).all()
        assert (found.image_CHW[channel][~inside] <= 143).all()


@pytest.mark.parametrize("augment", AUGMENTS)
def test_a_view_is_what_torchvisions_plain_functions_give(augment):
    rng = np.random.default_rng(1)
    size = (45, 61)
    image = torch.from_numpy(rng.integers(0, 256, (3, *size), dtype=np.uint8))
    objects = objects_of(size, (3, 4, 20, 9), (30, 20, 25, 25), (0, 0, 61, 45))
    stack = torch.from_numpy(np.stack([coco_mask.decode({"size": size, "counts": c}) for c in objects.counts]))
    for i in range(25):
        r, draw = edit(RECIPE, augment=augment, seed=i), SampleKey(0, i)
        found = view(image, objects, r, Split.TRAIN, draw)
        frame = frame_of(size, r, Split.TRAIN, draw)
        boxes = tv_tensors.BoundingBoxes(torch.from_numpy(objects.box_n4), format="XYXY", canvas_size=size)
        pictures = F.resize(tv_tensors.Image(image), list(frame.size), antialias=True)
        masks = F.resize(stack, list(frame.size), interpolation=InterpolationMode.NEAREST_EXACT)
        things = [pictures, tv_tensors.Mask(masks), F.resize(boxes, list(frame.size))]
        things = [F.crop(x, *frame.corner, *frame.shape) for x in things]
        if frame.flip:
            things = [F.horizontal_flip(x) for x in things]
        wanted, masks, boxes = things
        assert torch.equal(found.image_CHW, wanted)
        kept = [k for k in range(3) if masks[k].any()]
        assert found.label_n.tolist() == kept
        assert found.crowd_n.tolist() == [k == 2 for k in kept]
        for part, mask_HW in zip(found.masks, masks[kept], strict=True):
            assert np.array_equal(whole(part, frame.shape), mask_HW)
        if augment not in JITTERS:
            assert np.allclose(found.box_n4, boxes[kept].numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("size", "short", "long", "wanted"),
    [
        ((480, 640), 800, 1333, (800, 1067)),  # as detectron2 and mmdet have it
        ((427, 1000), 800, 1333, (569, 1333)),
        ((1000, 427), 800, 1333, (1333, 569)),
        ((100, 3000), 50, 0, (50, 1500)),
        ((64, 64), 0, 0, (32, 32)),
    ],
)
def test_the_short_side_is_as_asked_for_unless_the_long_one_gets_too_long(size, short, long, wanted):
    r = edit(RECIPE, resize_short=short or None, max_long=long or None)
    for augment, split in (("none", Split.TRAIN), ("flip", Split.TRAIN), ("flip", Split.VAL)):
        frame = frame_of(size, edit(r, augment=augment), split, SampleKey(0, 0))
        assert (frame.size, frame.corner, frame.shape) == (wanted, (0, 0), wanted)


def test_jitter_scales_by_a_tenth_to_two_and_cuts_anywhere():
    r = edit(RECIPE, img_size=64, augment="lsj")
    frames = [frame_of((60, 90), r, Split.TRAIN, SampleKey(0, i)) for i in range(800)]
    scales = np.array([f.size[1] / 64 for f in frames])
    assert scales.min() >= 0.09
    assert scales.max() <= 2.01
    assert np.allclose(np.histogram(scales, 4, (0.1, 2))[0] / 800, 0.25, atol=0.06)
    assert all(abs(f.size[0] * 1.5 - f.size[1]) <= 1.5 for f in frames)
    for axis in (0, 1):
        room = [(f.corner[axis], f.size[axis] - 64) for f in frames if f.size[axis] > 70]
        assert {0.0, 1.0} <= {at / most for at, most in room}
        assert abs(np.mean([at / most for at, most in room]) - 0.5) < 0.08
        assert all(f.shape[axis] == min(64, f.size[axis]) for f in frames)
    both = np.array([[a / (s - 64) for a, s in zip(f.corner, f.size, strict=True)] for f in frames if f.size[0] > 74])
    assert abs(np.corrcoef(both.T)[0, 1]) < 0.2  # up or down says nothing of left or right


@pytest.mark.parametrize("augment", AUGMENTS)
def test_half_of_the_images_are_flipped_others_in_every_epoch_and_never_a_test_image(augment):
    r = edit(RECIPE, augment=augment)
    flips = [[frame_of((40, 40), r, Split.TRAIN, SampleKey(epoch, i)).flip for i in range(400)] for epoch in (0, 1)]
    if augment == "none":
        assert not any(map(any, flips))
    else:
        assert all(0.4 < np.mean(f) < 0.6 for f in flips)
        assert flips[0] != flips[1]
    assert not any(frame_of((40, 40), r, Split.VAL, SampleKey(0, i)).flip for i in range(50))


@pytest.mark.parametrize("augment", AUGMENTS)
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (5, 16), (17, 301)])
def test_any_size_of_image_gives_a_view(augment, size):
    for i in range(8):
        image = torch.zeros(3, *size, dtype=torch.uint8)
        found = view(
            image,
            objects_of(size, (0, 0, size[1], size[0])),
            edit(RECIPE, augment=augment),
            Split.TRAIN,
            SampleKey(0, i),
        )
        assert len(found.masks) == 1
        H, W = found.image_CHW.shape[1:]
        assert whole(found.masks[0], (H, W)).all()
        assert found.box_n4.tolist() == [[0, 0, W, H]]


def test_after_a_crop_a_box_is_around_what_is_left_of_the_mask_and_objects_outside_are_gone(monkeypatch):
    size = (32, 64)
    frame = detection.Frame((64, 128), (0, 64), (64, 64), False)
    monkeypatch.setattr(detection, "frame_of", lambda *_: frame)
    corner = np.zeros(size, np.uint8)  # an L: below, it goes on to the left, and out of the crop
    corner[2:20, 40:44] = 1
    corner[16:20, 20:44] = 1
    objects = objects_of(size, (20, 2, 24, 18), (10, 4, 22, 9), (1, 1, 4, 4), (60, 28, 4, 4))
    objects.counts[0] = encoded(corner)
    found = view(
        torch.zeros(3, *size, dtype=torch.uint8),
        objects,
        edit(RECIPE, augment="lsj"),
        Split.TRAIN,
        SampleKey(0, 0),
    )
    assert found.label_n.tolist() == [0, 3]
    assert found.crowd_n.tolist() == [False, True]
    assert found.box_n4.tolist() == [[0, 4, 24, 40], [56, 56, 64, 64]]
    assert np.array_equal(whole(found.masks[0], (64, 64)), corner.repeat(2, 0).repeat(2, 1)[:64, 64:])


def test_an_object_of_less_than_a_pixel_of_the_view_is_left_out():
    size = (64, 64)
    objects = objects_of(size, (10, 10, 1, 1), (20, 20, 30, 30))
    found = view(
        torch.zeros(3, *size, dtype=torch.uint8), objects, edit(RECIPE, resize_short=8), Split.VAL, SampleKey(0, 0)
    )
    assert found.label_n.tolist() == [1]
    frame = frame_of(size, edit(RECIPE, resize_short=8), Split.VAL, SampleKey(0, 0))
    assert seen_masks(objects.counts, size, frame)[0] is None
    assert seen_masks([encoded(np.zeros(size))], size, frame) == [None]


@pytest.mark.parametrize(("patch", "wanted"), [(1, 32), (2, 32), (16, 32), (32, 32), (12, 96), (14, 224), (64, 64)])
def test_sides_of_batches_are_multiples_of_the_patch_and_of_the_coarsest_stride(patch, wanted):
    assert (
        size_multiple(make_config(task="detect", head="cascade_mask_rcnn", img_size=patch * 4, patch_size=patch))
        == wanted
    )
    views = [
        view(torch.full((3, *size), 7, dtype=torch.uint8), objects_of(size, *boxes), RECIPE, Split.VAL, SampleKey(0, 0))
        for size, boxes in (((40, 60), [(3, 4, 20, 9), (30, 20, 25, 20)]), ((32, 32), []), ((66, 33), [(0, 0, 33, 66)]))
    ]
    image_BCHW, (size_B2, boxes, labels, masks, crowd, _) = collate(views, wanted)
    assert size_B2.tolist() == [[32, 48], [32, 32], [64, 32]]
    H, W = (math.ceil(side / wanted) * wanted for side in (64, 48))
    assert image_BCHW.shape == (3, 3, H, W)
    assert [len(part) for part in (boxes, labels, masks, crowd)] == [3] * 4
    for i, n in enumerate((2, 0, 1)):
        assert [tuple(part[i].shape) for part in (boxes, labels, masks, crowd)] == [(n, 4), (n,), (n, H, W), (n,)]
        assert [part[i].dtype for part in (boxes, labels, masks, crowd)] == [
            torch.float32,
            torch.int64,
            torch.uint8,
            torch.bool,
        ]
        height, width = size_B2[i].tolist()
        assert (image_BCHW[i, :, :height, :width] == 7).all()
        beyond = torch.ones(H, W, dtype=torch.bool)
        beyond[:height, :width] = False
        assert (image_BCHW[i][:, beyond] == torch.tensor(GREY)[:, None]).all()
        assert not masks[i][:, beyond].any()
    assert collate(views[1:2], wanted, least=wanted + 1)[0].shape == (1, 3, 2 * wanted, 2 * wanted)
