"""mamba-ssm's kernels on CUDA: the only file that imports mamba_ssm. Letters as in ssd_scan.py and mamba2_mixer.py.

The kernels are written in Triton, which compiles them at their first use: no nvcc is needed. With the package
causal-conv1d, which needs it, the whole mixer is one call; without it the convolution is torch's.
"""

import functools
import importlib
import importlib.util
import sys
from types import ModuleType
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.backbones.ssd.scan_choice import torch_is_chosen
from scaling.backbones.ssd.scan_inputs import ScanInputs, ScanResult

CUDA_CHUNK = 256  # tokens of a chunk in mamba-ssm's kernels, as the released models were trained


@functools.cache
def mamba_ssm() -> tuple[ModuleType | None, str]:
    """mamba-ssm's module of state-space-dual kernels, or None, and the reason. SCALING_SCAN=torch disables them."""
    if torch_is_chosen():
        return None, "SCALING_SCAN=torch is set"
    try:
        _package("mamba_ssm")
        module = importlib.import_module("mamba_ssm.ops.triton.ssd_combined")
    except Exception as error:  # a build for another torch fails in many ways, none of which should stop a run
        return None, f"mamba_ssm cannot be imported ({type(error).__name__}: {error})"
    convolution = "torch's convolution" if module.causal_conv1d_fn is None else "causal-conv1d"
    return module, f"mamba_ssm is at {module.__file__}, with {convolution}"


def _package(name: str) -> None:
    """Make a package known without its __init__.py: that of mamba_ssm imports a module that nvcc compiles, which these
    kernels do not use, and transformers."""
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}")
    sys.modules[name] = importlib.util.module_from_spec(spec)


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
    """mamba2_mixer.mix by mamba-ssm, in one call where causal-conv1d is installed."""
    kernels = cast(ModuleType, mamba_ssm()[0])
    decays = {"dt_bias": dt_bias_H.float(), "D": D_H.float(), "seq_idx": _seq_idx(segment_ids)}
    if kernels.causal_conv1d_fn is not None:
        return cast(
            Tensor,
            kernels.mamba_split_conv1d_scan_combined(  # which takes (z, x, B, C, dt) side by side
                zxBCdt_BLX,
                conv_C1K.squeeze(1),
                conv_bias_C,
                A=A_H.float(),
                chunk_size=CUDA_CHUNK,
                activation="silu",
                rmsnorm_weight=norm_I,
                rmsnorm_eps=eps,
                headdim=norm_I.shape[0] // A_H.shape[0],
                ngroups=1,
                norm_before_gate=False,
                **decays,
            ),
        )
    inner, heads = len(norm_I), len(A_H)
    z_BLI, xBC_BLC, dt_BLH = zxBCdt_BLX.split((inner, len(conv_C1K), heads), -1)
    xBC_BLC = F.silu(_convolved(xBC_BLC, conv_C1K, conv_bias_C, segment_ids))
    states = (len(conv_C1K) - inner) // 2
    x_BLI, B_BLN, C_BLN = xBC_BLC.split((inner, states, states), -1)
    y_BLHP = kernels.mamba_chunk_scan_combined(
        x_BLI.unflatten(-1, (heads, -1)),
        dt_BLH,
        A_H.float(),
        B_BLN.unsqueeze(2),
        C_BLN.unsqueeze(2),
        chunk_size=CUDA_CHUNK,
        dt_softplus=True,
        **decays,
    )
    return cast(Tensor, kernels.rmsnorm_fn(y_BLHP.flatten(2), norm_I, None, z_BLI, eps, norm_before_gate=False))


def _convolved(xBC_BLC: Tensor, conv_C1K: Tensor, bias_C: Tensor, segment_ids: Tensor | None) -> Tensor:
    """The causal convolution of each channel, reset where the segment changes, in the dtype of its input."""
    taps, length = conv_C1K.shape[-1], xBC_BLC.shape[1]
    dtype = xBC_BLC.dtype
    conv_C1K, bias_C = conv_C1K.to(dtype), bias_C.to(dtype)
    if segment_ids is None:
        found_BCL = F.conv1d(xBC_BLC.transpose(1, 2), conv_C1K, bias_C, padding=taps - 1, groups=len(conv_C1K))
        return found_BCL[..., :length].transpose(1, 2)
    found_BLC = torch.addcmul(bias_C, xBC_BLC, conv_C1K[:, 0, -1])
    for back in range(1, min(taps, length)):
        same_BL1 = (segment_ids[:, back:] == segment_ids[:, :-back]).unsqueeze(-1)
        past_BLC = F.pad(xBC_BLC[:, :-back] * same_BL1, (0, 0, back, 0))
        found_BLC = torch.addcmul(found_BLC, past_BLC, conv_C1K[:, 0, -1 - back])
    return found_BLC


def _seq_idx(segment_ids: Tensor | None) -> Tensor | None:
    return None if segment_ids is None else segment_ids.to(torch.int32).contiguous()
