"""Views of an image and the class of each of its pixels: what is scaled, cut and turned is so in both alike.

Training views are those of mmsegmentation's ADE20K pipeline, in its order: scaled by chance, cut, turned, colours
distorted, filled up. Random numbers come from the seed and the draw alone. C = 3 channels, H W pixels; uint8.
"""

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from scaling.data.batch import UNLABELLED, SampleKey
from scaling.data.transforms import seeded_by, uniform
from scaling.pixels import Pixels, pixels_of
from scaling.recipe import SCENES, Recipe

LONGEST = 4  # long side over short side, at most: mmsegmentation's (2048, 512)
RATIOS = (0.5, 2.0)  # by which a training image is scaled
DOMINANCE = 0.75  # of a crop's labelled pixels, which one class may not reach
TRIES = 10  # crops that are looked at for that; the one after them is taken unseen, as mmsegmentation does
STREAM = 301  # of random numbers, beside those in transforms.py
GREY = Pixels().grey  # the mean colour of ImageNet's pixels

# Brightness by 32 of 255 levels; hue by 18 of OpenCV's 180, a tenth of the circle; each for half of the images.
# Departs: mmsegmentation adds to make brighter and multiplies for contrast; torchvision multiplies, and takes contrast
# about the mean grey.
DISTORT = v2.RandomPhotometricDistort(
    brightness=(1 - 32 / 255, 1 + 32 / 255), contrast=(0.5, 1.5), saturation=(0.5, 1.5), hue=(-0.1, 0.1), p=0.5
)


def short_side(recipe: Recipe) -> int:
    """What short sides of images are brought to [px]."""
    return recipe.short_side or recipe.image


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


def evaluation_view(image_CHW: Tensor, label_HW: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """The image with its short side as the recipe wants it; the label as it is."""
    height, width = image_CHW.shape[1:]
    return scale_image(image_CHW, scaled(height, width, short_side(recipe))), label_HW


def training_view(image_CHW: Tensor, label_HW: Tensor, recipe: Recipe, draw: SampleKey) -> tuple[Tensor, Tensor]:
    """A crop of recipe.image px by its augment: none, flip, or one of SCENES."""
    side, (height, width) = recipe.image, image_CHW.shape[1:]
    if recipe.augment not in SCENES:
        size = scaled(height, width, short_side(recipe))
        corner = max(0, size[0] - side) // 2, max(0, size[1] - side) // 2
        image, label = _cut(scale_image(image_CHW, size), scale_label(label_HW, size), corner, side)
    else:
        with seeded_by(draw, recipe.seed, STREAM):
            ratio = RATIOS[0] + (RATIOS[1] - RATIOS[0]) * float(torch.rand(()))
            size = scaled(height, width, ratio * short_side(recipe))
            large_HW = scale_label(label_HW, size)
            corner = choose_crop(large_HW, side)
            image, label = _cut(scale_image(image_CHW, size), large_HW, corner, side)
            if recipe.augment == "scale_crop_distort":
                image = distort(image.contiguous())
    if recipe.augment != "none" and uniform([draw], recipe.seed, 1)[0, 0] < 0.5:
        image, label = F.horizontal_flip(image), F.horizontal_flip(label)
    # Last of all, so that what is filled in is neither distorted nor counted.
    gap = [0, 0, side - label.shape[1], side - label.shape[0]]
    if any(gap):
        image, label = F.pad(image, gap, fill=list(pixels_of(recipe).grey)), F.pad(label, gap, fill=UNLABELLED)
    return image, label


def choose_crop(label_HW: Tensor, side: int) -> tuple[int, int]:
    """Top and left of a random crop [px] in which no class has most of the labelled pixels, if one is soon found."""
    below, right = (max(0, length - side) for length in label_HW.shape)
    for number in range(TRIES + 1):
        top, left = int(torch.randint(below + 1, ())), int(torch.randint(right + 1, ()))
        if number == TRIES or not (below or right) or _mixed(label_HW[top : top + side, left : left + side]):
            break
    return top, left


def _mixed(label_HW: Tensor) -> bool:
    """Has it labelled pixels, and no class DOMINANCE of them?"""
    counts = torch.bincount(label_HW.flatten(), minlength=UNLABELLED + 1)[:UNLABELLED]
    return int(counts.max()) < DOMINANCE * int(counts.sum())


def _cut(
    image_CHW: Tensor, label_HW: Tensor, corner: tuple[int, int], side: int
) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """side x side px, or as much as there is, from the corner (top, left) on."""
    rows, columns = (slice(start, start + side) for start in corner)
    return tv_tensors.Image(image_CHW[:, rows, columns]), tv_tensors.Mask(label_HW[rows, columns])


def distort(image: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue changed by chance, contrast before or after the other two.

    torchvision's transform as it is would also permute the channels of half of the images, and has no switch for that.
    That is SSD's (arXiv 1512.02325), not mmsegmentation's: grass that is red is no grass.
    """
    how = DISTORT.make_params([image])
    return DISTORT.transform(image, {**how, "channel_permutation": None})
