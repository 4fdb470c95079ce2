"""Estimates of claims on positions, patch embeddings and token dropping that are formulas, computed in float64.

Letters: p patch [px], D width, n positions per axis, s grid over that of training. A formula stands here as its source
has it; tests compare those that this project implements with its own code.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.claims.verdict import Estimate, exact

Array = NDArray[np.float64]
SEED = 0  # of the arrays that formulas are tried on


def interpolated_ramp() -> list[Estimate]:
    """Positions that are a linear function of place, at 7 x 7 tokens, interpolated to 14 x 14: the largest difference
    from that function between the outermost trained centres, over its range [1]."""
    old, new = (np.arange(n) / n + 0.5 / n for n in (7, 14))
    inside = (new >= old[0]) & (new <= old[-1])
    off = np.abs(np.interp(new, old, old) - new)[inside]
    return [exact("largest deviation from the linear function, 7 to 14 per axis", round(float(off.max()), 12))]


def position_interpolation() -> list[Estimate]:
    """Distance between neighbours after interpolation to a longer axis, over (L / L') [1]."""
    found = []
    for old, new in ((14, 28), (14, 24), (8, 16)):
        centres = (np.arange(new) + 0.5) * old / new - 0.5  # as share of the image, in trained positions
        ratio = float(np.diff(centres).mean()) / (old / new)
        found.append(exact(f"{old} to {new} per axis: distance of neighbours over L/L'", round(ratio, 12)))
    return found


def yarn(length: int, base: float, bands: int) -> Array:
    """(bands,): frequencies of RoPE under YaRN with s = 2 over the trained ones, the fastest first [1]. length:
    positions per axis. Source: arXiv 2309.00071, alpha 1, beta 32."""
    turns = length * base ** (-np.arange(bands) / bands) / (2 * math.pi)
    kept = np.clip((turns - 1) / (32 - 1), 0, 1)
    return (1 - kept) / 2 + kept


def yarn_long(band: int) -> list[Estimate]:
    """A band of a language model's RoPE with 4,096 positions."""
    which = "slowest" if band else "fastest"
    return [exact(f"{which} band, 4,096 positions: frequency over the trained one", float(yarn(4096, 1e4, 64)[band]))]


def yarn_grid() -> list[Estimate]:
    """The fastest band of axial RoPE on a grid of 14 x 14 tokens."""
    return [exact("fastest band, 14 positions per axis: frequency over the trained one", float(yarn(14, 100, 8)[0]))]


def distinct_sinusoids() -> list[Estimate]:
    """Smallest distance of two 1-D sinusoids (D = 192, base 10,000) of positions up to four times the trained axis,
    over the largest [1]."""
    table = _sinusoid(np.arange(56.0), 192)
    distances = np.linalg.norm(table[:, None] - table[None], axis=-1)[np.triu_indices(56, 1)]
    return [exact("56 positions, 14 trained: smallest distance over largest", float(distances.min() / distances.max()))]


def gram_of_sinusoids() -> list[Estimate]:
    """2-D sinusoids at 6 x 6 places: the largest difference of similarities of two pairs with the same offset [1]."""
    rows, columns = (axis.ravel() for axis in np.mgrid[0:6.0, 0:6.0])
    table = np.concatenate([_sinusoid(rows, 96), _sinusoid(columns, 96)], axis=1)
    gram = table @ table.T
    by_offset: dict[tuple[float, float], list[float]] = {}
    for i in range(36):
        for j in range(36):
            by_offset.setdefault((rows[i] - rows[j], columns[i] - columns[j]), []).append(gram[i, j])
    spread = max(max(values) - min(values) for values in by_offset.values())
    return [exact("largest difference of similarity at equal offset", round(float(spread), 9))]


def _sinusoid(positions_N: Array, width: int) -> Array:
    """(N, width): sines and cosines of positions at width / 2 frequencies, base 10,000."""
    angles = positions_N[:, None] * 10_000.0 ** (-2 * np.arange(width // 2) / width)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def normalised_token() -> list[Estimate]:
    """LayerNorm of a token among 49 and among 784 tokens: the largest change of its channels [1]."""
    tokens = np.random.default_rng(SEED).normal(size=(784, 96))
    few, many = (_layer_norm(tokens[:n])[:49] for n in (49, 784))
    return [exact("largest change of a token's channels, 49 to 784 tokens", round(float(np.abs(many - few).max()), 12))]


def _layer_norm(tokens_ND: Array) -> Array:
    """LayerNorm without weights."""
    return (tokens_ND - tokens_ND.mean(1, keepdims=True)) / np.sqrt(tokens_ND.var(1, keepdims=True) + 1e-6)


def convolution_and_product() -> list[Estimate]:
    """Largest difference between a convolution of stride p, by its sum over offsets, and a matrix product of flattened
    patches, 8 x 8 px with p = 4 and D = 5 [1]."""
    rng, p = np.random.default_rng(SEED), 4
    image_CHW, kernel_DCpp = rng.normal(size=(3, 8, 8)), rng.normal(size=(5, 3, p, p))
    product, convolved = np.zeros((5, 2, 2)), np.zeros((5, 2, 2))
    for i in range(2):
        for j in range(2):
            patch_Cpp = image_CHW[:, p * i : p * (i + 1), p * j : p * (j + 1)]
            product[:, i, j] = kernel_DCpp.reshape(5, -1) @ patch_Cpp.ravel()
            for y in range(p):
                for x in range(p):
                    convolved[:, i, j] += kernel_DCpp[:, :, y, x] @ image_CHW[:, p * i + y, p * j + x]
    return [exact("largest difference of the two", round(float(np.abs(product - convolved).max()), 12))]


def xavier_tokens() -> list[Estimate]:
    """Standard deviation of a token's channels at the start, D = 768 and pixels of variance 1, for Xavier's
    initialisation of the flattened projection: at small patches over that at 16 px [1]."""
    of = {p: math.sqrt(3 * p * p * 2 / (3 * p * p + 768)) for p in (16, 4, 1)}
    return [exact(f"{p} px ({of[p]:.2f}) over 16 px ({of[16]:.2f})", of[p] / of[16]) for p in (4, 1)]


def dimensions_lost() -> list[Estimate]:
    """Share of the dimensions of a patch that a linear projection to D = 768 cannot keep, 1 - min(3 p^2, D) / 3 p^2."""
    return [exact(f"{p} px: share of dimensions lost", 1 - min(3 * p * p, 768) / (3 * p * p)) for p in (16, 8, 4)]


def resized_tokens(way: str, old: int, new: int) -> list[Estimate]:
    """Relative difference of the token of an enlarged patch with an enlarged kernel, root mean square over 100 patches
    of independent pixels; for way "pi", with the pseudo-inverse, else with the kernel resized like an image [1]."""
    rng = np.random.default_rng(SEED)
    resize = resize_matrix(old, new)
    each = np.linalg.pinv(resize.T) if way == "pi" else resize
    patches, kernel = rng.normal(size=(100, old, old)), rng.normal(size=(old, old))
    before = np.einsum("kij,ij->k", patches, kernel)
    large = resize @ patches @ resize.T
    after = np.einsum("kij,ij->k", large, each @ kernel @ each.T)
    off = math.sqrt(float(((after - before) ** 2).mean() / (before**2).mean()))
    return [exact(f"{old} to {new} px, {way}: relative difference of tokens", round(off, 9))]


def resize_matrix(old: int, new: int) -> Array:
    """(new, old): linear interpolation with half-pixel centres, one axis, without antialiasing."""
    centres = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.stack([np.interp(centres, np.arange(old), unit) for unit in np.eye(old)], axis=1)


def inner_products() -> list[Estimate]:
    """Inner product of an enlarged even patch with an enlarged even kernel over that before, 4 to 8 px [1]."""
    resize = resize_matrix(4, 8)
    patch = kernel = np.ones((4, 4))
    large = [resize @ one @ resize.T for one in (patch, kernel)]
    return [exact("4 to 8 px: inner product after over before", round(float((large[0] * large[1]).sum() / 16), 12))]


def rows_of_pseudo_inverse() -> list[Estimate]:
    """Rows of (B^T B)^-1 B^T over those that a kernel of 8 px needs, 4 to 8 px [1]."""
    resize = resize_matrix(4, 8)
    b = np.kron(resize, resize)
    return [exact("4 to 8 px: rows over those needed", (np.linalg.inv(b.T @ b) @ b.T).shape[0] / 64)]


# Figure 15a of arXiv 2307.06304: printed share of images with less than a tenth of their tokens dropped [%], by the
# largest and the mean share of dropped tokens.
PRINTED = {
    (0.4, 0.10): 60.3, (0.4, 0.25): 11.5, (0.4, 0.35): 1.3,
    (0.7, 0.10): 66.9, (0.7, 0.25): 27.3, (0.7, 0.50): 2.3, (0.7, 0.65): 0.1,
    (0.9, 0.10): 70.4, (0.9, 0.25): 33.5, (0.9, 0.50): 5.9, (0.9, 0.70): 0.9, (0.9, 0.85): 0.1,
}  # fmt: skip


def dropped_tokens() -> list[Estimate]:
    """Largest difference from PRINTED of the distribution of section A.4, a Beta with mean u = mean / largest and
    variance 0.3 u (1 - u) [percentage points]."""
    found = []
    for largest in (0.4, 0.7, 0.9):
        off = [
            abs(100 * stats.beta.cdf(0.1 / top, 7 / 3 * mean / top, 7 / 3 * (1 - mean / top)) - printed)
            for (top, mean), printed in PRINTED.items()
            if top == largest
        ]
        found.append(exact(f"share of dropped tokens up to {largest}: largest difference", float(max(off))))
    return found


def shared_row() -> list[Estimate]:
    """Padding of images of 100 and 156 tokens in a row of 256 [%]."""
    return [exact("images of 100 and 156 tokens in one row of 256", 100 * (1 - (100 + 156) / 256))]


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "interpolated_ramp": interpolated_ramp,
    "position_interpolation": position_interpolation,
    "yarn_long_fastest": lambda: yarn_long(0),
    "yarn_long_slowest": lambda: yarn_long(-1),
    "yarn_grid_fastest": yarn_grid,
    "distinct_sinusoids": distinct_sinusoids,
    "gram_of_sinusoids": gram_of_sinusoids,
    "normalised_token": normalised_token,
    "convolution_and_product": convolution_and_product,
    "xavier_tokens": xavier_tokens,
    "dimensions_lost": dimensions_lost,
    "resized_pi": lambda: [*resized_tokens("pi", 4, 8), *resized_tokens("pi", 8, 12), *resized_tokens("pi", 1, 16)],
    "resized_like_image": lambda: [*resized_tokens("like an image", 4, 8), *resized_tokens("like an image", 8, 12)],
    "resized_down": lambda: [*resized_tokens("pi", 8, 4), *resized_tokens("pi", 16, 4)],
    "inner_products": inner_products,
    "rows_of_pseudo_inverse": rows_of_pseudo_inverse,
    "dropped_tokens": dropped_tokens,
    "shared_row": shared_row,
}
