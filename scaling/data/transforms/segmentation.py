"""Joint transforms of an image and its label map: both are resized, cropped and flipped alike.

Training views are those of mmsegmentation's ADE20K pipeline, in its order: random resize, random crop, flip,
photometric distortion, padding. Random numbers are functions of seed and sample key (rng.py). C = 3 channels,
H W pixels; uint8.
"""

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from scaling.config.experiment import ExperimentConfig
from scaling.config.task import RESIZED_CROPS
from scaling.data.batch import IGNORE_INDEX
from scaling.preprocessing import Preprocessing, preprocessing_of
from scaling.rng import SampleKey, seed_of, seeded_all, uniform

LONGEST = 4  # long side over short side, at most: mmsegmentation's (2048, 512)
RATIOS = (0.5, 2.0)  # of random resizing
DOMINANCE = 0.75  # share of a crop's labelled pixels that one class may not reach
TRIES = 10  # crops that are tested for that; the next one is taken without a test, as in mmsegmentation
GREY = Preprocessing().grey  # the mean colour of ImageNet's pixels

# Brightness by 32 of 255 levels; hue by 18 of OpenCV's 180, a tenth of the circle; each for half of the images.
# Departs: mmsegmentation adds to make brighter and multiplies for contrast; torchvision multiplies, and takes contrast
# about the mean grey.
DISTORT = v2.RandomPhotometricDistort(
    brightness=(1 - 32 / 255, 1 + 32 / 255), contrast=(0.5, 1.5), saturation=(0.5, 1.5), hue=(-0.1, 0.1), p=0.5
)


def short_side(config: ExperimentConfig) -> int:
    """To which short sides of images are resized [px]."""
    return getattr(config.task, "resize_short", None) or config.model.img_size


def scaled(height: int, width: int, short: float, long: float | None = None) -> tuple[int, int]:
    """The size [px] of an image with its short side at short, or smaller where the long one would be longer than long
    (None: LONGEST times short)."""
    factor = min(short / min(height, width), (LONGEST * short if long is None else long) / max(height, width))
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


def scale_image(image_CHW: Tensor, size: tuple[int, int]) -> Tensor:
    """To size (height, width) [px]: bilinear, and smoothed before it is made smaller."""
    return image_CHW if image_CHW.shape[1:] == size else F.resize_image(image_CHW, list(size), antialias=True)


def scale_label(label_HW: Tensor, size: tuple[int, int]) -> Tensor:
    """To size (height, width) [px]: each pixel that of the nearest centre.

    Departs: OpenCV, and with it mmsegmentation, takes the nearest corner (so does torchvision for masks), which moves
    labels half a pixel away from the image. Where a patch is a pixel, that is half a patch.
    """
    if label_HW.shape == size:
        return label_HW
    return F.resize_image(label_HW[None], list(size), interpolation=InterpolationMode.NEAREST_EXACT)[0]


def evaluation_view(image_CHW: Tensor, label_HW: Tensor, config: ExperimentConfig) -> tuple[Tensor, Tensor]:
    """The image resized by its short side; the label map unchanged."""
    height, width = image_CHW.shape[1:]
    return scale_image(image_CHW, scaled(height, width, short_side(config))), label_HW


def training_view(
    image_CHW: Tensor, label_HW: Tensor, config: ExperimentConfig, key: SampleKey
) -> tuple[Tensor, Tensor]:
    """A crop of img_size px by the augmentation: none, flip, or one of SCENES."""
    side, (height, width) = config.model.img_size, image_CHW.shape[1:]
    if config.task.augment not in RESIZED_CROPS:
        size = scaled(height, width, short_side(config))
        corner = max(0, size[0] - side) // 2, max(0, size[1] - side) // 2
        image, label = _cut(scale_image(image_CHW, size), scale_label(label_HW, size), corner, side)
    else:
        with seeded_all(seed_of(config.seed, "segmentation_view", key)):
            ratio = RATIOS[0] + (RATIOS[1] - RATIOS[0]) * float(torch.rand(()))
            size = scaled(height, width, ratio * short_side(config))
            large_HW = scale_label(label_HW, size)
            corner = choose_crop(large_HW, side)
            image, label = _cut(scale_image(image_CHW, size), large_HW, corner, side)
            if config.task.augment == "resize_crop_photometric":
                image = distort(image.contiguous())
    if config.task.augment != "none" and uniform([key], config.seed, "flip")[0, 0] < 0.5:
        image, label = F.horizontal_flip(image), F.horizontal_flip(label)
    # Last, so that padding is neither distorted nor counted by choose_crop.
    gap = [0, 0, side - label.shape[1], side - label.shape[0]]
    if any(gap):
        image, label = F.pad(image, gap, fill=list(preprocessing_of(config).grey)), F.pad(label, gap, fill=IGNORE_INDEX)
    return image, label


def choose_crop(label_HW: Tensor, side: int) -> tuple[int, int]:
    """Top and left of a random crop [px] in which no class has DOMINANCE of the labelled pixels, if TRIES find one."""
    below, right = (max(0, length - side) for length in label_HW.shape)
    for number in range(TRIES + 1):
        top, left = int(torch.randint(below + 1, ())), int(torch.randint(right + 1, ()))
        if number == TRIES or not (below or right) or _mixed(label_HW[top : top + side, left : left + side]):
            break
    return top, left


def _mixed(label_HW: Tensor) -> bool:
    """Whether there are labelled pixels and no class has DOMINANCE of them."""
    counts = torch.bincount(label_HW.flatten(), minlength=IGNORE_INDEX + 1)[:IGNORE_INDEX]
    return int(counts.max()) < DOMINANCE * int(counts.sum())


def _cut(
    image_CHW: Tensor, label_HW: Tensor, corner: tuple[int, int], side: int
) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """A crop of at most side x side px with this corner (top, left)."""
    rows, columns = (slice(start, start + side) for start in corner)
    return tv_tensors.Image(image_CHW[:, rows, columns]), tv_tensors.Mask(label_HW[rows, columns])


def distort(image: Tensor) -> Tensor:
    """Random brightness, contrast, saturation and hue, contrast before or after the other two.

    torchvision's transform as it is would also permute the channels of half of the images, and has no switch for that.
    That is SSD's (arXiv 1512.02325), not mmsegmentation's: grass that is red is no grass.
    """
    how = DISTORT.make_params([image])
    return DISTORT.transform(image, {**how, "channel_permutation": None})
