"""mamba-ssm's kernels on CUDA: the only file that imports mamba_ssm. Letters as in ssd_scan.py and mamba2_mixer.py."""

import functools
import importlib
import os
from types import ModuleType
from typing import cast

import torch
from torch import Tensor

from scaling.backbones.ssd.scan_inputs import ScanInputs, ScanResult

CUDA_CHUNK = 256  # tokens of a chunk in mamba-ssm's kernels, as the released models were trained


@functools.cache
def mamba_ssm() -> tuple[ModuleType | None, str]:
    """mamba-ssm's module of state-space-dual kernels, or None, and the reason. SCALING_SCAN=torch disables them."""
    if os.environ.get("SCALING_SCAN", "") == "torch":
        return None, "SCALING_SCAN=torch is set"
    try:
        module = importlib.import_module("mamba_ssm.ops.triton.ssd_combined")
    except Exception as error:  # a build for another torch fails in many ways, none of which should stop a run
        return None, f"mamba_ssm cannot be imported ({type(error).__name__}: {error})"
    return module, f"mamba_ssm is at {module.__file__}"


def scan_cuda(inputs: ScanInputs, return_state: bool) -> ScanResult:
    """ssd_scan.scan by mamba-ssm."""
    x, dt, A, B, C, D, segment_ids, initial_state = inputs
    found = cast(ModuleType, mamba_ssm()[0]).mamba_chunk_scan_combined(
        x,
        dt.float(),
        A.float(),
        B.unsqueeze(2).to(x.dtype),
        C.unsqueeze(2).to(x.dtype),
        chunk_size=CUDA_CHUNK,
        D=D.float(),
        initial_states=initial_state,
        seq_idx=_seq_idx(segment_ids),
        return_final_states=return_state,
    )
    return ScanResult(*found) if return_state else ScanResult(found)


def mamba_ssm_mix(
    zxBCdt_BLX: Tensor,
    conv_C1K: Tensor,
    conv_bias_C: Tensor,
    dt_bias_H: Tensor,
    A_H: Tensor,
    D_H: Tensor,
    norm_I: Tensor,
    eps: float,
    segment_ids: Tensor | None,
) -> Tensor:
    """mamba2_mixer.mix as one kernel of mamba-ssm, which takes (z, x, B, C, dt) side by side."""
    return cast(ModuleType, mamba_ssm()[0]).mamba_split_conv1d_scan_combined(
        zxBCdt_BLX,
        conv_C1K.squeeze(1),
        conv_bias_C,
        dt_bias_H.float(),
        A_H.float(),
        D_H.float(),
        chunk_size=CUDA_CHUNK,
        seq_idx=_seq_idx(segment_ids),
        activation="silu",
        rmsnorm_weight=norm_I,
        rmsnorm_eps=eps,
        headdim=norm_I.shape[0] // A_H.shape[0],
        ngroups=1,
        norm_before_gate=False,
    )


def _seq_idx(segment_ids: Tensor | None) -> Tensor | None:
    return None if segment_ids is None else segment_ids.to(torch.int32).contiguous()
