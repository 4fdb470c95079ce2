"""DeiT's forward pass with attention token by token: what position encodings inside attention are compared with."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from scaling.backbones.deit import Deit

Place = tuple[int, int] | None  # row and column of a patch; None: the class token
Turn = Callable[[list[complex], Place, int, int], list[complex]]  # pairs, place, block, head
Bias = Callable[[Place, Place, int], float]  # of a query, of a key, head


def slow_tokens(backbone: Deit, image_BCHW: Tensor, turn: Turn | None = None, bias: Bias | None = None) -> Tensor:
    """(B, T, D) after the final norm, the class token first."""
    vit, patch = backbone.vit, backbone.stride
    h, w = image_BCHW.shape[2] // patch, image_BCHW.shape[3] // patch
    places: list[Place] = [None, *((y, x) for y in range(h) for x in range(w))]
    patches_BLD = vit.patch_embed.proj(image_BCHW).flatten(2).transpose(1, 2)
    x_BTD = torch.cat([vit.cls_token.expand(len(patches_BLD), -1, -1), patches_BLD], 1)
    if vit.pos_embed is not None:
        x_BTD = x_BTD + vit.pos_embed
    for number, block in enumerate(vit.blocks):
        qkv = block.attn.qkv(block.norm1(x_BTD)).unflatten(2, (3, block.attn.num_heads, -1))
        y_BTHP = torch.zeros_like(qkv[:, :, 0])
        for b in range(len(x_BTD)):
            for head in range(block.attn.num_heads):
                y_BTHP[b, :, head] = _attention(qkv[b, :, :, head], places, number, head, turn, bias)
        x_BTD = x_BTD + block.attn.proj(y_BTHP.flatten(2))
        x_BTD = x_BTD + block.mlp(block.norm2(x_BTD))
    return vit.norm(x_BTD)


def _attention(
    qkv_T3P: Tensor, places: list[Place], block: int, head: int, turn: Turn | None, bias: Bias | None
) -> Tensor:
    q_TP, k_TP, v_TP = qkv_T3P.unbind(1)
    if turn is not None:
        q_TP, k_TP = (_turned(x_TP, places, block, head, turn) for x_TP in (q_TP, k_TP))
    logits_TT = torch.zeros(len(places), len(places), dtype=q_TP.dtype)
    for s, of_query in enumerate(places):
        for t, of_key in enumerate(places):
            logits_TT[s, t] = q_TP[s] @ k_TP[t] / math.sqrt(q_TP.shape[1])
            if bias is not None:
                logits_TT[s, t] += bias(of_query, of_key, head)
    return logits_TT.softmax(1) @ v_TP


def _turned(x_TP: Tensor, places: list[Place], block: int, head: int, turn: Turn) -> Tensor:
    rows = []
    for x_P, place in zip(x_TP.tolist(), places, strict=True):
        pairs = [complex(x_P[2 * e], x_P[2 * e + 1]) for e in range(len(x_P) // 2)]
        rows.append([part for z in turn(pairs, place, block, head) for part in (z.real, z.imag)])
    return torch.tensor(rows, dtype=x_TP.dtype)
