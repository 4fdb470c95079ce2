"""Rows of several images for a scan: each image with its heading average in front, and with its patches reversed where
a block reads backwards. State and convolution of the mixer are reset at each image.

N images, R rows, S tokens of a row, M tokens of a row of the scan (S and a place for each image's average), T tokens of
all images.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scaling.packing.packed_rows import PackedRows


@dataclass(frozen=True, eq=False)
class ScanRows:
    """Rows (R, S) as rows of a scan and back. source_RM: index in the tokens of all rows, then the averages by length,
    then one row of zeros. back_RS: index in the tokens of all rows of the scan (0 for padding)."""

    source_RM: Tensor
    back_RS: Tensor
    segments_RM: Tensor
    rows: PackedRows

    def before_scan(self, u_RSD: Tensor) -> Tensor:
        """Normed tokens to rows of the scan (R, M, D)."""
        return self._before_scan(u_RSD, image_means(u_RSD, self.rows))

    def turns_before_scan(self, turns_RSE: Tensor) -> Tensor:
        """The same for rotations of tokens; averages are not turned."""
        return self._before_scan(turns_RSE, turns_RSE.new_ones(len(self.rows.grids), turns_RSE.shape[-1]))

    def _before_scan(self, x_RSX: Tensor, of_averages_NX: Tensor) -> Tensor:
        flat = torch.cat([x_RSX.flatten(0, 1), of_averages_NX, x_RSX.new_zeros(1, x_RSX.shape[-1])])
        return flat.index_select(0, self.source_RM.flatten()).unflatten(0, self.source_RM.shape)

    def after_scan(self, y_RMD: Tensor) -> Tensor:
        """Outputs of the scan to rows (R, S, D); what padding gets has no meaning."""
        return y_RMD.flatten(0, 1).index_select(0, self.back_RS.flatten()).unflatten(0, self.back_RS.shape)


def image_means(x_RSD: Tensor, rows: PackedRows) -> Tensor:
    """(N, D): mean over all tokens of each image, by length."""
    x_TD = rows.on(x_RSD.device).by_length(x_RSD)
    return torch.cat([x_ntD.mean(1) for x_ntD in rows.of_each_length(x_TD)])


@functools.lru_cache(maxsize=16)
def scan_rows(rows: PackedRows, reversed_patches: bool, device: torch.device) -> ScanRows:
    """The rows of a scan for rows whose images have one class token after their patches."""
    most = max((sum(rows.lengths[image] + 1 for image in row) for row in rows.rows), default=0)
    zero = rows.images_RS.size + len(rows.grids)
    average_N = rows.images_RS.size + np.argsort(rows.order)  # places of the averages in the source
    source = np.full((len(rows.rows), most), zero, np.int64)
    segments = np.full_like(source, len(rows.grids))
    back = np.zeros(rows.images_RS.size, np.int64)
    for number, row in enumerate(rows.rows):
        place = 0
        for image in row:
            tokens = np.arange(rows.starts_N[image], rows.starts_N[image] + rows.lengths[image])
            if reversed_patches:
                tokens[:-1] = tokens[-2::-1].copy()
            end = place + 1 + len(tokens)
            source[number, place], source[number, place + 1 : end] = average_N[image], tokens
            segments[number, place:end] = image
            back[tokens] = number * most + np.arange(place + 1, end)
            place = end
    with torch.inference_mode(False):
        made = [torch.from_numpy(x).to(device) for x in (source, back.reshape(rows.images_RS.shape), segments)]
    return ScanRows(made[0], made[1], made[2], rows)
