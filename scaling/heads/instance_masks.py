"""Masks of objects as mmdet's mask targets ask for them: cropped to regions, on any device. N regions, H W pixels."""

from typing import Any

import torch
from torch import Tensor
from torchvision.ops import roi_align


class Masks:
    """Masks of objects, cropped to regions as by mmdet's BitmapMasks, bit for bit.

    BitmapMasks holds them on the CPU and copies the whole mask for each region: half a gigabyte per image of COCO."""

    def __init__(self, masks_nHW: Tensor) -> None:
        self.masks_nHW = masks_nHW
        self.height, self.width = masks_nHW.shape[-2:]

    def __len__(self) -> int:
        return len(self.masks_nHW)

    def crop_and_resize(self, boxes: Any, out_shape: Any, inds: Any, device: Any, binarize: bool = True) -> "Masks":
        """boxes (N, 4) and inds (N,), the index of the mask: numpy arrays, as mmdet gives them."""
        boxes_N4, inds_N = torch.from_numpy(boxes).to(device), torch.from_numpy(inds).to(device)
        regions_N5 = torch.cat([inds_N[:, None].to(boxes_N4.dtype), boxes_N4], 1)
        crop_N1hw = roi_align(self.masks_nHW[:, None].to(boxes_N4.dtype), regions_N5, out_shape, aligned=True)
        return Masks(crop_N1hw[:, 0] >= 0.5 if binarize else crop_N1hw[:, 0])

    def to_ndarray(self) -> Any:
        """The names that mmdet calls."""
        return self.masks_nHW.cpu().numpy()
