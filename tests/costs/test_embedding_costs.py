"""Parameters, FLOPs and memory of every patch embedding beside what torch counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scaling import costs
from scaling.backbones.patch_embeds import build_patch_embed
from scaling.config.edit import make_config
from scaling.costs.whole_model import recipe_parameters_by_part
from scaling.model_specs import MODEL_SPECS
from scaling.tasks.classification import ClassificationTask
from tests.costs.test_costs_memory import held, noise

OPTIONS = [
    {"patch_embed": "conv"},
    {"patch_embed": "overlapping"},
    {"patch_embed": "overlapping", "embed_norm": False},
    {"patch_embed": "conv_stem"},
    {"patch_embed": "hierarchical"},
    {"patch_embed": "hierarchical", "scales": 4},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("patch", [1, 2, 3, 7, 8, 16])
def test_parameters_and_flops_are_those_that_torch_counts(options, patch):
    config = make_config(backbone="deit_tiny", img_size=336, patch_size=patch, **options)
    rest = {name: value for name, value in options.items() if name != "patch_embed"}
    with torch.device("meta"):
        embed = build_patch_embed(options["patch_embed"], 3, MODEL_SPECS["deit_tiny"].width, 336, patch, **rest)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        tokens_BLD, _layout = embed(torch.zeros(1, 3, 336, 336, device="meta"))
    assert recipe_parameters_by_part(config)["embedding"] == sum(p.numel() for p in embed.parameters())
    assert costs.recipe_flops_by_part(config)["embedding"] == counter.get_total_flops()
    assert costs.recipe_tokens(config) == tokens_BLD.shape[1]


@pytest.mark.parametrize("options", OPTIONS[1:5])
@pytest.mark.parametrize(("backbone", "image", "patch"), [("deit_micro", 32, 8), ("adventurer_micro", 32, 2)])
def test_what_a_step_keeps_is_what_torch_holds(options, backbone, image, patch):
    config = make_config(backbone=backbone, img_size=image, patch_size=patch, global_batch_size=2, **options)
    task = ClassificationTask(config, 1)
    assert costs.recipe_parameters(config) == sum(p.numel() for p in task.parameters() if p.requires_grad)
    kept, most = held(task, noise(config, 2))
    assert 2 * costs.activation_bytes(config, images=2) == pytest.approx(kept, rel=0.01)
    assert costs.step_bytes(config, 2) == pytest.approx(most, rel=0.06)


def test_a_kernel_larger_than_all_that_blocks_keep_is_in_the_peak():
    config = make_config(backbone="deit_micro", img_size=64, patch_size=32, patch_embed="overlapping")
    most = held(ClassificationTask(config, 1), noise(config, 2))[1]
    assert costs.step_bytes(config, 2) == pytest.approx(most, rel=0.04)
