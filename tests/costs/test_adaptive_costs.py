"""Costs of adaptive patches beside what torch counts of images without flat parts."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scaling import costs
from scaling.backbones.resampling import resize_kernel
from scaling.config.edit import edit, make_config
from scaling.costs.token_counts import padded_size
from scaling.costs.token_limit import LIMIT, check_tokens
from scaling.costs.whole_model import recipe_parameters_by_part
from scaling.engine.counted_flops import counted_flops
from scaling.errors import ConfigError
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.segmentation import SegmentationTask
from tests.costs.test_costs_memory import held, noise

BACKBONES = pytest.mark.parametrize("backbone", ["deit_micro", "adventurer_micro"])


def adaptive(backbone, **options):
    values = {"img_size": 32, "patch_size": 2, "patch_embed": "adaptive", "global_batch_size": 2, **options}
    return make_config(backbone=backbone, **values)


@BACKBONES
@pytest.mark.parametrize(
    "options", [{}, {"leaf_share": 0.6, "coarsest_leaf": 4}, {"pos_embed": "sincos", "head": "avg"}]
)
def test_parameters_and_flops_are_those_that_torch_counts(backbone, options):
    config = adaptive(backbone, **options)
    task = ClassificationTask(config, 1).eval()
    embed = task.backbone.checkpoint_module.patch_embed
    assert recipe_parameters_by_part(config)["embedding"] == sum(p.numel() for p in embed.parameters())
    assert costs.recipe_parameters(config) == sum(p.numel() for p in task.parameters() if p.requires_grad)
    image_BCHW = task.normalised(noise(config, 1).pixels)
    with FlopCounterMode(display=False) as resized, torch.no_grad():
        for side in embed.sides:
            resize_kernel(embed.proj.weight, side)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        tokens_1LD, _layout = embed(image_BCHW)
    assert costs.recipe_tokens(config) == tokens_1LD.shape[1]
    found = counter.get_total_flops() - resized.get_total_flops()
    assert costs.recipe_flops_by_part(config)["embedding"] == found
    if backbone == "deit_micro":
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            task(noise(config, 1).pixels)
        assert costs.recipe_flops(config) == counter.get_total_flops() - resized.get_total_flops()


@BACKBONES
def test_what_a_step_keeps_is_about_what_torch_holds(backbone):
    """Attention within packed rows keeps its output twice, which costs leave out."""
    config = adaptive(backbone, leaf_share=0.5)
    kept, most = held(ClassificationTask(config, 1), noise(config, 2))
    assert 2 * costs.activation_bytes(config, images=2) == pytest.approx(kept, rel=0.15)
    assert costs.step_bytes(config, 2) == pytest.approx(most, rel=0.15)


def test_flops_are_those_of_the_patch_with_as_many_tokens_but_for_the_head_of_a_map():
    config = adaptive("deit_micro")
    uniform = edit(config, patch_embed="conv", patch_size=4)
    assert costs.recipe_tokens(config) == costs.recipe_tokens(uniform) == 64
    assert costs.recipe_flops(config) == costs.recipe_flops(uniform)


def test_costs_are_unknown_where_a_threshold_ends_the_splits():
    config = adaptive("deit_micro", split_threshold=1.0)
    assert costs.recipe_flops(config) == costs.recipe_step_flops(config) == 0
    assert counted_flops(ClassificationTask(config, 1)) == 0
    known = edit(config, split_threshold=0.0)
    assert costs.recipe_parameters(config) == costs.recipe_parameters(known)
    assert costs.memory_bytes(config, 2) == costs.memory_bytes(known, 2)


def test_whole_images_are_padded_to_the_coarsest_leaves():
    config = edit(adaptive("adventurer_micro"), task="segment")
    assert padded_size(config, (33, 48)) == (40, 48)
    logits = SegmentationTask(config, 1).eval()(noise(config, 1).pixels[:, :, :17, :30])
    assert logits.shape[2:] == (17, 30)


def test_the_limit_of_tokens_is_one_of_leaves(monkeypatch):
    config = edit(adaptive("deit_micro"), task="detect", head="cascade_mask_rcnn", img_size=64, num_classes=3)
    assert costs.recipe_tokens(config) == 256
    monkeypatch.setenv(LIMIT, "256")
    check_tokens(config)
    monkeypatch.setenv(LIMIT, "255")
    with pytest.raises(ConfigError, match=r"^patch 2 makes 256 tokens"):
        check_tokens(config)
