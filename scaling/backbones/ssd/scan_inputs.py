"""Inputs of the state-space-dual scan, its result, and what no implementation accepts.

Letters as in ssd_scan.py.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from scaling.errors import ConfigError


class ScanInputs(NamedTuple):
    """dt is positive (after softplus), A negative. segment_ids: integers that never decrease along a row; the state is
    reset where the id changes. initial_state: the state before the first token's segment; None: zero."""

    x_BLHP: Tensor
    dt_BLH: Tensor
    A_H: Tensor
    B_BLN: Tensor
    C_BLN: Tensor
    D_H: Tensor
    segment_ids: Tensor | None = None  # (B, L)
    initial_state: Tensor | None = None  # (B, H, P, N)

    def to(self, dtype: torch.dtype) -> "ScanInputs":
        """All but the segments in this dtype."""
        x, dt, A, B, C, D = (t.to(dtype) for t in self[:6])
        state = None if self.initial_state is None else self.initial_state.to(dtype)
        return ScanInputs(x, dt, A, B, C, D, self.segment_ids, state)


class ScanResult(NamedTuple):
    """Output, and the state after the last token where it was requested."""

    y_BLHP: Tensor
    state_BHPN: Tensor | None = None


def work_dtype(dtype: torch.dtype) -> torch.dtype:
    """dtype of the arithmetic: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def check_scan(x_BLHP: Tensor, segment_ids: Tensor | None) -> None:
    """Raise ConfigError for what no implementation accepts. x may have its heads side by side (B, L, I)."""
    batch, length = x_BLHP.shape[:2]
    if length == 0:
        raise ConfigError("a scan over 0 tokens has no result; give it 1 or more")
    if x_BLHP.dtype == torch.float16 and x_BLHP.device.type == "cpu":
        raise ConfigError("the scan takes no float16 on the CPU; use bfloat16 or float32")
    if segment_ids is not None:
        check_segments(segment_ids, batch, length)


def check_segments(segment_ids: Tensor, batch: int, length: int) -> None:
    """Raise ConfigError unless segment_ids is (batch, length) integers that never decrease along a row."""
    if tuple(segment_ids.shape) != (batch, length):
        raise ConfigError(f"segment_ids is {tuple(segment_ids.shape)}, the tokens are ({batch}, {length})")
    if segment_ids.is_floating_point():
        raise ConfigError(f"segment_ids is {segment_ids.dtype}; give integers")
    back = (segment_ids[:, 1:] < segment_ids[:, :-1]).nonzero()
    if len(back):
        row, at = (int(i) for i in back[0])
        raise ConfigError(
            f"segment_ids goes back from {int(segment_ids[row, at])} to {int(segment_ids[row, at + 1])} at row {row}, "
            f"token {at + 1}; ids never decrease along a row"
        )
