"""Position encodings inside attention: a training step over one with learned positions. Target for rope: at most 1.05
at 256 and at 1,024 tokens (process time, medians of interleaved steps)."""

import time
from collections.abc import Callable

import torch
from rich.table import Table

from experiments.benchmarks.timing import interleaved
from scaling.backbones.registry import build_backbone
from scaling.config.edit import make_config

KINDS = ("learned", "rope", "rope_mixed", "relative", "relative_mlp")
# backbone, side of the image [px], patch [px], images of a step, turns
STEPS = [
    ("deit_nano", 16, 1, 32, 20),
    ("deit_nano", 32, 1, 8, 15),
    ("deit_tiny", 128, 8, 4, 8),
    ("deit_tiny", 256, 8, 1, 8),
]


def steps() -> Table:
    """Time of forward and backward pass by encoding, as share of that with learned positions."""
    table = Table(
        "backbone", "tokens", "images", "learned, ms", *KINDS[1:], title="steps over those with learned positions"
    )
    for backbone, image, patch, images, turns in STEPS:
        calls = {kind: _step(backbone, image, patch, images, kind) for kind in KINDS}
        took = interleaved(calls, turns, 2, clock=time.process_time)
        shares = [f"{took[kind] / took['learned']:.3f}" for kind in KINDS[1:]]
        tokens = str((image // patch) ** 2)
        table.add_row(backbone, tokens, str(images), f"{1000 * took['learned']:.1f}", *shares)
    return table


def _step(backbone: str, image: int, patch: int, images: int, kind: str) -> Callable[[], None]:
    model = build_backbone(make_config(backbone=backbone, img_size=image, patch_size=patch, pos_embed=kind)).train()
    image_BCHW = torch.randn(images, 3, image, image, generator=torch.Generator().manual_seed(0))

    def step() -> None:
        model.zero_grad()
        model(image_BCHW).pooled_ND.square().sum().backward()

    return step
