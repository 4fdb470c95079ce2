"""Adaptive patches: a training step over that of uniform patches with as many tokens, and the share of the trees in it.
Time is that of the CPU, which other programs on the machine prolong less than the clock's."""

import time
from collections.abc import Callable

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from experiments.benchmarks.timing import interleaved
from experiments.recipes import shapes
from scaling.backbones.adaptive_embed import AdaptivePatchEmbed
from scaling.backbones.registry import build_backbone
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.data.batch import normalise
from scaling.data.generated.generated_shapes import render
from scaling.preprocessing import MEAN, STD

SIDE, IMAGES, TURNS = 32, 64, 7  # of images [px], of a step, timed
PATCHES = (8, 4, 2)  # of uniform models [px]


def steps() -> Table:
    """Forward and backward pass of IMAGES images of the data set shapes, a step of each in turn, medians."""
    table = Table(
        "model",
        "tokens",
        "uniform, images/s",
        "adaptive, images/s",
        "time, x",
        "trees, %",
        title="adaptive steps on cpu",
    )
    image_BHWC = torch.from_numpy(render(0, np.arange(IMAGES), SIDE).image_BHWC)
    image_BCHW = normalise(image_BHWC.permute(0, 3, 1, 2), MEAN, STD)
    for recipe in (shapes.deit_nano, shapes.adventurer_nano):
        for patch in PATCHES:
            uniform = edit(recipe(patch), img_size=SIDE)
            adaptive = edit(uniform, patch_embed="adaptive", patch_size=patch // 2)
            calls = {"uniform": _step(uniform, image_BCHW), "adaptive": _step(adaptive, image_BCHW)}
            took = interleaved({**calls, "trees": _trees(adaptive, image_BCHW)}, TURNS, 2, clock=time.process_time)
            speeds = [f"{IMAGES / took[name]:,.0f}" for name in calls]
            ratio, share = took["adaptive"] / took["uniform"], 100 * took["trees"] / took["adaptive"]
            tokens = str((SIDE // patch) ** 2)
            table.add_row(uniform.model.backbone, tokens, *speeds, f"{ratio:.2f}", f"{share:.1f}")
    return table


def _step(config: ExperimentConfig, image_BCHW: Tensor) -> Callable[[], None]:
    model = build_backbone(config).train()

    def step() -> None:
        model.zero_grad()
        model(image_BCHW).pooled_ND.square().sum().backward()

    return step


def _trees(config: ExperimentConfig, image_BCHW: Tensor) -> Callable[[], object]:
    embed = build_backbone(config).checkpoint_module.get_submodule("patch_embed")
    assert isinstance(embed, AdaptivePatchEmbed)
    return lambda: embed.leaves(image_BCHW)
