"""Resampling of patch embeddings to other patch sizes, and of positions to other grids (FlexiViT, arXiv 2212.08013).

R is the matrix of a linear (triangle) resize of p samples to q, with half-pixel centres: that of a square is R (x) R.
PI-resize gives the kernel w' for which the token of a resized patch is that of the patch, <(R (x) R) x, w'> = <x, w>,
exactly where q >= p, else in the least-squares mean over patches of white noise (section 3.4 of the paper). Since
pinv(R (x) R) = pinv(R) (x) pinv(R), it is Q W Q' with Q = pinv(R'), so only matrices of one dimension are inverted.

pi        W' = Q W Q'
vanilla   W' = R W R'; the kernel is resized like an image, so tokens grow with the area of the patch
area      W' = (p / q)^2 R W R'; divided by the growth of the area
norm      W' = R W R' |W| / |R W R'|; the norm of each filter is kept
The paper states "norm" by its name only: that it is the norm of a filter, over channels and pixels, is our reading.

D width, C channels, p old and q new side of a kernel, g side of the table of positions, h w grid.
"""

import functools
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scaling.config.fields import check_name
from scaling.config.patch_embeds import RESIZE_METHODS


class Filter(TypedDict):
    """How timm resamples kernels (by the pseudo-inverse) and positions of weights at loading."""

    interpolation: str
    antialias: bool


BICUBIC: Filter = {"interpolation": "bicubic", "antialias": True}
LINEAR: Filter = {"interpolation": "bilinear", "antialias": True}
BILINEAR: Filter = {"interpolation": "bilinear", "antialias": False}  # of FlexiViT's weights
CACHED = 256  # matrices that are kept, each of a few kilobytes


def resize_matrix(p: int, q: int, antialias: bool) -> NDArray[np.float64]:
    """R (q, p): linear resizing of p samples to q, rows of sum 1. antialias: where q < p, the triangle is widened to p
    / q, so that every sample counts."""
    support = max(1.0, p / q) if antialias else 1.0
    centre_q = (np.arange(q) + 0.5) * p / q
    weight_qp = np.clip(1 - np.abs(np.arange(p) + 0.5 - centre_q[:, None]) / support, 0, None)
    return weight_qp / weight_qp.sum(1, keepdims=True)


@functools.lru_cache(CACHED)
def kernel_matrix(p: int, q: int, pseudo_inverse: bool, antialias: bool) -> NDArray[np.float64]:
    """Q (q, p) = pinv(R'), or R where pseudo_inverse is false."""
    resize_qp = resize_matrix(p, q, antialias)
    return np.linalg.pinv(resize_qp.T) if pseudo_inverse else resize_qp


@functools.lru_cache(CACHED)
def _on_device(
    p: int, q: int, pseudo_inverse: bool, antialias: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    # A tensor made in inference mode could not be used in training afterwards.
    with torch.inference_mode(False):
        return torch.tensor(kernel_matrix(p, q, pseudo_inverse, antialias), dtype=dtype, device=device)


@torch.compiler.disable
def _matrix(p: int, q: int, pseudo_inverse: bool, antialias: bool, like: Tensor) -> Tensor:
    """kernel_matrix in the dtype and on the device of `like`; made once in float64."""
    return _on_device(p, q, pseudo_inverse, antialias, like.dtype, like.device)


def resize_kernel(kernel_DCpp: Tensor, side: int, method: str = "pi", antialias: bool = True) -> Tensor:
    """Kernels (D, C, p, p) of a patch embedding for patches of `side` px: (D, C, side, side), in their dtype, also
    under autocast. At side p they are returned as they are. Differentiable. method: as above. Raises
    ConfigError for another one."""
    check_name("resize", method, RESIZE_METHODS)
    p = kernel_DCpp.shape[-1]
    if side == p:
        return kernel_DCpp
    with torch.autocast(kernel_DCpp.device.type, enabled=False):
        matrix_qp = _matrix(p, side, method == "pi", antialias, kernel_DCpp)
        resized_DCqq = matrix_qp @ kernel_DCpp @ matrix_qp.T
        if method == "area":
            return (p / side) ** 2 * resized_DCqq
        if method == "norm":
            norms = [x.flatten(1).norm(dim=1).view(-1, 1, 1, 1) for x in (kernel_DCpp, resized_DCqq)]
            return resized_DCqq * (norms[0] / norms[1])
        return resized_DCqq


def enlarge_kernel(kernel_DCqq: Tensor, side: int, method: str = "pi", antialias: bool = True) -> Tensor:
    """The kernel (D, C, side, side) of least norm that resize_kernel turns back into kernel_DCqq (D, C, q, q), side >=
    q: so a kernel for patches of q px becomes one that can be resized, and its tokens stay the same at q. By "pi" it is
    R' W R, where R reduces a patch of `side` px to q: its token there is that of the reduced patch. Raises ConfigError
    for another method."""
    check_name("resize", method, RESIZE_METHODS)
    q = kernel_DCqq.shape[-1]
    inverse_pq = np.linalg.pinv(kernel_matrix(side, q, method == "pi", antialias))
    matrix_pq = torch.tensor(inverse_pq, dtype=torch.float64, device=kernel_DCqq.device)
    enlarged_DCpp = matrix_pq @ kernel_DCqq.double() @ matrix_pq.T
    if method == "area":
        enlarged_DCpp = (q / side) ** 2 * enlarged_DCpp
    if method == "norm":
        norms = [x.flatten(1).norm(dim=1).view(-1, 1, 1, 1) for x in (kernel_DCqq.double(), enlarged_DCpp)]
        enlarged_DCpp = enlarged_DCpp * (norms[0] / norms[1])
    return enlarged_DCpp.to(kernel_DCqq.dtype)


def resize_positions(table_1LD: Tensor, grid: tuple[int, int], antialias: bool = True) -> Tensor:
    """Vectors of a square grid (1, g * g, D), row by row, at another grid: (1, h * w, D), linear. antialias: whether
    all vectors count where the grid is reduced. At the same grid they are returned as they are. Differentiable."""
    g = round(table_1LD.shape[1] ** 0.5)
    if grid == (g, g):
        return table_1LD
    with torch.autocast(table_1LD.device.type, enabled=False):
        rows_hg, columns_wg = (_matrix(g, n, False, antialias, table_1LD) for n in grid)
        columns_1gwD = columns_wg @ table_1LD.unflatten(1, (g, g))
        return (rows_hg @ columns_1gwD.flatten(2)).unflatten(2, (grid[1], -1)).flatten(1, 2)
