"""Views of an image and of the class of each of its pixels, to train on."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from scaling.config.edit import edit, make_config
from scaling.config.task import RESIZED_CROPS
from scaling.data.batch import IGNORE_INDEX
from scaling.data.transforms import segmentation
from scaling.data.transforms.segmentation import GREY, choose_crop, distort, scaled, training_view
from scaling.rng import SampleKey, seed_of, seeded_all

AUGMENTS = ("none", "flip", *RESIZED_CROPS)


def view_of(height, width, edge, config, draw, upright=True):
    """The training view of an image that is black and of class 0 up to the edge, white and of class 1 beyond it.
    upright: the edge lies between left and right; else it lies between top and bottom, and sizes change places."""
    label = torch.zeros(height, width, dtype=torch.uint8)
    label[:, edge:] = 1
    label = label if upright else label.T
    return [x.clone() for x in training_view((label * 255).expand(3, *label.shape), label, config, draw)]


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    height=st.integers(1, 90),
    width=st.integers(2, 180),
    edge=st.floats(0, 1),
    upright=st.booleans(),
    side=st.sampled_from([4, 16, 33]),
    short=st.sampled_from([0, 7, 16, 40]),
    seed=st.integers(0, 2**16),
    augment=st.sampled_from(AUGMENTS),
)
def test_an_image_and_its_label_move_together_into_a_crop_of_the_size_asked_for(
    height, width, edge, upright, side, short, seed, augment
):
    """Where the image is white, the label is white's: an edge that is anywhere in both shows half a pixel's shift."""
    r = make_config(
        task="segment",
        img_size=side,
        patch_size=1,
        resize_short=short or None,
        augment=augment.replace("_photometric", ""),
        seed=seed,
    )
    # Of a picture one column wide torch's kernels for bytes give other values on other processors (torch 2.15).
    assume(upright or scaled(height, width, 0.5 * (short or side))[0] > 1)
    # An edge that is smoothed together with the border of the image moves, unless it is in the middle.
    reach = 1 + 2 * width / scaled(height, width, 0.5 * (short or side))[1]
    edge = round(edge * width)
    if not reach <= edge <= width - reach:
        width, edge = 2 * (width // 2), width // 2
    image, label = view_of(height, width, edge, r, SampleKey(0, 1), upright)
    assert (image.shape, label.shape) == ((3, side, side), (side, side))
    filled = label == IGNORE_INDEX
    assert torch.equal(filled, (image == torch.tensor(GREY)[:, None, None]).all(0))  # nothing else is of this colour
    real = ~filled
    assert torch.equal(real, real.any(1)[:, None] & real.any(0)[None, :])  # a rectangle, from the top left on
    assert real[0, 0]
    assert real[: int(real[:, 0].sum()), : int(real[0].sum())].all()
    assert (label[real & (image[0] < 112)] == 0).all()
    assert (label[real & (image[0] > 143)] == 1).all()
    if augment == "resize_crop_photometric":
        distorted, same = view_of(height, width, edge, edit(r, augment=augment), SampleKey(0, 1), upright)
        assert torch.equal(label, same)
        assert torch.equal(filled[None] & (distorted == image), filled.expand(3, side, side))
        black, white = distorted[0][real & (image[0] == 0)], distorted[0][real & (image[0] == 255)]
        assert not len(black) or not len(white) or int(black.max()) < int(white.min())


def test_without_scaling_the_crop_is_the_middle_and_what_is_missing_is_filled_up_right_and_below():
    where_HW = torch.arange(200, dtype=torch.uint8).view(10, 20)
    r = make_config(task="segment", img_size=6, patch_size=1, resize_short=10)
    image, label = training_view(where_HW.expand(3, 10, 20), where_HW, r, SampleKey(0, 0))
    assert torch.equal(label, where_HW[2:8, 7:13])
    assert torch.equal(image, label.expand(3, 6, 6))
    _, label = training_view(where_HW.expand(3, 10, 20), where_HW, edit(r, img_size=14), SampleKey(0, 0))
    assert torch.equal(label[:10], where_HW[:, 3:17])
    assert (label[10:] == IGNORE_INDEX).all()


@pytest.mark.parametrize("augment", AUGMENTS)
def test_any_size_of_image_gives_a_crop_of_the_size_asked_for(augment):
    r = make_config(task="segment", img_size=16, patch_size=8, augment=augment)
    for size in ((1, 1), (1, 3000), (3000, 1), (5, 16), (16, 16), (17, 301)):
        for i in range(4):
            black = torch.zeros(3, *size, dtype=torch.uint8)
            image, label = training_view(black, torch.ones(size, dtype=torch.uint8), r, SampleKey(0, i))
            assert (image.shape, label.shape) == ((3, 16, 16), (16, 16)), (size, i)
            assert (label == 1).any(), (size, i)


@pytest.mark.parametrize("augment", AUGMENTS)
def test_half_of_the_images_are_flipped_others_in_every_epoch(augment):
    r = make_config(task="segment", img_size=16, patch_size=8, augment=augment, resize_short=40)
    flipped = []
    for epoch in (0, 1):
        labels = [view_of(32, 32, 16, r, SampleKey(epoch, i))[1] for i in range(300)]
        both = [i for i, label in enumerate(labels) if label[0].unique().tolist() == [0, 1]]
        assert len(both) > 100
        flipped.append({i: int(labels[i][0, 0]) for i in both})  # class 0 was on the left
    if augment == "none":
        assert not any(any(f.values()) for f in flipped)
    else:
        assert all(0.4 < np.mean(list(f.values())) < 0.6 for f in flipped)
        assert any(flipped[0][i] != flipped[1][i] for i in flipped[0].keys() & flipped[1].keys())


def test_the_scale_is_anything_from_a_half_to_twice_the_short_side(monkeypatch):
    sizes = []
    real = segmentation.scale_image
    monkeypatch.setattr(segmentation, "scale_image", lambda image, size: sizes.append(size) or real(image, size))
    r = make_config(task="segment", img_size=16, patch_size=8, augment="resize_crop", resize_short=40)
    for i in range(200):
        view_of(20, 30, 15, r, SampleKey(0, i))
    heights, widths = np.array(sizes).T
    assert (heights.min(), heights.max()) == (pytest.approx(20, abs=1), pytest.approx(80, abs=1))
    assert abs(heights.mean() - 50) < 3
    assert abs(widths - 1.5 * heights).max() <= 1.5


@pytest.mark.parametrize(
    ("size", "short", "wanted"),
    [
        ((512, 683), 512, (512, 683)),
        ((360, 480), 512, (512, 683)),
        ((1000, 600), 512, (853, 512)),
        ((100, 1000), 512, (205, 2048)),  # mmsegmentation's (2048, 512): the long side limits
        ((1, 5000), 8, (1, 32)),
    ],
)
def test_an_image_is_brought_to_its_short_side_unless_the_long_one_gets_too_long(size, short, wanted):
    assert scaled(*size, short) == wanted


def crops(seed, room, n=11):
    """The corners that choose_crop tries, in turn."""
    torch.manual_seed(seed)
    return [tuple(int(torch.randint(r + 1, ())) for r in room) for _ in range(n)]


def slow_crop(label, side, seed):
    """The corner that choose_crop should take: classes counted pixel by pixel."""
    height, width = label.shape
    for corner in crops(seed, (height - side, width - side)):
        top, left = corner
        counts: dict[int, int] = {}
        for value in label[top : top + side, left : left + side].flatten().tolist():
            if value != IGNORE_INDEX:
                counts[value] = counts.get(value, 0) + 1
        if counts and max(counts.values()) < 0.75 * sum(counts.values()):
            break
    return corner


def test_a_crop_is_the_first_of_ten_in_which_no_class_has_three_quarters_else_the_next():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        label = np.full((30, 40), 0, np.uint8)
        for _ in range(seed % 5):
            y, x = rng.integers(0, 30), rng.integers(0, 40)
            label[y : y + 9, x : x + 9] = rng.choice([1, 2, IGNORE_INDEX])
        wanted = slow_crop(label, 12, seed)
        torch.manual_seed(seed)
        assert choose_crop(torch.from_numpy(label), 12) == wanted, seed


def test_where_every_crop_is_of_one_class_or_of_none_the_last_is_taken():
    for value in (3, IGNORE_INDEX):
        torch.manual_seed(1)
        assert choose_crop(torch.full((30, 40), value, dtype=torch.uint8), 12) == crops(1, (18, 28))[-1]


def test_a_view_is_what_torchvisions_plain_functions_give():
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (3, 45, 60), dtype=np.uint8))
    label = torch.from_numpy(rng.integers(0, 9, (45, 60), dtype=np.uint8))
    r = make_config(task="segment", img_size=24, patch_size=8, augment="resize_crop", resize_short=32, seed=2)
    for i in range(8):
        ours = training_view(image, label, r, SampleKey(0, i))
        with seeded_all(seed_of(2, "segmentation_view", SampleKey(0, i))):
            short = (0.5 + 1.5 * float(torch.rand(()))) * 32
            size = [round(short), round(short / 45 * 60)]
            top, left = (int(torch.randint(max(0, s - 24) + 1, ())) for s in size)
        scaled_image = F.resize(tv_tensors.Image(image), size, antialias=True)
        scaled_label = F.resize(label[None], size, interpolation=InterpolationMode.NEAREST_EXACT)[0]
        gap = [0, 0, max(0, 24 - size[1]), max(0, 24 - size[0])]
        pair = scaled_image, tv_tensors.Mask(scaled_label)
        theirs = [F.crop(x, top, left, min(24, size[0]), min(24, size[1])) for x in pair]
        turned = [[F.horizontal_flip(x) for x in theirs], theirs]
        found = [
            torch.equal(ours[0], F.pad(x, gap, fill=GREY)) and torch.equal(ours[1], F.pad(y, gap, fill=255))
            for x, y in turned
        ]
        assert sum(found) == 1


def test_distorting_is_torchvisions_steps_each_for_half_of_the_images_contrast_first_or_last():
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 9, 9), dtype=np.uint8))
    done = []
    for seed in range(200):
        torch.manual_seed(seed)
        ours = distort(image)
        torch.manual_seed(seed)
        how = segmentation.DISTORT.make_params([image])
        contrast = [(F.adjust_contrast, how["contrast_factor"])]
        steps = [(F.adjust_saturation, how["saturation_factor"]), (F.adjust_hue, how["hue_factor"])]
        steps = contrast + steps if how["contrast_before"] else steps + contrast
        theirs = image
        for step, factor in [(F.adjust_brightness, how["brightness_factor"]), *steps]:
            theirs = theirs if factor is None else step(theirs, factor)
        assert torch.equal(ours, theirs)
        done.append([how[f"{name}_factor"] for name in ("brightness", "contrast", "saturation", "hue")])
    shares = np.mean([[factor is not None for factor in factors] for factors in done], 0)
    assert ((shares > 0.38) & (shares < 0.62)).all()
    for factors, (low, high) in zip(
        zip(*done, strict=True), [(1 - 32 / 255, 1 + 32 / 255), (0.5, 1.5), (0.5, 1.5), (-0.1, 0.1)], strict=True
    ):
        real = [f for f in factors if f is not None]
        assert low <= min(real) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(real) <= high


def test_distorting_never_swaps_channels():
    """Hue turns by a tenth of the circle at most: red stays more red than anything else."""
    red = torch.tensor([200, 60, 50], dtype=torch.uint8)[:, None, None].expand(3, 4, 4)
    for seed in range(100):
        torch.manual_seed(seed)
        assert (distort(red).int().argmax(0) == 0).all()
