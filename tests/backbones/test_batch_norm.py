"""BatchNorm over tokens: equal to its definition, with statistics of each patch size, and refused where a batch is not
whole."""

import pytest
import torch

from scaling import costs
from scaling.backbones.batch_norm import EPS, MOMENTUM, TokenBatchNorm, batch_norms
from scaling.backbones.frozen import frozen_state
from scaling.backbones.registry import build_backbone
from scaling.config.edit import edit, make_config
from scaling.config.runtime import RuntimeConfig
from scaling.engine.micro_batch_sizes import check_sizes
from scaling.engine.train import train
from scaling.errors import ConfigError
from scaling.inference import load
from scaling.inference.fixed_patch import at_one_patch
from scaling.inference.timm_model import timm_model
from tests.conftest import TINY

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0)
FLEXIBLE = {"patch_embed": "flexible", "step_shapes": "random_patch", "pos_embed": "grid", "patch_size": 4}


@pytest.fixture
def x_BTD():
    return torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 + 1


def test_a_token_is_normed_by_the_mean_and_variance_over_all_tokens(x_BTD):
    norm = TokenBatchNorm(4).double().train()
    got = norm(x_BTD)
    for d in range(4):
        channel = [float(x_BTD[b, t, d]) for b in range(3) for t in range(5)]
        mean = sum(channel) / 15
        variance = sum((value - mean) ** 2 for value in channel) / 15
        wanted = (x_BTD[..., d] - mean) / (variance + EPS) ** 0.5
        torch.testing.assert_close(got[..., d], wanted, atol=1e-12, rtol=0)
        # In evaluation the running values count; torch keeps the variance of a sample, with n - 1.
        assert float(norm.running_mean[0, d]) == pytest.approx(MOMENTUM * mean, abs=1e-12)
        assert float(norm.running_var[0, d]) == pytest.approx(1 - MOMENTUM + MOMENTUM * variance * 15 / 14, abs=1e-12)
    mean_D, var_D = norm.running_mean[0].clone(), norm.running_var[0].clone()
    wanted = (x_BTD - mean_D) / (var_D + EPS).sqrt()
    torch.testing.assert_close(norm.eval()(x_BTD), wanted, atol=1e-12, rtol=0)
    assert torch.equal(norm.running_mean[0], mean_D)


def test_what_a_token_becomes_depends_on_other_tokens_unlike_with_layer_norm(x_BTD):
    changed = x_BTD.clone()
    changed[2, 4] += 3
    layer, batch = torch.nn.LayerNorm(4).double(), TokenBatchNorm(4).double()
    assert torch.equal(layer(x_BTD)[:2], layer(changed)[:2])
    assert not torch.allclose(batch(x_BTD)[:2], batch(changed)[:2])
    assert torch.equal(batch.eval()(x_BTD)[:2], batch(changed)[:2])


def test_a_patch_size_leaves_the_statistics_of_the_others(x_BTD):
    norm = TokenBatchNorm(4, patches=(2, 4, 8)).double()
    norm.patch_size = 4
    norm(x_BTD)
    assert [bool((row != 0).any()) for row in norm.running_mean] == [False, True, False]


def test_a_patch_size_without_statistics_has_those_of_the_nearest_ratio():
    norm = TokenBatchNorm(4, patches=(2, 4, 16))
    assert [norm.patches[norm.row(patch)] for patch in (1, 2, 3, 8, 12, 32)] == [2, 2, 4, 4, 16, 16]
    assert TokenBatchNorm(4).row(7) == 0


def test_a_model_has_them_in_place_of_all_layer_norms_with_as_many_parameters():
    config = make_config(backbone="deit_pico", img_size=16, patch_size=4, norm="batch")
    model = build_backbone(config)
    assert len(batch_norms(model)) == 2 * model.depth + 1
    assert not any(isinstance(module, torch.nn.LayerNorm) for module in model.modules())
    layers = build_backbone(edit(config, norm="layer"))
    assert [p.shape for p in model.parameters()] == [p.shape for p in layers.parameters()]
    assert costs.recipe_parameters(config) == costs.recipe_parameters(edit(config, norm="layer"))


@pytest.mark.usefixtures("doubles")
def test_a_model_frozen_at_a_patch_has_its_statistics():
    config = edit(TINY, **FLEXIBLE, norm="batch_per_patch")
    model = build_backbone(config).double().train()
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for patch in (4, 8, 16):
        model(images * patch, patch_size=patch)
    model.eval()
    for patch in (4, 8):
        plain = edit(TINY, patch_size=patch, norm="batch")
        frozen = build_backbone(plain).double().eval()
        frozen.checkpoint_module.load_state_dict(frozen_state(model, patch))
        own = model(images, patch_size=patch).pooled_ND
        torch.testing.assert_close(frozen(images).pooled_ND, own, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"backbone": "adventurer_nano"}, "norm batch is for DeiT, not adventurer"),
        ({"model_ema_decay": 0.9}, "norm batch has statistics that are no weights"),
        ({"packing": "sequences"}, "norm batch counts all tokens of rows, and rows of packed images"),
        ({"patch_embed": "adaptive", "patch_size": 4}, "norm batch counts all tokens of rows"),
        ({"task": "segment", "num_classes": 3}, "norm batch is for the task classify, not segment"),
        ({"norm": "instance"}, "unknown norm 'instance'"),
    ],
)
def test_what_statistics_of_a_batch_do_not_go_with_is_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        edit(TINY, **{"norm": "batch", **fields})


def test_a_batch_is_neither_cut_nor_shared():
    config = edit(TINY, norm="batch", global_batch_size=16)
    assert check_sizes(config, 1) == check_sizes(config, 1, 16) == [16]
    with pytest.raises(ConfigError, match="2 devices would have one share of it each: --devices 1 or --norm layer"):
        check_sizes(config, 2)
    with pytest.raises(ConfigError, match="a micro-batch of 8 is not that: leave out --micro-batch-size"):
        check_sizes(config, 1, 8)


def test_blocks_are_not_computed_again_and_nothing_is_written(tmp_path):
    settings = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, grad_checkpointing=True)
    with pytest.raises(ConfigError, match="count each batch twice"):
        train(edit(TINY, norm="batch"), tmp_path / "results", settings)
    assert not list(tmp_path.glob("results/classify*"))


def test_a_run_of_a_fixed_patch_starts_from_a_flexible_one_and_timm_has_no_such_model(tmp_path):
    config = edit(TINY, **FLEXIBLE, norm="batch_per_patch", epochs=1)
    train(config, tmp_path, CPU)
    run = tmp_path / config.run_id
    fixed = edit(TINY, patch_size=8, norm="batch", pos_embed="learned", epochs=0, initial_checkpoint=str(run))
    record = train(fixed, tmp_path, CPU)
    assert record.status == "finished"
    flexible, images = load(run), torch.arange(2 * 3 * 16 * 16).view(2, 3, 16, 16).mul(37).remainder(256).byte()
    alone = at_one_patch(flexible, 8)
    assert alone.config.model.norm == "batch"
    torch.testing.assert_close(alone.module(images), flexible.module(images, 8), atol=1e-6, rtol=1e-6)
    with pytest.raises(ConfigError, match=r"timm's model has no place for these weights .*running_mean"):
        timm_model(alone)
