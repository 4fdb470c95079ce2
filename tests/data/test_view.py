"""Training views of one image at a time: resized crops, 3-Augment, RandAugment."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from scaling.config.edit import edit, make_config
from scaling.config.task import VIEWS
from scaling.data.batch import MEAN, STD, Split
from scaling.data.classification import InMemory
from scaling.data.transforms import classification
from scaling.data.transforms.classification import check_rand_augment, view
from scaling.errors import ConfigError
from scaling.rng import SampleKey, seeded_all

RAND = "rand-m9-mstd0.5-inc1"
WAYS = [*((how, "") for how in VIEWS), ("resized_crop", RAND)]


def config(how, rand_augment="", **others):
    return make_config(img_size=32, augment=how, auto_augment=rand_augment or None, **others)


def noise(side=32, below=256):
    return Image.fromarray(np.random.default_rng(0).integers(0, below, (side, side, 3), dtype=np.uint8))


@pytest.fixture
def without_jitter(monkeypatch):
    """3-Augment's last step left out, so that pixels tell which of the three was done."""
    monkeypatch.setattr(classification, "JITTER", 0.0)
    classification._view.cache_clear()
    yield
    classification._view.cache_clear()


@pytest.mark.parametrize(("how", "rand_augment"), WAYS)
def test_a_view_follows_from_seed_and_draw_whatever_was_drawn_in_between(how, rand_augment):
    r = config(how, rand_augment, seed=3)
    first = view(noise(48), r, SampleKey(1, 2))
    assert (first.dtype, first.shape) == (np.uint8, (3, 32, 32))
    others = [view(noise(48), r, d) for d in (SampleKey(0, 2), SampleKey(1, 3), SampleKey(1, 2, copy=1))]
    others.append(view(noise(48), edit(r, seed=4), SampleKey(1, 2)))
    assert len({v.tobytes() for v in [first, *others]}) == 5
    assert np.array_equal(first, view(noise(48), r, SampleKey(1, 2)))


@pytest.mark.parametrize(("how", "rand_augment"), WAYS)
def test_a_view_leaves_everybody_elses_random_numbers_alone(how, rand_augment):
    def numbers():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), [random.random() for _ in range(3)]  # noqa: NPY002

    def seed():
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002
        random.seed(5)

    seed()
    wanted = numbers()
    seed()
    view(noise(), config(how, rand_augment), SampleKey(0, 0))
    assert numbers() == wanted


def test_other_random_numbers_are_put_back_even_where_an_image_cannot_be_augmented():
    def states():
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002

    before = states()
    with pytest.raises(AttributeError), seeded_all(0):
        classification._blur(None)
    assert states() == before


@pytest.mark.parametrize("how", VIEWS)
@pytest.mark.parametrize("size", [(20, 70), (70, 20), (32, 32), (5, 5)])
def test_any_size_of_image_gives_the_size_asked_for(how, size):
    for i in range(6):
        assert view(Image.new("RGB", size, (200, 60, 30)), config(how), SampleKey(0, i)).shape == (3, 32, 32)


@pytest.mark.parametrize("how", ["three_augment", "three_augment_simple"])
def test_a_third_of_the_views_each_is_grey_solarised_and_blurred(how, without_jitter):
    """Known by one colour: grey has equal channels, solarising turns the bright one round, blurring changes nothing."""
    plain = Image.new("RGB", (32, 32), (200, 60, 30))
    views = [view(plain, config(how), SampleKey(0, i)) for i in range(900)]
    assert all((v == v[:, :1, :1]).all() for v in views)
    colours = np.array([v[:, 0, 0] for v in views])
    grey, solarised, blurred = (
        (colours == colour).all(1) for colour in ([98, 98, 98], [255 - 200, 60, 30], [200, 60, 30])
    )
    assert (grey | solarised | blurred).all()
    assert all(0.28 < kind.mean() < 0.39 for kind in (grey, solarised, blurred))


def test_blurring_takes_from_almost_nothing_to_most_of_the_detail():
    """A radius of 0.1 to 2 px."""
    with seeded_all(0):
        left = [np.asarray(classification._blur(noise())).std() / np.asarray(noise()).std() for _ in range(100)]
    assert min(left) < 0.25
    assert max(left) > 0.95


def test_jitter_changes_colours_by_up_to_a_third_and_leaves_grey_grey():
    views = [
        view(Image.new("RGB", (32, 32), (100, 60, 30)), config("three_augment"), SampleKey(0, i)) for i in range(600)
    ]
    grey = [v for v in views if (v[0] == v[1]).all() and (v[1] == v[2]).all()]
    assert 0.28 < len(grey) / 600 < 0.39
    brightness = np.array([v.mean() for v in grey]) / 69  # (100, 60, 30) in grey
    assert brightness.min() == pytest.approx(0.7, abs=0.03)
    assert brightness.max() == pytest.approx(1.3, abs=0.03)


def test_the_simple_crop_keeps_the_scale_and_shifts_by_at_most_four_pixels(without_jitter):
    """A pixel says where it was; those near the edge are left out, which mirroring and blurring may have moved."""
    y, x = np.mgrid[:32, :32].astype(np.uint8)
    where = Image.fromarray(np.stack([2 * y, 2 * x, np.full_like(y, 100)], -1))
    middle, seen = slice(11, 21), []
    for i in range(300):
        v = view(where, config("three_augment_simple"), SampleKey(0, i)).astype(int)
        if (v[0] == v[1]).all():  # grey: says nothing
            continue
        down = v[0, middle, middle] / 2 - y[middle, middle]
        right = v[1, middle, middle] / 2 - x[middle, middle]
        flipped = v[1, middle, middle] / 2 - (31 - x[middle, middle])
        right = min(right, flipped, key=np.ptp)
        assert max(np.ptp(down), np.ptp(right)) <= 0.5
        seen.append((round(down.mean()), round(right.mean()), right is flipped))
    downs, rights, flips = (np.array(s) for s in zip(*seen, strict=True))
    assert set(downs) == set(rights) == set(range(-4, 5))
    assert 0.4 < flips.mean() < 0.6


def test_rand_augment_comes_after_the_crop_and_leaves_one_in_four_alone():
    """Two operations, each done every other time."""
    pairs = [
        [view(noise(), config("resized_crop", words), SampleKey(0, i)) for words in ("", RAND)] for i in range(200)
    ]
    assert 0.6 < np.mean([not np.array_equal(*pair) for pair in pairs]) < 0.85


def test_rand_augment_has_the_settings_of_timms_imagenet_transform():
    steps = create_transform(32, is_training=True, auto_augment=RAND, interpolation="bicubic", mean=MEAN, std=STD)
    (theirs,) = [step for step in steps.transforms if type(step).__name__ == "RandAugment"]
    ours = classification._rand_augment(RAND, 32)
    assert ours.num_layers == theirs.num_layers
    for our, their in zip(ours.ops, theirs.ops, strict=True):
        assert {**vars(our), "aug_fn": 0} == {**vars(their), "aug_fn": 0}
        assert our.aug_fn is their.aug_fn or "Posterize" in our.name


def test_posterizing_is_timms_and_at_the_highest_magnitude_black_whatever_pillow_says():
    (posterize,) = [
        op for op in classification._rand_augment("rand-m10-p1-inc1", 32).ops if op.name == "PosterizeIncreasing"
    ]
    assert not np.asarray(posterize(noise())).any()
    for bits in range(1, 8):
        assert np.array_equal(posterize.aug_fn(noise(), bits), np.asarray(noise()) >> (8 - bits) << (8 - bits))


@pytest.mark.parametrize(
    "words",
    ["", "m9", "augmix-m3", "rand-x9", "rand-mfoo", "rand-m", "rand-foo", "rand-n99-tweights", "rand-m9-mstd0,5"],
)
def test_words_that_timm_would_not_read_are_refused(words):
    with pytest.raises(ConfigError, match="such as rand-m9-mstd"):
        check_rand_augment(words)


@pytest.mark.parametrize("words", [RAND, "rand", "rand-m7-n3-p0.4", "rand-m9-mmax12-mstd101-tweights", "rand-t3a-n1"])
def test_words_that_timm_reads_are_taken(words):
    check_rand_augment(words)


@pytest.mark.parametrize("how", ["none", "flip", "pad_crop_flip", *VIEWS])
def test_what_a_model_gets_of_an_image_does_not_depend_on_how_the_batch_is_cut(how):
    r = config(how, RAND if how in VIEWS else "", random_erasing_prob=0.5, drop_path=0.1)
    pixels = torch.from_numpy(np.stack([np.asarray(noise())] * 8).transpose(0, 3, 1, 2).copy())
    data = InMemory(pixels, torch.arange(8), r, Split.TRAIN)
    draws = [SampleKey(1, i, c) for i in (5, 2, 7) for c in (0, 1)]
    whole, parts = data.get_batch(draws), [data.get_batch(draws[a:b]) for a, b in ((0, 1), (1, 4), (4, 6))]
    assert torch.equal(whole.pixels, torch.cat([part.pixels for part in parts]))
    assert torch.equal(whole.targets.label_B, torch.cat([part.targets.label_B for part in parts]))
    assert whole.keys == [key for part in parts for key in part.keys] == draws
    assert torch.equal(data.image_NCHW, pixels)
    assert len({image.numpy().tobytes() for image in whole.pixels}) > 1


def test_a_test_set_is_neither_augmented_nor_erased():
    pixels = torch.from_numpy(np.asarray(noise()).transpose(2, 0, 1).copy())[None]
    batch = InMemory(
        pixels, torch.zeros(1), config("flip", random_erasing_prob=1.0, drop_path=0.1), Split.VAL
    ).get_batch([SampleKey(0, 0)])
    assert torch.equal(batch.pixels, pixels)
