"""Training augmentation. Random numbers come from the seed and the draw alone, whatever the worker or the batch.

What works on images of one size is done to a batch at once (augment_batch), the rest to an image at a time (view).
"""

import functools
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor
from torchvision.transforms import v2

from scaling.data.batch import SampleKey
from scaling.data.counter import GOLDEN, finalise
from scaling.errors import ConfigError
from scaling.model_specs import SIZES
from scaling.pixels import Pixels, pixels_of
from scaling.recipe import Recipe

PILS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
TORCHVISIONS = {"bicubic": v2.InterpolationMode.BICUBIC, "bilinear": v2.InterpolationMode.BILINEAR}
STRIP = 64  # long side over short side beyond which only the middle is looked at
JITTER = 0.3  # 3-Augment: brightness, contrast and saturation change by up to so much
# What timm reads of a RandAugment; other words it passes over.
RAND_AUGMENT = re.compile(r"rand(-(m|n|mmax|inc)\d+|-(mstd|p)\d*\.?\d+|-t(weights|3aw|3a))*")
# First streams of random numbers; those of augment_batch are 1 to 3, a view's seed is 1, 301 and 401 are other files'.
ERASING, DROPPING = 101, 201
DROPPING_ON = 1001  # those of the branches after the first hundred


def uniform(draws: list[SampleKey], seed: int, streams: int, first: int = 1) -> np.ndarray:
    """(len(draws), streams) numbers in [0, 1), each row a function of seed and draw."""
    state = np.array([(d.epoch << 40) ^ (d.copy << 36) ^ d.image for d in draws], np.uint64)[:, None]
    with np.errstate(over="ignore"):
        state = finalise(state + np.uint64(seed) * GOLDEN)
        state = finalise(state + np.arange(first, first + streams, dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03))
    return (state >> np.uint64(11)).astype(np.float64) / 2**53


def dropping(draws: list[SampleKey], recipe: Recipe) -> Tensor | None:
    """Numbers in [0, 1), a row a draw and a column a branch that may be dropped; None where nothing is dropped."""
    branches = 2 * SIZES[recipe.backbone].depth if recipe.drop_path else 0
    if not branches:
        return None
    numbers = [uniform(draws, recipe.seed, count, first) for first, count in dropping_streams(branches)]
    return torch.from_numpy(np.concatenate(numbers, axis=1)).float()


def dropping_streams(branches: int) -> list[tuple[int, int]]:
    """The streams of so many branches: the first of each stretch, and how many it has."""
    return [(first, n) for first, n in ((DROPPING, min(branches, 100)), (DROPPING_ON, branches - 100)) if n > 0]


def augment_batch(image_BCHW: Tensor, draws: list[SampleKey], seed: int, how: str) -> Tensor:
    """Augment decoded images of one size together. how: none, flip (left-right, half of the images), or pad_crop_flip
    (shift by up to an eighth of the side as well, edges mirrored)."""
    if how in ("none", ""):
        return image_BCHW
    numbers = uniform(draws, seed, 3)
    side = image_BCHW.shape[-1]
    if how == "pad_crop_flip":
        pad = side // 8
        corner_B2 = (numbers[:, 1:] * (2 * pad + 1)).astype(np.int64)
        padded = torch.nn.functional.pad(image_BCHW.float(), [pad] * 4, mode="reflect").to(torch.uint8)
        image_BCHW = torch.stack(
            [p[:, y : y + side, x : x + side] for p, (y, x) in zip(padded, corner_B2, strict=True)]
        )
    flip_B = torch.from_numpy(numbers[:, 0] < 0.5).view(-1, 1, 1, 1)
    return torch.where(flip_B, image_BCHW.flip(3), image_BCHW)


def fit_image(image: Image.Image, side: int, crop: float, interpolation: str = "bicubic") -> np.ndarray:
    """The evaluation view: short side to side / crop px by the filter that the weights were trained with, then the
    centre side x side px. uint8 (3, H, W)."""
    target = round(side / crop)
    image = _middle(image)
    if image.size != (target, target):
        scale = target / min(image.size)
        image = image.resize([max(target, round(s * scale)) for s in image.size], PILS[interpolation])
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side))).transpose(2, 0, 1)


def _middle(image: Image.Image) -> Image.Image:
    """The middle of a strip, all that a crop can see of it: scaled by its short side it would fill the memory."""
    short, long = sorted(image.size)
    if long <= STRIP * short:
        return image
    left, top = (max(0, length - STRIP * short) // 2 for length in image.size)
    return image.crop((left, top, image.width - left, image.height - top))


def view(image: Image.Image, recipe: Recipe, draw: SampleKey) -> np.ndarray:
    """A training view of one image by the recipe's augment, one of VIEWS, and its rand_augment. uint8 (3, H, W)."""
    if recipe.augment == "three_augment_simple":
        image = _middle(image)
    with seeded_by(draw, recipe.seed):
        return np.asarray(_view(recipe.augment, recipe.image, recipe.rand_augment, pixels_of(recipe))(image)).transpose(
            2, 0, 1
        )


@contextmanager
def seeded_by(draw: SampleKey, seed: int, stream: int = 1) -> Iterator[None]:
    """Random numbers of torch, numpy and Python that follow from a draw inside, untouched outside."""
    key = int(uniform([draw], seed, 1, stream)[0, 0] * 2**53)
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  timm's augmentations use it
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key)
        random.seed(key)
        np.random.seed(key % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


@functools.cache
def _view(how: str, side: int, rand_augment: str, pixels: Pixels) -> Callable[[Image.Image], Image.Image]:
    by = TORCHVISIONS[pixels.interpolation]
    steps: list[Any] = [v2.RandomResizedCrop(side, interpolation=by, antialias=True), v2.RandomHorizontalFlip()]
    if how == "three_augment_simple":  # as in DeiT III's code
        steps = [v2.Resize(side, by), v2.RandomCrop(side, 4, padding_mode="reflect"), v2.RandomHorizontalFlip()]
    if how in ("three_augment", "three_augment_simple"):
        one_of_three = v2.RandomChoice([v2.Grayscale(3), v2.RandomSolarize(128, p=1.0), v2.Lambda(_blur)])
        steps += [one_of_three, v2.ColorJitter(JITTER, JITTER, JITTER)]
    if rand_augment:
        steps.append(_rand_augment(rand_augment, side, pixels))
    return v2.Compose(steps)


def _blur(image: Image.Image) -> Image.Image:
    """As DeiT III's code blurs: a radius of 0.1 to 2 px."""
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


def _rand_augment(words: str, side: int, pixels: Pixels = Pixels()) -> Any:  # noqa: B008  a tuple
    """timm's RandAugment, with the settings of timm's own ImageNet transform."""
    from timm.data.auto_augment import posterize, rand_augment_transform

    settings = {
        "translate_const": int(side * 0.45),
        "img_mean": pixels.grey,
        "interpolation": PILS[pixels.interpolation],
    }
    steps = rand_augment_transform(words, settings)
    for op in steps.ops:
        if op.aug_fn is posterize:
            op.aug_fn = _posterize
    return steps


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """timm's, which keeps no bits at magnitude 10; black came of that until Pillow 13, which raises."""
    return ImageOps.posterize(image, min(bits, 8)) if bits > 0 else Image.new(image.mode, image.size)


def check_rand_augment(words: str) -> None:
    """Raise ConfigError unless timm understands them, all of them."""
    wrong = f"rand_augment {words!r} is not what timm reads, such as rand-m9-mstd0.5-inc1"
    if not RAND_AUGMENT.fullmatch(words):
        raise ConfigError(wrong)
    try:
        with seeded_by(SampleKey(0, 0), 0):
            _rand_augment(words, 32)(Image.new("RGB", (32, 32)))
    except Exception as e:  # such as more operations than there are to choose from
        raise ConfigError(wrong) from e


def erase(
    image_BCHW: Tensor,
    draws: list[SampleKey],
    seed: int,
    share: float,
    pixels: Pixels = Pixels(),  # noqa: B008  a tuple
) -> Tensor:
    """timm's random erasing (noise a pixel) of this share of the images, in place. uint8: noise is clipped to it."""
    if not share:
        return image_BCHW
    from timm.data.random_erasing import RandomErasing

    eraser = RandomErasing(1.0, mode="pixel", device="cpu")
    mean_311, std_311 = (torch.tensor(t).mul_(255).view(3, 1, 1) for t in (pixels.mean, pixels.std))
    chosen = np.flatnonzero(uniform(draws, seed, 1, ERASING)[:, 0] < share).tolist()
    for i in chosen:
        with seeded_by(draws[i], seed, ERASING + 1):
            normal_3HW = eraser((image_BCHW[i] - mean_311) / std_311)
        image_BCHW[i] = (normal_3HW * std_311 + mean_311).round_().clamp_(0, 255).to(torch.uint8)
    return image_BCHW
