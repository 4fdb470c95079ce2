"""Dense prediction for images of any size: whole, or in overlapping windows.

Sliding windows are mmsegmentation's slide inference: the last window of a row or column is shifted back into the image,
and the logits of overlapping windows are averaged.
B batch, C channels, K classes, H W pixels.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import pad

Dense = Callable[[Tensor], Tensor]  # normalised images (B, C, H, W) to logits (B, K, H, W)


def padded(image_BCHW: Tensor, multiple: int, least: int = 0) -> Tensor:
    """Images padded with zeros, which are the mean colour, at the bottom and right: to sides that `multiple` divides,
    of at least `least` px."""
    height, width = (-(-max(side, least) // multiple) * multiple for side in image_BCHW.shape[-2:])
    return pad(image_BCHW, (0, width - image_BCHW.shape[-1], 0, height - image_BCHW.shape[-2]))


def whole(dense: Dense, image_BCHW: Tensor, multiple: int) -> Tensor:
    """Logits of whole images, at their own size."""
    height, width = image_BCHW.shape[-2:]
    return dense(padded(image_BCHW, multiple))[..., :height, :width]


def slide(dense: Dense, image_BCHW: Tensor, window: int, stride: int) -> Tensor:
    """Logits of images, averaged over windows of `window` px at a distance of `stride` px."""
    height, width = image_BCHW.shape[-2:]
    image_BCHW = padded(image_BCHW, 1, window)
    total_BKHW, count_HW = None, image_BCHW.new_zeros(image_BCHW.shape[-2:])
    for top in starts(image_BCHW.shape[-2], window, stride):
        for left in starts(image_BCHW.shape[-1], window, stride):
            place = (..., slice(top, top + window), slice(left, left + window))
            logits_BKHW = dense(image_BCHW[place]).float()
            if total_BKHW is None:
                total_BKHW = logits_BKHW.new_zeros(*logits_BKHW.shape[:2], *image_BCHW.shape[-2:])
            total_BKHW[place] += logits_BKHW
            count_HW[place] += 1
    assert total_BKHW is not None
    return (total_BKHW / count_HW)[..., :height, :width]


def windows(height: int, width: int, window: int, stride: int) -> int:
    """The number of windows of slide."""
    down, across = (len(starts(max(side, window), window, stride)) for side in (height, width))
    return down * across


def starts(side: int, window: int, stride: int) -> list[int]:
    """Positions of windows along a side of at least `window` px, which they cover."""
    return [min(at, side - window) for at in range(0, side - window + stride, stride)]
