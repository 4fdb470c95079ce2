"""Training augmentation. Random numbers come from (seed, epoch, index) alone, whatever the worker or the batch."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from scaling.data.batch import Draw
from scaling.data.counter import GOLDEN, finalise


def uniform(draws: list[Draw], seed: int, streams: int) -> np.ndarray:
    """(len(draws), streams) numbers in [0, 1), each row a function of seed, epoch and index."""
    state = np.array([(d.epoch << 40) ^ d.image for d in draws], np.uint64)[:, None]
    with np.errstate(over="ignore"):
        state = finalise(state + np.uint64(seed) * GOLDEN)
        state = finalise(state + np.arange(1, streams + 1, dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03))
    return (state >> np.uint64(11)).astype(np.float64) / 2**53


def augment_batch(image_BCHW: Tensor, draws: list[Draw], seed: int, how: str) -> Tensor:
    """Augment decoded images of one size together. how: none, flip (left-right, half of the images), or pad_crop_flip
    (shift by up to an eighth of the side as well, edges mirrored)."""
    if how == "none":
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


def fit_image(image: Image.Image, side: int, crop: float) -> np.ndarray:
    """The evaluation view: short side to side / crop px (bicubic), then the centre side x side px. uint8 (3, H, W)."""
    target = round(side / crop)
    if image.size != (target, target):
        scale = target / min(image.size)
        image = image.resize([max(target, round(s * scale)) for s in image.size], Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side))).transpose(2, 0, 1)


def resized_crop(image: Image.Image, side: int, draw: Draw, seed: int) -> np.ndarray:
    """The usual ImageNet training view: 8 to 100 % of the area at ratio 3/4 to 4/3, to side px, then maybe flipped."""
    key = int(uniform([draw], seed, 1)[0, 0] * 2**53)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key)
        view = v2.RandomResizedCrop(side, interpolation=v2.InterpolationMode.BICUBIC, antialias=True)(image)
        view = v2.RandomHorizontalFlip()(view)
    return np.asarray(view).transpose(2, 0, 1)
