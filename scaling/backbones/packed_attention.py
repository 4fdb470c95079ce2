"""Attention within each image of rows that hold several images.

Images of equal length attend as one batch, so nothing of the size of a row squared is computed: the cost is the sum of
the squares of the images' lengths (arXiv 2307.06304, section 2.2, has masks of whole rows instead).
R rows, S tokens of a row, H heads, P channels of a head, T tokens of all images, n images of t tokens in a bucket.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.packing.packed_rows import PackedRows


def attention_within_images(q_RHSP: Tensor, k_RHSP: Tensor, v_RHSP: Tensor, rows: PackedRows) -> Tensor:
    """softmax(q k' / sqrt(P)) v over the tokens of a token's own image (R, S, H * P); zeros in padding."""
    index = rows.on(q_RHSP.device)
    qkv_RSXHP = torch.stack([x.transpose(1, 2) for x in (q_RHSP, k_RHSP, v_RHSP)], 2)
    found = []
    for qkv_ntXHP in rows.of_each_length(index.by_length(qkv_RSXHP)):
        q_nHtP, k_nHtP, v_nHtP = qkv_ntXHP.permute(2, 0, 3, 1, 4).unbind(0)
        found.append(F.scaled_dot_product_attention(q_nHtP, k_nHtP, v_nHtP).transpose(1, 2).flatten(2).flatten(0, 1))
    return index.to_rows(torch.cat(found))


def attention_with_mask(q_RHSP: Tensor, k_RHSP: Tensor, v_RHSP: Tensor, rows: PackedRows) -> Tensor:
    """The same by a mask of whole rows, as the paper states it: what attention_within_images is tested against."""
    images_RS = rows.on(q_RHSP.device).images_RS
    same_R1SS = (images_RS.unsqueeze(1) == images_RS.unsqueeze(2)).unsqueeze(1)  # padding attends to padding
    y_RSX = F.scaled_dot_product_attention(q_RHSP, k_RHSP, v_RHSP, attn_mask=same_R1SS).transpose(1, 2).flatten(2)
    return y_RSX * (images_RS < len(rows.grids)).unsqueeze(-1)
