"""The passes of tile_passes.py by tile_kernels.cpp, which setuptools builds where there is a compiler (pyproject.toml).

Each reads and writes its arrays once, where torch's operations do so once each. Float32 and float64 on a CPU; on x86
processors with AVX2 and FMA, and better with AVX-512.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import cast

import torch
from torch import Tensor

from scaling.backbones.ssd.scan_choice import kernels_file
from scaling.backbones.ssd.tile_passes import Convolution, FromScan, Gate, Read, TilePasses, TorchPasses

VERSION = 3  # of the sources that these calls fit: tile_kernels_version there
TAPS = 4  # of the convolutions that the kernels know
DTYPES = {torch.float32: "float", torch.float64: "double"}
# Arguments after the number of threads: r an array that is read and w one that is written, both by their first element
# and two strides; p an array by its first element, i an integer, d a number.
_ARGUMENTS = {
    "conv_silu": "rpiippwwwiiii",
    "conv_silu_backward": "rpiipprrprrppwppiiii",
    "gated_norm": "rrrppdwiii",
    "gated_norm_backward": "rrrrppdwwppiii",
    "scaled_and_dots": "rrpwpiiii",
    "chain": "pppppiiiiii",
}
_ARRAY: list[type] = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
_TYPES: dict[str, list[type]] = {
    "r": _ARRAY,
    "w": _ARRAY,
    "p": [ctypes.c_void_p],
    "i": [ctypes.c_int64],
    "d": [ctypes.c_double],
}


@cache
def library() -> ctypes.CDLL | None:
    """The kernels; None where they were not built or from other sources, where this processor cannot run them, and with
    SCALING_SCAN=torch."""
    file = kernels_file()
    if file is None:
        return None
    try:
        kernels = ctypes.CDLL(file)
        if kernels.tile_kernels_version() != VERSION or not kernels.tile_kernels_level():
            return None
    except (OSError, AttributeError):  # built for another machine; before there were versions
        return None
    return kernels


@cache
def kernel(name: str, dtype: torch.dtype, level: int | None = None) -> Callable[..., None]:
    """A kernel for the set of instructions `level`: 1, any that the kernels run with; 2, AVX-512; None, the best that
    this processor has."""
    kernels = library()
    assert kernels is not None
    found = getattr(kernels, f"{name}_{DTYPES[dtype]}_{level or kernels.tile_kernels_level()}")
    found.argtypes = [ctypes.c_int64, *(one for kind in _ARGUMENTS[name] for one in _TYPES[kind])]
    found.restype = None
    return cast(Callable[..., None], found)


def passes_for(device: torch.device, dtype: torch.dtype, taps: int) -> TilePasses:
    """The fastest passes for such tensors here."""
    known = device.type == "cpu" and dtype in DTYPES and taps == TAPS
    # Within torch.func a tensor may have no memory of its own; a mode, such as the counter of FLOPs, sees operations.
    seen = torch._C._are_functorch_transforms_active() or torch._C._len_torch_dispatch_stack() > 0
    return CompiledPasses if known and not seen and library() is not None else TorchPasses


class CompiledPasses:
    @staticmethod
    def conv_silu(read: Read, conv: Convolution, parts: list[int], filled: int) -> tuple[Tensor, ...]:
        xBC_gSC = _own(read)
        made = tuple(_like(part_gSX, filled) for part_gSX in xBC_gSC.split(parts, -1))
        where = *_reach(read), *_pointers(*conv)
        _call("conv_silu", xBC_gSC.dtype, xBC_gSC, *where, *made, *xBC_gSC.shape[:2], *parts[:2])
        return made

    @staticmethod
    def conv_silu_backward(
        read: Read,
        conv: Convolution,
        grads: FromScan,
        skip_I: Tensor,
        after_gKC: Tensor | None,
        dxBC_gSC: Tensor,
        to: Convolution,
    ) -> Tensor:
        xBC_gSC, (images, tokens, inner), states = _own(read), grads.x_gSI.shape, grads.B_gSN.shape[2]
        first_gKC = xBC_gSC.new_zeros(images, TAPS - 1, xBC_gSC.shape[2])
        (after,) = (0,) if after_gKC is None else _pointers(after_gKC)
        _call(
            "conv_silu_backward", xBC_gSC.dtype, xBC_gSC, *_reach(read), *_pointers(*conv), grads.x_gSI, grads.y_gSI,
            *_pointers(skip_I), grads.B_gSN, grads.C_gSN, after, *_pointers(first_gKC), dxBC_gSC, *_pointers(*to),
            images, tokens, inner, states,
        )  # fmt: skip
        return first_gKC

    @staticmethod
    def gated_norm(scanned_gSI: Tensor, x_gSI: Tensor, z_gSI: Tensor, gate: Gate, eps: float, out_gSI: Tensor) -> None:
        arrays = scanned_gSI, x_gSI, z_gSI
        _call("gated_norm", x_gSI.dtype, *arrays, *_pointers(*gate), eps, out_gSI, *x_gSI.shape)

    @staticmethod
    def gated_norm_backward(
        g_gSI: Tensor,
        scanned_gSI: Tensor,
        x_gSI: Tensor,
        z_gSI: Tensor,
        gate: Gate,
        eps: float,
        dz_gSI: Tensor,
        to: Gate,
        filled: int,
    ) -> Tensor:
        dy_gZI = _like(g_gSI, filled)
        _call(
            "gated_norm_backward", g_gSI.dtype, g_gSI, scanned_gSI, x_gSI, z_gSI, *_pointers(*gate), eps,
            dy_gZI, dz_gSI, *_pointers(to.weight_I, to.skip_I), *g_gSI.shape,
        )  # fmt: skip
        return dy_gZI

    @staticmethod
    def scaled_and_dots(
        x_nTI: Tensor, other_nTI: Tensor, factor_nTH: Tensor, dots_nTH: Tensor, out_nTI: Tensor | None = None
    ) -> Tensor:
        out_nTI = torch.empty_like(x_nTI, memory_format=torch.contiguous_format) if out_nTI is None else out_nTI
        (chunks, tokens, heads), channels = factor_nTH.shape, x_nTI.shape[2]
        _call(
            "scaled_and_dots", x_nTI.dtype, x_nTI, other_nTI, *_pointers(factor_nTH), out_nTI, *_pointers(dots_nTH),
            chunks, tokens, heads, channels // heads,
        )  # fmt: skip
        return out_nTI

    @staticmethod
    def chain(
        x_nNI: Tensor, state_gNI: Tensor, given_n1H: Tensor, taken_n1H: Tensor, through_n1H: Tensor, reverse: bool
    ) -> None:
        images, (chunks, _, heads), (_, states, inner) = len(state_gNI), given_n1H.shape, x_nNI.shape
        _call(
            "chain", x_nNI.dtype, *_pointers(x_nNI, state_gNI, given_n1H, taken_n1H, through_n1H), reverse, images,
            chunks // images, states, heads, inner // heads,
        )  # fmt: skip


def _like(x_gSX: Tensor, filled: int) -> Tensor:
    """Memory for as many images and channels and `filled` tokens Z, zeros after the first S."""
    images, tokens, channels = x_gSX.shape
    made_gZX = x_gSX.new_empty(images, filled, channels)
    made_gZX[:, tokens:].zero_()
    return made_gZX


def _own(read: Read) -> Tensor:
    """The tile's tokens; those before them lie in memory before them."""
    return read.xBC_gVC[:, read.before :]


def _reach(read: Read) -> tuple[int, int, int]:
    """First element and stride, and how many tokens before the tile may be read."""
    reach_gV = read.reach_gV
    return (0, 0, read.before) if reach_gV is None else (reach_gV.data_ptr(), reach_gV.stride(0), read.before)


def _pointers(*arrays: Tensor) -> tuple[int, ...]:
    assert all(array.is_contiguous() for array in arrays)
    return tuple(array.data_ptr() for array in arrays)


def _call(name: str, dtype: torch.dtype, *arguments: Tensor | float) -> None:
    """Call a kernel with arguments of the kinds that it has; a tensor is an array (g, S, channels)."""
    arrays, flat = list[Tensor](), list[float]([torch.get_num_threads()])
    for kind, argument in zip(_ARGUMENTS[name], arguments, strict=True):
        if not isinstance(argument, Tensor):
            flat.append(argument)
            continue
        if argument.stride(2) != 1 and argument.shape[2] > 1:  # channels must lie side by side
            assert kind == "r"
            argument = argument.contiguous()
        arrays.append(argument)  # until the kernel has read it
        flat += argument.data_ptr(), argument.stride(0), argument.stride(1)
    kernel(name, dtype)(*flat)
