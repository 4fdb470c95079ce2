"""A flexible model frozen at a patch size is an ordinary checkpoint with the same outputs."""

import pytest
import torch

from experiments import export
from scaling.backbones.frozen import frozen_state
from scaling.backbones.registry import build_backbone
from scaling.config.edit import edit, make_config
from scaling.config.runtime import RuntimeConfig
from scaling.engine.train import train
from scaling.errors import ConfigError
from scaling.inference import load
from scaling.inference.fixed_patch import at_one_patch
from scaling.model_specs import MODEL_SPECS, ModelSpec
from tests.conftest import TINY

IMAGE = torch.linspace(-2, 2, 2 * 3 * 16 * 16, dtype=torch.float64).view(2, 3, 16, 16).sin()


@pytest.fixture(autouse=True)
def small_deit3(monkeypatch):
    """The shipped ones of this family are large."""
    monkeypatch.setitem(MODEL_SPECS, "deit3_pico", ModelSpec("deit3", 24, 3, 96, 8))


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("pos_embed", ["grid", "learned", "sincos"])
@pytest.mark.parametrize("backbone", ["deit_pico", "deit3_pico", "adventurer_pico"])
def test_features_are_those_of_the_flexible_model_at_that_patch(backbone, pos_embed):
    config = make_config(backbone=backbone, img_size=16, patch_size=2, patch_embed="flexible", pos_embed=pos_embed)
    model = build_backbone(config).double().eval()
    for patch in (8, 2, 1):
        plain = edit(config, patch_embed="conv", patch_size=patch, pos_embed="learned", seed=1)
        frozen = build_backbone(plain).double().eval()
        frozen.checkpoint_module.load_state_dict(frozen_state(model, patch))  # strict
        there, own = frozen(IMAGE), model(IMAGE, patch_size=patch)
        torch.testing.assert_close(there.pooled_ND, own.pooled_ND, atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(there.tokens_BLD, own.tokens_BLD, atol=1e-9, rtol=1e-9)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a flexible run of 4 steps."""
    results = tmp_path_factory.mktemp("results")
    config = edit(TINY, patch_embed="flexible", step_shapes="random_patch", pos_embed="grid", patch_size=4, epochs=1)
    train(config, results, RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, micro_batch_size=16))
    return results / config.run_id


def test_what_cannot_be_frozen_is_refused_with_the_reason(run):
    flexible = load(run)
    with pytest.raises(ConfigError, match="patch 5 does not divide a 16 px image"):
        at_one_patch(flexible, 5)
    with pytest.raises(ConfigError, match="only a flexible model is frozen"):
        frozen_state(build_backbone(TINY), 8)
    fixed = at_one_patch(flexible, 8)
    assert at_one_patch(fixed, 8) is fixed
    with pytest.raises(ConfigError, match=r"only a flexible model is frozen at a patch size: .* a single one, 8 px"):
        at_one_patch(fixed, 4)


def test_a_fixed_model_has_the_logits_of_the_flexible_one(run):
    flexible, image = load(run), torch.arange(2 * 3 * 16 * 16).view(2, 3, 16, 16).mul(37).remainder(256).byte()
    for patch in (4, 8, 16):
        found = at_one_patch(flexible, patch).module(image)
        torch.testing.assert_close(found, flexible.module(image, patch), atol=1e-6, rtol=1e-6)


def test_a_fixed_run_starts_from_an_exported_file(run, tmp_path):
    out = tmp_path / "frozen.safetensors"
    assert export.main([str(run), "--export", "safetensors", str(out), "--patch", "16"]) == 0
    fixed = edit(TINY, patch_size=16, initial_checkpoint=str(out))
    model, source = build_backbone(fixed).eval(), load(run).module.backbone
    image = IMAGE.float()
    torch.testing.assert_close(model(image).pooled_ND, source(image, patch_size=16).pooled_ND, atol=1e-6, rtol=1e-6)
