"""AdamW's groups and the schedule: which parameter learns how fast, and which decays."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from timm.optim import param_groups_layer_decay

from scaling.backbones.adventurer import Adventurer
from scaling.config.edit import edit, make_config
from scaling.config.runtime import RuntimeConfig
from scaling.model_specs import MODEL_SPECS
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.optim import lr_factor, parameter_groups

BACKBONES = ("deit_nano", "adventurer_nano")
DEPTH = 3


def task_of(backbone, **fields):
    return ClassificationTask(make_config(backbone=backbone, img_size=16, patch_size=4, **fields), 10)


def by_name(task, groups):
    """name: (learning rate, weight decay), by the names of a public checkpoint."""
    of = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(of) == sum(len(group["params"]) for group in groups)  # none twice
    return {
        name.removeprefix("backbone.vit.").removeprefix("backbone.net."): of[id(p)]
        for name, p in task.named_parameters()
        if p.requires_grad
    }


def timms(backbone):
    """An equivalent model of timm's, or under timm's contract, head and all."""
    if backbone == "adventurer_nano":
        return Adventurer(MODEL_SPECS[backbone], 16, 4, 12)
    return VisionTransformer(16, 4, num_classes=12, embed_dim=48, depth=DEPTH, num_heads=3)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("layer_decay", [0.5, 0.9])
def test_layer_decay_is_timms_for_every_parameter(backbone, layer_decay):
    task, model = task_of(backbone), timms(backbone)
    groups = param_groups_layer_decay(
        model, weight_decay=0.05, no_weight_decay_list=model.no_weight_decay(), layer_decay=layer_decay
    )
    of = {id(p): (group["lr_scale"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert by_name(task, parameter_groups(task, 0.05, 1.0, layer_decay)) == {
        name: pytest.approx(of[id(p)]) for name, p in model.named_parameters()
    }


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_embedding_learns_slowest_then_each_block_then_the_head(backbone):
    task = task_of(backbone)
    found = by_name(task, parameter_groups(task, 0.05, 2.0, 0.5))
    blocks = "layers" if backbone == "adventurer_nano" else "blocks"
    wanted = {f"{blocks}.{n}.": 2.0 * 0.5 ** (DEPTH - n) for n in range(DEPTH)}  # the last one: one step down
    wanted |= {"norm": 2.0 * 0.5, "head.": 2.0}
    wanted |= dict.fromkeys(("patch_embed.", "pos_embed", "cls_token"), 2.0 * 0.5 ** (DEPTH + 1))
    for name, (lr, _) in found.items():
        (rate,) = [rate for prefix, rate in wanted.items() if name.startswith(prefix)]
        assert lr == pytest.approx(rate), name


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("layer_decay", [1.0, 0.8])
def test_biases_norms_positions_tokens_and_the_scans_own_do_not_decay(backbone, layer_decay):
    task = task_of(backbone)
    found = by_name(task, parameter_groups(task, 0.05, 1.0, layer_decay))
    plain = {name for name, (_, decay) in found.items() if decay == 0}
    named = ("bias", "pos_embed", "cls_token", "A_log", ".D", "dt_bias")
    assert plain == {name for name in found if name.endswith(named) or "norm" in name}
    assert {decay for name, (_, decay) in found.items() if name not in plain} == {0.05}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_without_layer_decay_there_are_the_two_groups_of_earlier_checkpoints(backbone):
    """An optimiser's state goes by the order of its parameters: another would resume into wrong moments."""
    task = task_of(backbone)
    decayed, plain = parameter_groups(task, 0.05, 1e-3)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.05, 0.0)
    assert decayed["lr"] == plain["lr"] == 1e-3
    order = {id(p): n for n, p in enumerate(task.parameters())}
    for group in (decayed, plain):
        places = [order[id(p)] for p in group["params"]]
        assert places == sorted(places)


def test_fixed_positions_are_in_no_group():
    task = task_of("deit_nano", pos_embed="sincos")
    assert "pos_embed" not in by_name(task, parameter_groups(task, 0.05, 1.0, 0.5))


def test_the_schedule_scales_every_group_alike_from_the_peak():
    task = task_of(
        "adventurer_nano", epochs=10, warmup_epochs=2.0, layer_decay=0.5, lr=1e-3, lr_base_size=32, global_batch_size=64
    )
    found = task.configure_optimizers()
    optimiser, schedule = found["optimizer"], found["lr_scheduler"]["scheduler"]
    peaks = [group["initial_lr"] for group in optimiser.param_groups]
    assert max(peaks) == pytest.approx(2e-3)
    assert min(peaks) == pytest.approx(2e-3 * 0.5 ** (DEPTH + 1))
    for step in range(10):
        factor = lr_factor(step, 2.0, 10)
        assert [g["lr"] for g in optimiser.param_groups] == pytest.approx([factor * peak for peak in peaks])
        optimiser.step()
        schedule.step()
    assert torch.tensor(peaks).unique().numel() == DEPTH + 2


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_gradients_are_clipped_in_mixed_precision_too(tiny, tmp_path, clip):
    """The default on a GPU: Lightning refuses it with a fused optimiser that says it can unscale."""
    from scaling.engine.train import train

    config = edit(tiny, precision="bf16-mixed", max_grad_norm=clip or None, epochs=1)
    assert train(config, tmp_path, RuntimeConfig(accelerator="cpu", threads=1, num_workers=0)).status == "finished"
