"""How the input of mamba2_mixer.py is split into tiles and chunks, and where the gradients of tiles are gathered.

Letters as in ssd_scan.py and mamba2_mixer.py; g images and S tokens of a tile, T tokens of a chunk.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.backbones.ssd.scan_inputs import work_dtype
from scaling.backbones.ssd.ssd_scan import plan_heads
from scaling.backbones.ssd.ssd_scan_grad import Decays
from scaling.backbones.ssd.tile_kernels import passes_for
from scaling.backbones.ssd.tile_passes import Convolution, Gate, Read
from scaling.model_specs import MIN_TILE_CHUNKS, TILE_ELEMENTS


class Weights(NamedTuple):
    """Weights of a mixer without its projections."""

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


class TilePlace(NamedTuple):
    """Position of a tile."""

    rows: slice  # of the batch
    tokens: slice
    number: int  # index of the tile among those of its images
    chunks: slice  # of the chunks of all images


class Tiling:
    """The inputs of `mix`, and how they are split into tiles and chunks."""

    def __init__(self, zxBCdt: Tensor, w: Sequence[Tensor], eps: float, ids: Tensor | None) -> None:
        """w: as in Weights."""
        self.eps, self.ids = eps, ids
        self.work = work_dtype(zxBCdt.dtype)
        self.w = Weights(*(t.to(self.work) for t in w))
        zxBCdt = zxBCdt if zxBCdt.stride(-1) == 1 else zxBCdt.contiguous()
        self.z, self.xBC, dt_BLH = zxBCdt.split(self.w.splits, -1)
        self.raw_dt_BLH = dt_BLH.to(self.work) + self.w.dt_bias_H
        self.dt_BLH = F.softplus(self.raw_dt_BLH)
        self.batch, self.length, self.inner = self.z.shape
        self.heads, self.taps = len(self.w.A_H), self.w.conv_C1K.shape[-1]
        self.passes = passes_for(zxBCdt.device, self.work, self.taps)
        self.conv = Convolution(self.w.conv_C1K[:, 0].t().flip(0).contiguous(), self.w.conv_bias_C.contiguous())
        self.gate = Gate(self.w.D_H.repeat_interleave(self.inner // self.heads), self.w.norm_I.contiguous())
        self.chunk, mild_H = plan_heads(self.dt_BLH, self.w.A_H)
        groups = (True, mild_H.nonzero().flatten()), (False, (~mild_H).nonzero().flatten())
        self.groups = [(mild, index_H) for mild, index_H in groups if len(index_H)]
        # Per group of heads:
        self.A_H = [self.some_heads(self.w.A_H, index_H) for _, index_H in self.groups]
        self.decays = [
            Decays.of(self.some_heads(self.dt_BLH, index_H), A_H, self.chunk) if mild else None
            for (mild, index_H), A_H in zip(self.groups, self.A_H, strict=True)
        ]
        chunks = -(-self.length // self.chunk)  # of an image
        numbers = (
            TILE_ELEMENTS["cpu"] * torch.get_num_threads() if zxBCdt.device.type == "cpu" else TILE_ELEMENTS["other"]
        )
        room = max(MIN_TILE_CHUNKS, numbers // (self.inner * self.chunk))
        # Equal parts, up to half as long again: lengths are often a power of two and one or two tokens more.
        self.images = _evenly(self.batch, room // chunks)
        self.tokens = _evenly(chunks, room) * self.chunk if self.images == 1 else self.length
        self.count = -(-self.length // self.tokens)  # tiles of an image
        self.reach_BV = None if self.ids is None else _reach(self.ids, self.taps - 1)

    def read(self, at: TilePlace) -> Read:
        """What the convolution of a tile reads, in the dtype of the arithmetic."""
        before, past = min(at.tokens.start, self.taps - 1), self.taps - 1
        xBC_gVC = self.xBC[at.rows, at.tokens.start - before : at.tokens.stop].to(self.work)
        reach_gV = None if self.reach_BV is None else self.reach_BV[at.rows, at.tokens.start : at.tokens.stop + past]
        return Read(xBC_gVC, before, reach_gV)

    def filled(self, at: TilePlace) -> int:
        """Tokens of a tile with those that fill its last chunk."""
        return -(-(at.tokens.stop - at.tokens.start) // self.chunk) * self.chunk

    def no_state(self, at: TilePlace) -> Tensor | None:
        """The state before the first tile (g, N, I); None where an image is a single chunk: no state is passed on."""
        if self.length <= self.chunk:
            return None
        return self.dt_BLH.new_zeros(at.rows.stop - at.rows.start, self.w.parts[1], self.inner)

    def some_heads(self, x_XH: Tensor, index_H: Tensor) -> Tensor:
        """The part of some heads of numbers per head or per channel."""
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

    def places(self) -> Iterator[TilePlace]:
        """Positions of the tiles, in the order in which states are passed on."""
        of_image = -(-self.length // self.chunk)  # chunks
        for row in range(0, self.batch, self.images):
            rows = slice(row, min(row + self.images, self.batch))
            for number in range(self.count):
                tokens = slice(number * self.tokens, min((number + 1) * self.tokens, self.length))
                # A tile of several images has all of their tokens.
                chunks = slice(
                    rows.start * of_image + tokens.start // self.chunk,
                    (rows.stop - 1) * of_image - (-tokens.stop // self.chunk),
                )
                yield TilePlace(rows, tokens, number, chunks)


class Gradients:
    """Gradients of the inputs of `mix`, filled in tile by tile, the last tile first."""

    def __init__(self, tiling: Tiling) -> None:
        self.tiling, w = tiling, tiling.w
        self.zxBCdt = tiling.z.new_empty(tiling.batch, tiling.length, sum(w.splits), dtype=tiling.work)
        self.z, self.xBC, self.dt = self.zxBCdt.split(w.splits, -1)
        self.conv = Convolution(*(torch.zeros_like(t) for t in tiling.conv))
        self.gate = Gate(*(torch.zeros_like(t) for t in tiling.gate))
        # Per group of heads: the two arguments of Decays.backward, or the gradients of dt and of A.
        self.decays = [
            (tiling.dt_BLH.new_empty(tiling.batch, tiling.length, len(A_H)), torch.zeros_like(A_H))
            if decays is None
            else (torch.empty_like(decays.dt_nTH), torch.empty_like(decays.dt_nTH))
            for decays, A_H in zip(tiling.decays, tiling.A_H, strict=True)
        ]
        self.state_gNI: Tensor | None = None  # of the state after the current tile
        self.first_gKC: Tensor | None = None  # of the convolution's output at the first tokens after the tile

    def state_after(self, at: TilePlace) -> Tensor | None:
        """Gradient of the state after a tile."""
        return self.tiling.no_state(at) if at.number == self.tiling.count - 1 else self.state_gNI

    def of_decays(self, group: int, at: TilePlace) -> tuple[Tensor, Tensor]:
        """Buffers that the scan of a group of heads writes the gradients of a tile to."""
        first, second = self.decays[group]
        if self.tiling.decays[group] is None:
            return first[at.rows, at.tokens], second
        return first[at.chunks], second[at.chunks]

    def as_inputs(self, dtypes: list[torch.dtype]) -> list[Tensor]:
        """The gradients in the order, shapes and dtypes of the inputs."""
        tiling, ddt, dA = self.tiling, [], []
        for decays, A_H, parts in zip(tiling.decays, tiling.A_H, self.decays, strict=True):
            ddt_BLH, dA_H = parts if decays is None else decays.backward(A_H, *parts, tiling.batch)
            ddt.append(ddt_BLH[:, : tiling.length])
            dA.append(dA_H)
        torch.mul(tiling.all_heads(ddt), torch.sigmoid(tiling.raw_dt_BLH), out=self.dt)
        weights = Weights(
            self.conv.weight_KC.flip(0).t().unsqueeze(1),
            self.conv.bias_C,
            self.dt.sum((0, 1)),
            tiling.all_heads(dA),
            self.gate.skip_I.view(tiling.heads, -1).sum(1),
            self.gate.weight_I,
        )
        return [g.to(dtype) for g, dtype in zip((self.zxBCdt, *weights), dtypes, strict=True)]


def _evenly(total: int, near: int) -> int:
    """Size of equal parts of total, near `near`."""
    return -(-total // max(1, round(total / max(1, near))))


def _reach(ids_BL: Tensor, past: int) -> Tensor:
    """Number of tokens before each that are of its segment, at most `past`; 0 for `past` tokens beyond the last (uint8,
    (B, L + past))."""
    length = ids_BL.shape[1]
    reach_BV = F.pad(torch.zeros_like(ids_BL, dtype=torch.uint8), (0, past))
    for back in range(1, min(past, length - 1) + 1):  # ids never decrease: what is not reached ends the reach
        reach_BV[:, back:length] += ids_BL[:, back:] == ids_BL[:, :-back]
    return reach_BV
