"""What a backbone of timm's wants without weight decay gets none."""

import functools

import pytest
import timm

from scaling.config.edit import make_config
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.optim import parameter_groups


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("beit_base_patch16_224", "blocks.0.attn.relative_position_bias_table"),
        ("vit_small_patch14_reg4_dinov2", "reg_token"),
        ("deit_tiny_distilled_patch16_224", "dist_token"),
        ("vit_small_patch16_rope_mixed_224", "rope.freqs"),
    ],
)
def test_names_of_no_weight_decay_have_none(monkeypatch, name, wanted):
    monkeypatch.setattr(timm, "create_model", functools.partial(timm.create_model, depth=1))
    task = ClassificationTask(make_config(backbone=f"timm:{name}", img_size=32, patch_size=8), 1)
    parameter = dict(task.backbone.net.named_parameters())[wanted]
    assert parameter.ndim > 1
    (decay,) = {
        group["weight_decay"] for group in parameter_groups(task, 0.05, 1.0) for p in group["params"] if p is parameter
    }
    assert decay == 0
    assert {group["weight_decay"] for group in parameter_groups(task, 0.05, 1.0)} == {0.0, 0.05}
