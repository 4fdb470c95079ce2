"""Packed images: the padding of plans on distributions of image sizes, and steps of packed images over steps of images
padded to the longest of the batch, and of squares with as many tokens. Target of the last but one: above 1.

Padding has one row per plan, step times are medians of interleaved turns. Sizes of CamVid and nuclei are those of the
training images; ImageNet's stand for any photographs: log-normal areas around 400 x 400 px.
"""

from collections.abc import Callable

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from experiments.benchmarks.timing import interleaved
from scaling.backbones.base import Backbone
from scaling.backbones.registry import build_backbone
from scaling.config.edit import make_config
from scaling.config.packing import SequencePacking
from scaling.model_specs import CLASS_TOKENS
from scaling.packing.fitted_grid import fitted_grid, reduced_grid
from scaling.packing.packed_images import PackedImages, pack
from scaling.packing.row_plan import PLANS, padding_share, row_length

Sizes = Callable[[np.random.Generator, int], list[tuple[float, float]]]  # generator, number: heights and widths [px]
BATCH, BATCHES = 64, 50
NUCLEI = {(256, 256): 264, (256, 320): 96, (360, 360): 70, (260, 347): 3}  # images of the training set by size


def _aspects(rng: np.random.Generator, count: int) -> np.ndarray:
    """Height over width: log-normal around 1, so that 5 % of the images are longer than 1.8 : 1."""
    return np.exp(rng.normal(0, 0.3, count))


def _range(low: float, high: float) -> Sizes:
    def sizes(rng: np.random.Generator, count: int) -> list[tuple[float, float]]:
        side_B, aspect_B = rng.uniform(low, high, count), np.sqrt(_aspects(rng, count))
        return list(zip(side_B * aspect_B, side_B / aspect_B, strict=True))

    return sizes


def _photographs(rng: np.random.Generator, count: int) -> list[tuple[float, float]]:
    side_B, aspect_B = np.exp(rng.normal(np.log(400), 0.35, count)), np.sqrt(_aspects(rng, count))
    return list(zip(side_B * aspect_B, side_B / aspect_B, strict=True))


def _nuclei(rng: np.random.Generator, count: int) -> list[tuple[float, float]]:
    sizes, shares = list(NUCLEI), np.array(list(NUCLEI.values())) / sum(NUCLEI.values())
    return [sizes[i] for i in rng.choice(len(sizes), count, p=shares)]


# name: patch [px], sizes
DISTRIBUTIONS: dict[str, tuple[int, Sizes]] = {
    "U(64, 256), 16 px": (16, _range(64, 256)),
    "photographs, 16 px": (16, _photographs),
    "nuclei, 16 px": (16, _nuclei),
    "CamVid 360 x 480, 16 px": (16, lambda rng, count: [(360.0, 480.0)] * count),
    "U(16, 32), 4 px": (4, _range(16, 32)),
}


def padding() -> Table:
    """Mean padding [%] of batches of 64 images by plan and length of a sequence."""
    lengths = (512, 1024, 2048, 4096, 8192)
    title = f"padding [%], batches of {BATCH} images"
    table = Table("sizes", "plan", *(f"{n} tokens" for n in lengths), title=title)
    for name, (patch, sizes) in DISTRIBUTIONS.items():
        for plan in PLANS:
            cells = [f"{padding_of(patch, sizes, plan, length, BATCHES):.1f}" for length in lengths]
            table.add_row(name, plan, *cells)
    return table


def padding_of(patch: int, sizes: Sizes, plan: str, sequence_length: int, batches: int) -> float:
    """Mean padding [%] of so many batches. patch [px]."""
    rng, found = np.random.default_rng(0), []
    for _ in range(batches):
        tokens = [_tokens(height, width, patch, sequence_length) for height, width in sizes(rng, BATCH)]
        rows = PLANS[plan](tokens, sequence_length)
        found.append(100 * padding_share(rows, tokens, row_length(plan, rows, tokens, sequence_length)))
    return float(np.mean(found))


def _tokens(height: float, width: float, patch: int, sequence_length: int) -> int:
    h, w = fitted_grid(round(height), round(width), patch)
    if h * w >= sequence_length:
        h, w = reduced_grid(round(height), round(width), patch, sequence_length - 1)
    return h * w + 1


# model, patch [px], sizes [px]: something for a CPU, something for a GPU
STEPS: dict[str, list[tuple[str, int, tuple[int, int]]]] = {
    "cpu": [(name, 4, sizes) for name in ("deit_nano", "adventurer_nano") for sizes in ((32, 32), (24, 32), (16, 32))],
    "cuda": [(name, 16, sizes) for name in ("deit_base", "adventurer_base") for sizes in ((224, 224), (64, 256))],
}


def steps() -> Table:
    """Median time of forward and backward pass of 64 images: packed, padded to the longest, and squares of as many
    tokens. The spread of sizes rises from none."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    table = Table(
        "model",
        "sizes, px",
        "packed, ms",
        "padded, ms",
        "squares, ms",
        "padded/packed",
        "packed/squares",
        title=f"steps of {BATCH} images on {device}",
    )
    for name, patch, (low, high) in STEPS[device]:
        backbone = build_backbone(make_config(backbone=name, img_size=high, patch_size=patch, pos_embed="sincos"))
        backbone.initialise(0)
        calls = _calls(backbone.to(device), name, patch, _square(high) if low == high else _range(low, high), device)
        took = interleaved(calls, 15, 3)
        ratios = took["padded"] / took["packed"], took["packed"] / took["squares"]
        cells = [*(f"{1000 * took[kind]:.1f}" for kind in calls), *(f"{ratio:.2f}" for ratio in ratios)]
        table.add_row(name, f"{low} to {high}", *cells)
    return table


def _square(side: float) -> Sizes:
    return lambda rng, count: [(side, side)] * count


def _calls(backbone: Backbone, name: str, patch: int, sizes: Sizes, device: str) -> dict[str, Callable[[], object]]:
    grids = [fitted_grid(round(h), round(w), patch) for h, w in sizes(np.random.default_rng(0), BATCH)]
    images = [torch.rand(3, h * patch, w * patch, device=device) for h, w in grids]
    mean, longest = round(np.mean([h * w for h, w in grids]) ** 0.5), max(h * w for h, w in grids)
    squares = torch.rand(BATCH, 3, mean * patch, mean * patch, device=device)
    padded = torch.rand(BATCH, 3, patch, longest * patch, device=device)  # as many tokens as the longest image
    places = CLASS_TOKENS[name.split("_")[0]]

    def packed() -> None:
        same = len({image.shape for image in images}) == 1  # data loaders pack only what differs
        step(backbone, torch.stack(images) if same else pack(images, patch, SequencePacking().sequence_length, places))

    return {"packed": packed, "padded": lambda: step(backbone, padded), "squares": lambda: step(backbone, squares)}


def step(backbone: Backbone, images: Tensor | PackedImages) -> None:
    """Forward and backward pass."""
    backbone(images).pooled_ND.sum().backward()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
