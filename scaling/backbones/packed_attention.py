"""Attention within each image of rows that hold several images.

Nothing of the size of a row squared is computed: the cost is the sum of the squares of the images' lengths (arXiv
2307.06304, section 2.2, has masks of whole rows instead). Where torch has a kernel for sequences of any lengths (CUDA,
half precision), all images are one call; elsewhere images of equal length attend as one batch.
R rows, S tokens of a row, H heads, P channels of a head, T tokens of all images, n images of t tokens in a bucket.
"""

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

from scaling.packing.packed_rows import PackedRows

AMPERE = (8, 0)  # compute capability that FlashAttention 2 needs
MOST_CHANNELS = 256  # of a head, in its kernels
Biases = Mapping[tuple[int, int], Tensor]  # grid of an image -> what is added to its logits (1, H, t, t)


def attention_within_images(
    q_RHSP: Tensor, k_RHSP: Tensor, v_RHSP: Tensor, rows: PackedRows, biases: Biases | None = None
) -> Tensor:
    """softmax(q k' / sqrt(P) + bias) v over the tokens of a token's own image (R, S, H * P); zeros in padding."""
    index = rows.on(q_RHSP.device)
    qkv_TXHP = index.by_length(torch.stack([x.transpose(1, 2) for x in (q_RHSP, k_RHSP, v_RHSP)], 2))
    if biases is None and has_kernel(qkv_TXHP):
        return index.to_rows(in_one_call(qkv_TXHP, rows).flatten(1))
    return index.to_rows(by_length(qkv_TXHP, rows, biases).flatten(1))


def has_kernel(qkv_TXHP: Tensor) -> bool:
    """Whether in_one_call runs on this device, in this precision."""
    return (
        qkv_TXHP.is_cuda
        and qkv_TXHP.dtype in (torch.float16, torch.bfloat16)
        and qkv_TXHP.shape[-1] <= MOST_CHANNELS
        and qkv_TXHP.shape[-1] % 8 == 0
        and torch.version.hip is None
        and torch.cuda.get_device_capability(qkv_TXHP.device) >= AMPERE
    )


def in_one_call(qkv_TXHP: Tensor, rows: PackedRows) -> Tensor:
    """(T, H, P) of tokens by length, by one kernel for images of any lengths."""
    borders = rows.on(qkv_TXHP.device).borders
    q_THP, k_THP, v_THP = qkv_TXHP.unbind(1)
    longest = max(rows.lengths, default=0)
    return cast(Tensor, varlen_attn(q_THP, k_THP, v_THP, borders, borders, longest, longest))


def by_length(qkv_TXHP: Tensor, rows: PackedRows, biases: Biases | None = None) -> Tensor:
    """(T, H, P) of tokens by length, one batch for each length."""
    found, grids = [], iter([rows.grids[image] for image in rows.order])
    for qkv_ntXHP in rows.of_each_length(qkv_TXHP):
        q_nHtP, k_nHtP, v_nHtP = qkv_ntXHP.permute(2, 0, 3, 1, 4).unbind(0)
        mask = None if biases is None else torch.cat([biases[next(grids)] for _ in q_nHtP])
        y_nHtP = F.scaled_dot_product_attention(q_nHtP, k_nHtP, v_nHtP, attn_mask=mask)
        found.append(y_nHtP.transpose(1, 2).flatten(0, 1))
    return torch.cat(found)


def attention_with_mask(q_RHSP: Tensor, k_RHSP: Tensor, v_RHSP: Tensor, rows: PackedRows) -> Tensor:
    """The same by a mask of whole rows, as the paper states it: what attention_within_images is tested against."""
    images_RS = rows.on(q_RHSP.device).images_RS
    same_R1SS = (images_RS.unsqueeze(1) == images_RS.unsqueeze(2)).unsqueeze(1)  # padding attends to padding
    y_RSX = F.scaled_dot_product_attention(q_RHSP, k_RHSP, v_RHSP, attn_mask=same_R1SS).transpose(1, 2).flatten(2)
    return y_RSX * (images_RS < len(rows.grids)).unsqueeze(-1)
