"""How the input of mix.py is cut into stretches and chunks, and where their gradients are gathered.

Letters as in scan.py and mix.py; g images and S tokens of a stretch, T tokens of a chunk.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.backbones.scan import plan_heads, work_dtype

# Numbers in a stretch of x (tokens * channels). On a CPU the arrays of a stretch stay in a core's second-level cache.
STRETCH = {"cpu": 2**18, "other": 2**24}
ROWS = 64  # of the sums that the convolution's weight gradient is made in
LEAST_CHUNKS = 4  # in a stretch: a state is as large as a chunk, and one a stretch is kept


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
    """Where a stretch lies: which images, which of their tokens, and the how manieth of theirs it is."""

    rows: slice
    tokens: slice
    number: int


class Walk:
    """The inputs of `mix`, and how they are cut into stretches and chunks."""

    def __init__(self, zxBCdt: Tensor, *rest: Any) -> None:
        self.eps, self.ids = rest[6:]
        self.work = work_dtype(zxBCdt.dtype)
        self.w = Weights(*(t.to(self.work) for t in rest[:6]))
        self.z, self.xBC, self.dt = zxBCdt.split(self.w.splits, -1)
        self.batch, self.length, self.inner = self.z.shape
        self.heads, self.taps = len(self.w.A_H), self.w.conv_C1K.shape[-1]
        self.D_I = self.w.D_H.repeat_interleave(self.inner // self.heads)
        self.chunk, mild_H = plan_heads(F.softplus(self.dt.to(self.work) + self.w.dt_bias_H), self.w.A_H)
        groups = (True, mild_H.nonzero().flatten()), (False, (~mild_H).nonzero().flatten())
        self.groups = [(mild, index_H) for mild, index_H in groups if len(index_H)]
        chunks = -(-self.length // self.chunk)  # of an image
        numbers = STRETCH["cpu" if zxBCdt.device.type == "cpu" else "other"]
        room = max(LEAST_CHUNKS, numbers // (self.inner * self.chunk))
        self.images, self.tokens = max(1, room // chunks), min(room, chunks) * self.chunk
        self.count = -(-self.length // self.tokens)  # stretches of an image
        self.same_KBL1 = None if self.ids is None else _same_segment(self.ids, self.taps)

    def places(self) -> Iterator[Place]:
        """In the order in which states are handed on."""
        for row in range(0, self.batch, self.images):
            for number in range(self.count):
                start = number * self.tokens
                tokens = slice(start, min(start + self.tokens, self.length))
                yield Place(slice(row, min(row + self.images, self.batch)), tokens, number)


class Gradients:
    """Of the inputs of `mix`, filled in stretch by stretch, the last first."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.zxBCdt = walk.z.new_empty(walk.batch, walk.length, sum(walk.w.splits), dtype=walk.work)
        self.z, self.xBC, self.dt = self.zxBCdt.split(walk.w.splits, -1)
        if walk.ids is not None:  # there the convolution's gradient is added tap by tap
            self.xBC.zero_()
        self.w = Weights(*(torch.zeros_like(t) for t in walk.w))
        self.taps_KRC = walk.w.conv_C1K.new_zeros(walk.taps, ROWS, len(walk.w.conv_C1K))  # to be summed into conv_C1K's
        self.state_gNI: Tensor | None = None  # of the state that the stretch at hand hands on
        self.dh_gKC: Tensor | None = None  # of the convolution's output at the first tokens after the stretch at hand

    def state_after(self, at: Place) -> Tensor:
        """Of the state after a stretch."""
        if at.number == self.walk.count - 1:
            inner, states, _ = self.walk.w.parts
            return self.zxBCdt.new_zeros(at.rows.stop - at.rows.start, states, inner)
        assert self.state_gNI is not None
        return self.state_gNI

    def add_dt(self, ddt_gSH: Tensor, at: Place) -> None:
        self.dt[at.rows, at.tokens] = ddt_gSH
        self.w.dt_bias_H.add_(ddt_gSH.sum((0, 1)))

    def as_inputs(self, dtypes: list[torch.dtype]) -> list[Tensor]:
        """In the order and the shapes of the inputs, and in their dtypes."""
        self.w.conv_C1K[:, 0].add_(self.taps_KRC.sum(1).t())
        return [g.to(dtype) for g, dtype in zip((self.zxBCdt, *self.w), dtypes, strict=True)]


def _same_segment(ids_BL: Tensor, taps: int) -> Tensor:
    """(K, B, L, 1): whether the token so many places back is of the same segment."""
    length = ids_BL.shape[1]
    before = [F.pad(ids_BL, (back, 0))[:, :length] == ids_BL for back in range(taps)]
    for back, same_BL in enumerate(before):
        same_BL[:, :back] = False  # there is no token
    return torch.stack(before).unsqueeze(-1)
