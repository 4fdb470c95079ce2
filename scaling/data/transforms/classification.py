"""Training augmentation of images for classification. Random numbers are functions of seed and sample key (rng.py).

What works on images of one size is done to a batch at once (augment_batch, erase), the rest per image (view).
"""

import functools
import random
import re
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor
from torchvision.transforms import v2

from scaling.config.experiment import ExperimentConfig
from scaling.errors import ConfigError
from scaling.preprocessing import Preprocessing, preprocessing_of
from scaling.rng import SampleKey, seed_of, seeded_all, uniform

Change = Callable[[Image.Image], Image.Image]
PILS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
TORCHVISIONS = {"bicubic": v2.InterpolationMode.BICUBIC, "bilinear": v2.InterpolationMode.BILINEAR}
STRIP = 64  # aspect ratio beyond which only the middle of an image is used
JITTER = 0.3  # 3-Augment: brightness, contrast and saturation change by up to so much
# What timm reads of a RandAugment; it ignores other words.
RAND_AUGMENT = re.compile(r"rand(-(m|n|mmax|inc)\d+|-(mstd|p)\d*\.?\d+|-t(weights|3aw|3a))*")


def augment_batch(image_BCHW: Tensor, keys: list[SampleKey], seed: int, how: str) -> Tensor:
    """Augment decoded images of one size together. how: none, flip (left-right, half of the images), or pad_crop_flip
    (shift by up to an eighth of the side as well, edges mirrored)."""
    if how == "none":
        return image_BCHW
    side = image_BCHW.shape[-1]
    if how == "pad_crop_flip":
        pad = side // 8
        corner_B2 = (uniform(keys, seed, "shift", 2) * (2 * pad + 1)).astype(np.int64)
        padded = torch.nn.functional.pad(image_BCHW.float(), [pad] * 4, mode="reflect").to(torch.uint8)
        image_BCHW = torch.stack(
            [p[:, y : y + side, x : x + side] for p, (y, x) in zip(padded, corner_B2, strict=True)]
        )
    flip_B = torch.from_numpy(uniform(keys, seed, "flip")[:, 0] < 0.5).view(-1, 1, 1, 1)
    return torch.where(flip_B, image_BCHW.flip(3), image_BCHW)


def fit_image(image: Image.Image, side: int, crop: float, interpolation: str = "bicubic") -> np.ndarray:
    """The evaluation view: short side resized to side / crop px by the given filter, then a centre crop of side x side
    px. uint8 (3, H, W)."""
    target = round(side / crop)
    image = _middle(image)
    if image.size != (target, target):
        scale = target / min(image.size)
        image = image.resize([max(target, round(s * scale)) for s in image.size], PILS[interpolation])
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side))).transpose(2, 0, 1)


def _middle(image: Image.Image) -> Image.Image:
    """The middle of a very long image, which a crop lies in: resized as a whole it would fill the memory."""
    short, long = sorted(image.size)
    if long <= STRIP * short:
        return image
    left, top = (max(0, length - STRIP * short) // 2 for length in image.size)
    return image.crop((left, top, image.width - left, image.height - top))


def view(image: Image.Image, config: ExperimentConfig, key: SampleKey) -> np.ndarray:
    """A training view of one image, by the recipe's augment (one of VIEWS) and rand_augment. uint8 (3, H, W)."""
    if config.task.augment == "three_augment_simple":
        image = _middle(image)
    change = _view(
        config.task.augment, config.model.img_size, config.classification.auto_augment or "", preprocessing_of(config)
    )
    with seeded_all(seed_of(config.seed, "view", key)):
        return np.asarray(change(image)).transpose(2, 0, 1)


@functools.cache
def _view(how: str, side: int, rand_augment: str, pixels: Preprocessing) -> Change:
    by = TORCHVISIONS[pixels.interpolation]
    steps: list[Change] = [v2.RandomResizedCrop(side, interpolation=by, antialias=True), v2.RandomHorizontalFlip()]
    if how == "three_augment_simple":  # as in DeiT III's code
        steps = [v2.Resize(side, by), v2.RandomCrop(side, 4, padding_mode="reflect"), v2.RandomHorizontalFlip()]
    if how in ("three_augment", "three_augment_simple"):
        one_of_three = v2.RandomChoice([v2.Grayscale(3), v2.RandomSolarize(128, p=1.0), v2.Lambda(_blur)])
        steps += [one_of_three, v2.ColorJitter(JITTER, JITTER, JITTER)]
    if rand_augment:
        steps.append(_rand_augment(rand_augment, side, pixels))
    return v2.Compose(steps)


def _blur(image: Image.Image) -> Image.Image:
    """Gaussian blur as in DeiT III's code: a radius of 0.1 to 2 px."""
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


def _rand_augment(words: str, side: int, pixels: Preprocessing = Preprocessing()) -> Change:  # noqa: B008  a tuple
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


def _posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """timm's, which keeps no bits at magnitude 10: black until Pillow 13, an error since."""
    return ImageOps.posterize(image, min(bits, 8)) if bits > 0 else Image.new(image.mode, image.size)


def check_rand_augment(words: str) -> None:
    """Raise ConfigError unless timm reads every part of it."""
    wrong = f"rand_augment {words!r} is not a RandAugment that timm reads, such as rand-m9-mstd0.5-inc1"
    if not RAND_AUGMENT.fullmatch(words):
        raise ConfigError(wrong)
    try:
        with seeded_all(0):
            _rand_augment(words, 32)(Image.new("RGB", (32, 32)))
    except Exception as e:  # such as more operations than there are to choose from
        raise ConfigError(wrong) from e


def erase(
    image_BCHW: Tensor,
    keys: list[SampleKey],
    seed: int,
    share: float,
    pixels: Preprocessing = Preprocessing(),  # noqa: B008  a tuple
) -> Tensor:
    """timm's random erasing (noise per pixel) of this share of the images, in place. Noise is clipped to uint8."""
    if not share:
        return image_BCHW
    from timm.data.random_erasing import RandomErasing

    eraser = RandomErasing(1.0, mode="pixel", device="cpu")
    mean_311, std_311 = (torch.tensor(t).mul_(255).view(3, 1, 1) for t in (pixels.mean, pixels.std))
    chosen = np.flatnonzero(uniform(keys, seed, "erase")[:, 0] < share).tolist()
    for i in chosen:
        with seeded_all(seed_of(seed, "erase_noise", keys[i])):
            normal_3HW = eraser((image_BCHW[i] - mean_311) / std_311)
        image_BCHW[i] = (normal_3HW * std_311 + mean_311).round_().clamp_(0, 255).to(torch.uint8)
    return image_BCHW
