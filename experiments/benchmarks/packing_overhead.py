"""Overhead of packing by length of a sequence and width of the model, predicted and measured (NaViT, arXiv 2307.06304,
Figure 4, where all tokens of a row meet in one masked product).

All images are equal, so packing is compared with the same images in a batch, one per row. Rows whose tokens all meet
are long images without a mask. Step times are CPU times, medians of interleaved turns.
"""

import time
from collections.abc import Callable

import torch
from rich.table import Table
from torch import Tensor

from experiments.benchmarks.packing import step
from experiments.benchmarks.timing import interleaved
from scaling.backbones.base import Backbone
from scaling.backbones.registry import build_backbone
from scaling.config.edit import make_config
from scaling.config.experiment import ExperimentConfig
from scaling.costs import recipe_flops_by_part
from scaling.model_specs import CLASS_TOKENS
from scaling.packing.packed_images import PackedImages, pack

IMAGES, SIDE, PATCH = 64, 32, 4  # images of a step; 32 px [px]
PER_ROW = (4, 16, 64)  # images of a row
MODELS = ("deit_pico", "deit_nano", "deit_micro", "adventurer_pico", "adventurer_nano", "adventurer_micro")
TURNS = 7


def overhead() -> Table:
    """A row per model and length of a sequence: its images; FLOPs of the blocks if all tokens of a row met, over those
    of the images alone; times of steps over that of the batch: of rows whose tokens all meet, and packed as here."""
    tokens = (SIDE // PATCH) ** 2 + 1
    title = f"steps of {IMAGES} images of {tokens} tokens over those of a batch; whole: all tokens of a row meet"
    table = Table("model", "width", "tokens of a row", "FLOPs, whole", "time, whole", "time, packed", title=title)
    for name in MODELS:
        config = make_config(backbone=name, img_size=SIDE, patch_size=PATCH, pos_embed="sincos")
        backbone = build_backbone(config)
        backbone.initialise(0)
        took = interleaved(
            _calls(backbone, CLASS_TOKENS[config.model.family], tokens), TURNS, 2, clock=time.process_time
        )
        for number in PER_ROW:
            times = [f"{took[f'{way} {number}'] / took['batch']:.2f}" for way in ("whole", "packed")]
            predicted = f"{predicted_overhead(config, number):.2f}"
            table.add_row(name, str(backbone.width), f"{number * tokens:,}", predicted, *times)
    return table


def _calls(backbone: Backbone, places: tuple[int, int], tokens: int) -> dict[str, Callable[[], None]]:
    images = torch.rand(IMAGES, 3, SIDE, SIDE)
    calls = {"batch": _call(backbone, images)}
    for number in PER_ROW:
        whole = torch.rand(IMAGES // number, 3, PATCH, PATCH * (number * tokens - 1))
        calls[f"whole {number}"] = _call(backbone, whole)
        calls[f"packed {number}"] = _call(backbone, pack(list(images), PATCH, number * tokens, places))
    return calls


def predicted_overhead(config: ExperimentConfig, images: int) -> float:
    """FLOPs of the blocks on a row of so many equal images whose tokens all meet, over those of each alone [1]."""
    alone = _blocks(config, None)
    tokens = (config.model.img_size // config.model.patch_size) ** 2 + 1
    return _blocks(config, images * tokens - 1) / (images * alone)


def _blocks(config: ExperimentConfig, patches: int | None) -> int:
    parts = recipe_flops_by_part(config, kept=patches)
    return parts.total - parts["embedding"] - parts["head"]


def _call(backbone: Backbone, images: Tensor | PackedImages) -> Callable[[], None]:
    return lambda: step(backbone, images)
