"""Parameters, FLOPs and memory of position encodings inside attention by arithmetic, beside what torch has."""

import functools

import pytest
import torch

from scaling import costs
from scaling.backbones.base import TokenLayout
from scaling.backbones.registry import build_backbone
from scaling.config.edit import edit, make_config
from scaling.costs.base import MemoryPolicy
from scaling.costs.registry import POSITION_COSTS
from scaling.costs.whole_model import whole_model
from scaling.engine.counted_flops import counted_flops
from scaling.tasks.classification import ClassificationTask
from tests.costs.test_costs_memory import held, noise

KINDS = ["rope", "rope_mixed", "relative", "relative_mlp"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def config_of(kind, **options):
    return make_config(backbone="deit_micro", img_size=32, patch_size=2, pos_embed=kind, **options)


@pytest.mark.parametrize(
    ("backbone", "kind", "table"),
    [*(("deit_nano", kind, table) for kind in KINDS for table in (False, True)), ("deit3_small", "relative", True)],
)
def test_parameters_are_those_that_torch_has(backbone, kind, table):
    config = edit(config_of(kind, learned_table=table, num_classes=7), backbone=backbone, patch_size=8)
    found = sum(p.numel() for p in ClassificationTask(config, 1).parameters())
    assert costs.recipe_parameters(config) == found


@every_kind
def test_flops_of_an_image_are_those_that_torch_counts(kind):
    """The MLP of a bias is run once a step: torch counts it with the one image here, the arithmetic does not."""
    config = config_of(kind)
    mlp = 2 * 512 * (2 + 6) * 31**2 if kind == "relative_mlp" else 0
    found = counted_flops(ClassificationTask(config, 1)) - mlp
    assert found == pytest.approx(costs.recipe_flops(config), rel=0.005)
    assert costs.recipe_flops(config) == costs.recipe_flops(config_of("learned"))


@every_kind
@pytest.mark.parametrize("recompute", [False, True])
def test_memory_of_a_step_is_what_torch_holds(kind, recompute):
    images, config = 2, config_of(kind, global_batch_size=2)
    task = ClassificationTask(config, 1)
    held(task, noise(config, images), recompute=recompute)  # turns are kept from the first step on
    most = held(task, noise(config, images), recompute=recompute)[1]
    said = costs.step_bytes(config, images, MemoryPolicy(grad_checkpointing=recompute))
    assert said == pytest.approx(most, rel=0.05)


SCANNED = make_config(backbone="adventurer_micro", img_size=32, patch_size=2, pos_embed="rope_scan", num_classes=7)


def test_a_turned_scan_has_the_parameters_and_the_flops_of_one_without_positions():
    plain = edit(SCANNED, pos_embed="none")
    assert costs.recipe_parameters(SCANNED) == costs.recipe_parameters(plain)
    assert costs.recipe_parameters(SCANNED) == sum(p.numel() for p in ClassificationTask(SCANNED, 1).parameters())
    assert costs.recipe_flops(SCANNED) == costs.recipe_flops(plain)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("patch", [2, 4])
def test_memory_of_a_step_with_a_turned_scan_is_what_torch_holds(patch, recompute):
    images, config = 2, edit(SCANNED, patch_size=patch, global_batch_size=2)
    task = ClassificationTask(config, 1)
    held(task, noise(config, images), recompute=recompute)  # turns are kept from the first step on
    most = held(task, noise(config, images), recompute=recompute)[1]
    said = costs.step_bytes(config, images, MemoryPolicy(grad_checkpointing=recompute))
    assert said == pytest.approx(most, rel=0.05)


@pytest.mark.parametrize("number", [4, 2])
@pytest.mark.parametrize("kind", ["rope", "rope_mixed"])
def test_what_a_block_keeps_of_turned_queries_and_keys_is_what_autograd_saves(kind, number):
    config, saved = config_of(kind), {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    def kept(images, positions):
        saved.clear()
        x_BTD = torch.randn(images, 257, 96, requires_grad=True)
        layout = TokenLayout(2, x_BTD.device, (16, 16), leading=1)
        turn = functools.partial(positions.rotate, layout=layout, block=0) if positions else None
        saves = torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x)
        with saves, torch.autocast("cpu", torch.bfloat16, enabled=number == 2):
            alive = block(x_BTD, None, False, turn)
        assert alive.shape == x_BTD.shape
        return sum(saved.values())

    vit = build_backbone(config).vit
    block = vit.blocks[0]
    of_image = [kept(3, positions) - kept(2, positions) for positions in (vit.positions, None)]
    model = whole_model(config)
    assert of_image[0] - of_image[1] == POSITION_COSTS[kind].block_bytes(model.position_input, number)
