"""FLOPs as torch counts them, of models that the cost model does not know: before training, whatever is in them."""

import functools

import pytest
import timm
import torch
from torch import nn

from scaling import costs
from scaling.config.edit import edit, make_config
from scaling.engine import counted_flops, train
from scaling.tasks.classification import ClassificationTask

SMALL = make_config(backbone="deit_nano", img_size=32, patch_size=8)


def test_attention_counts_as_much_as_in_the_cost_model():
    """It is a tenth of this model, and nothing where a counter does not know the CPU's fused kernel."""
    fine = edit(SMALL, patch_size=2)
    assert counted_flops.counted_flops(ClassificationTask(fine, 1)) == pytest.approx(
        costs.recipe_flops(fine), rel=0.005
    )
    assert costs.recipe_flops_by_part(fine)["attention"] > 0.1 * costs.recipe_flops(fine)


def test_with_numbers_and_without_the_count_is_one():
    task = ClassificationTask(SMALL, 1)
    assert counted_flops._count(task, 32) == counted_flops._count(counted_flops._without_numbers(task), 32)


def test_a_task_is_left_as_it_was(monkeypatch):
    def fail(task):
        raise RuntimeError("not without numbers")

    monkeypatch.setattr(counted_flops, "_without_numbers", fail)
    task = ClassificationTask(SMALL, 1)
    task.backbone.vit.norm.eval()
    task.backbone.vit.pos_embed.requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    random = torch.get_rng_state()
    assert counted_flops.counted_flops(task) > 0
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, state[name]) for name, tensor in task.state_dict().items())
    assert [name for name, p in task.named_parameters() if not p.requires_grad] == ["backbone.vit.pos_embed"]
    assert [name for name, m in task.named_modules() if not m.training] == ["backbone.vit.norm"]


def test_a_model_that_cannot_be_counted_counts_nothing():
    class Odd(nn.Module):
        config, total_steps = SMALL, 1

        def forward(self, image):
            raise RuntimeError("no")

    assert counted_flops.counted_flops(Odd()) == 0


def test_a_run_with_attention_pooling_is_finished_and_has_its_flops(tiny, tmp_path, monkeypatch):
    """There a parameter is a module's input, which torch's counter stumbled over once the training was done."""
    monkeypatch.setattr(timm, "create_model", functools.partial(timm.create_model, depth=1))
    name = "timm:vit_base_patch16_siglip_224"
    config = edit(tiny, backbone=name, drop_path=0.0, num_train=16, num_val=4, epochs=1)
    record = train.train(config, tmp_path, train.RuntimeConfig(accelerator="cpu", threads=1, num_workers=0))
    assert record.status == "finished"
    assert record.flops_per_image > 0
