"""Which implementation of the scan and of the mixer around it computes on a kind of device, and why."""

from typing import NamedTuple

import torch

from scaling.backbones.ssd.ssd_scan_cuda import mamba_ssm
from scaling.backbones.ssd.tile_kernels import library


class Backend(NamedTuple):
    """The implementation that a mixer uses, and the reason."""

    name: str  # "mamba-ssm", "compiled" or "torch"
    reason: str


def backend(device: str = "cuda") -> Backend:
    """The implementation for tensors on this kind of device ("cpu", "cuda")."""
    if device == "cpu" and library() is not None:
        return Backend("compiled", "on a CPU, torch's products and kernels that setup compiled")
    if device != "cuda":
        return Backend("torch", f"mamba-ssm's kernels run on CUDA only, not on {device}")
    if not torch.cuda.is_available():
        return Backend("torch", "torch finds no CUDA device")
    module, reason = mamba_ssm()
    return Backend("torch" if module is None else "mamba-ssm", reason)
