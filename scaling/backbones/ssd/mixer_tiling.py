"""How the input of mamba2_mixer.py is cut into stretches and chunks, and where their gradients are gathered.

Letters as in ssd_scan.py and mamba2_mixer.py; g images and S tokens of a stretch, T tokens of a chunk.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.backbones.ssd.ssd_scan import plan_heads, work_dtype
from scaling.backbones.ssd.ssd_scan_grad import Decays
from scaling.model_specs import LEAST_CHUNKS, STRETCH

ROWS = 64  # of the sums that the convolution's weight gradient is made in


class Weights(NamedTuple):
    """What a mixer has learned, projections aside."""

    conv_C1K: Tensor
    conv_bias_C: Tensor
    dt_bias_H: Tensor
    A_H: Tensor  # negative
    D_H: Tensor
    norm_I: Tensor

    @property
    def parts(self) -> list[int]:
        """Channels of x, B and C."""
        inner = len(self.norm_I)
        return [inner, (len(self.conv_C1K) - inner) // 2, (len(self.conv_C1K) - inner) // 2]

    @property
    def splits(self) -> list[int]:
        """Channels of z, of (x, B, C), and of dt."""
        return [len(self.norm_I), len(self.conv_C1K), len(self.A_H)]


class Place(NamedTuple):
    """Where a stretch lies: which images, which of their tokens, the how manieth of theirs it is, and which of all
    images' chunks."""

    rows: slice
    tokens: slice
    number: int
    chunks: slice


class Walk:
    """The inputs of `mix`, and how they are cut into stretches and chunks."""

    def __init__(self, zxBCdt: Tensor, *rest: Any) -> None:
        self.eps, self.ids = rest[6:]
        self.work = work_dtype(zxBCdt.dtype)
        self.w = Weights(*(t.to(self.work) for t in rest[:6]))
        self.z, self.xBC, dt_BLH = zxBCdt.split(self.w.splits, -1)
        self.raw_dt_BLH = dt_BLH.to(self.work) + self.w.dt_bias_H
        self.dt_BLH = F.softplus(self.raw_dt_BLH)
        self.batch, self.length, self.inner = self.z.shape
        self.heads, self.taps = len(self.w.A_H), self.w.conv_C1K.shape[-1]
        self.D_I = self.w.D_H.repeat_interleave(self.inner // self.heads)
        self.chunk, mild_H = plan_heads(self.dt_BLH, self.w.A_H)
        groups = (True, mild_H.nonzero().flatten()), (False, (~mild_H).nonzero().flatten())
        self.groups = [(mild, index_H) for mild, index_H in groups if len(index_H)]
        # Of every group's heads.
        self.A_H = [self.some_heads(self.w.A_H, index_H) for _, index_H in self.groups]
        self.decays = [
            Decays.of(self.some_heads(self.dt_BLH, index_H), A_H, self.chunk) if mild else None
            for (mild, index_H), A_H in zip(self.groups, self.A_H, strict=True)
        ]
        chunks = -(-self.length // self.chunk)  # of an image
        numbers = STRETCH["cpu"] * torch.get_num_threads() if zxBCdt.device.type == "cpu" else STRETCH["other"]
        room = max(LEAST_CHUNKS, numbers // (self.inner * self.chunk))
        # Evenly, up to half as long again: lengths are a power of two and a token or two, often enough.
        self.images = _evenly(self.batch, room // chunks)
        self.tokens = _evenly(chunks, room) * self.chunk if self.images == 1 else self.length
        self.count = -(-self.length // self.tokens)  # stretches of an image
        self.same_KBL1 = None if self.ids is None else _same_segment(self.ids, self.taps)

    def no_state(self, at: Place) -> Tensor | None:
        """The state before the first stretch (g, N, I); None where images are single chunks: no state passes."""
        if self.length <= self.chunk:
            return None
        return self.dt_BLH.new_zeros(at.rows.stop - at.rows.start, self.w.parts[1], self.inner)

    def some_heads(self, x_XH: Tensor, index_H: Tensor) -> Tensor:
        """From numbers a head, or from channels: those of some heads."""
        if len(index_H) == self.heads:
            return x_XH
        return x_XH.unflatten(-1, (self.heads, -1)).index_select(-2, index_H).flatten(-2)

    def all_heads(self, parts: list[Tensor]) -> Tensor:
        """The inverse of some_heads, over all groups."""
        if len(parts) == 1:
            return parts[0]
        heads = [t.unflatten(-1, (len(index_H), -1)) for t, (_, index_H) in zip(parts, self.groups, strict=True)]
        order_H = torch.cat([index_H for _, index_H in self.groups])
        return torch.cat(heads, -2).index_select(-2, order_H.argsort()).flatten(-2)

    def places(self) -> Iterator[Place]:
        """In the order in which states are handed on."""
        of_image = -(-self.length // self.chunk)  # chunks
        for row in range(0, self.batch, self.images):
            rows = slice(row, min(row + self.images, self.batch))
            for number in range(self.count):
                tokens = slice(number * self.tokens, min((number + 1) * self.tokens, self.length))
                # Several images are taken whole.
                chunks = slice(
                    rows.start * of_image + tokens.start // self.chunk,
                    (rows.stop - 1) * of_image - (-tokens.stop // self.chunk),
                )
                yield Place(rows, tokens, number, chunks)


class Gradients:
    """Of the inputs of `mix`, filled in stretch by stretch, the last first."""

    def __init__(self, walk: Walk) -> None:
        self.walk, w = walk, walk.w
        self.zxBCdt = walk.z.new_empty(walk.batch, walk.length, sum(w.splits), dtype=walk.work)
        self.z, self.xBC, self.dt = self.zxBCdt.split(w.splits, -1)
        if walk.ids is not None:  # there the convolution's gradient is added tap by tap
            self.xBC.zero_()
        self.bias_C, self.D_I, self.norm_I = (torch.zeros_like(t) for t in (w.conv_bias_C, walk.D_I, w.norm_I))
        self.conv_KRC = w.conv_C1K.new_zeros(walk.taps, ROWS, len(w.conv_C1K))  # R: to be summed
        # Of dt, for every group of heads: two parts that Decays.backward takes, or the gradient itself and A's.
        self.decays = [
            (walk.dt_BLH.new_empty(walk.batch, walk.length, len(A_H)), torch.zeros_like(A_H))
            if decays is None
            else (torch.empty_like(decays.dt_nTH), torch.empty_like(decays.dt_nTH))
            for decays, A_H in zip(walk.decays, walk.A_H, strict=True)
        ]
        self.state_gNI: Tensor | None = None  # of the state that the stretch at hand hands on
        self.dh_gKC: Tensor | None = None  # of the convolution's output at the first tokens after the stretch at hand

    def state_after(self, at: Place) -> Tensor | None:
        """Of the state after a stretch."""
        return self.walk.no_state(at) if at.number == self.walk.count - 1 else self.state_gNI

    def of_decays(self, group: int, at: Place) -> tuple[Tensor, Tensor]:
        """What the scan of a group of heads fills in at a stretch."""
        first, second = self.decays[group]
        if self.walk.decays[group] is None:
            return first[at.rows, at.tokens], second
        return first[at.chunks], second[at.chunks]

    def as_inputs(self, dtypes: list[torch.dtype]) -> list[Tensor]:
        """In the order and the shapes of the inputs, and in their dtypes."""
        walk, ddt, dA = self.walk, [], []
        for decays, A_H, parts in zip(walk.decays, walk.A_H, self.decays, strict=True):
            ddt_BLH, dA_H = parts if decays is None else decays.backward(A_H, *parts, walk.batch)
            ddt.append(ddt_BLH[:, : walk.length])
            dA.append(dA_H)
        torch.mul(walk.all_heads(ddt), torch.sigmoid(walk.raw_dt_BLH), out=self.dt)
        weights = Weights(
            self.conv_KRC.sum(1).t().unsqueeze(1),
            self.bias_C,
            self.dt.sum((0, 1)),
            walk.all_heads(dA),
            self.D_I.view(walk.heads, -1).sum(1),
            self.norm_I,
        )
        return [g.to(dtype) for g, dtype in zip((self.zxBCdt, *weights), dtypes, strict=True)]


def _evenly(total: int, near: int) -> int:
    """The size of equal parts of total, near this."""
    return -(-total // max(1, round(total / max(1, near))))


def _same_segment(ids_BL: Tensor, taps: int) -> Tensor:
    """(K, B, L, 1): whether the token so many places back is of the same segment."""
    length = ids_BL.shape[1]
    before = [F.pad(ids_BL, (back, 0))[:, :length] == ids_BL for back in range(taps)]
    for back, same_BL in enumerate(before):
        same_BL[:, :back] = False  # there is no token
    return torch.stack(before).unsqueeze(-1)
