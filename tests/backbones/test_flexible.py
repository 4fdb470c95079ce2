"""DeiT and Adventurer at every patch size with one set of weights."""

import pytest
import torch

from scaling import costs
from scaling.backbones.checkpoint_io import load_state
from scaling.backbones.registry import build_backbone
from scaling.backbones.resampling import resize_kernel, resize_matrix
from scaling.config.edit import edit, make_config
from scaling.errors import ConfigError
from scaling.model_specs import MODEL_SPECS, ModelSpec

FAMILIES = ("deit_pico", "adventurer_pico")
IMAGE = torch.linspace(-2, 2, 2 * 3 * 16 * 16).view(2, 3, 16, 16).sin()


@pytest.fixture(autouse=True)
def small_deit3(monkeypatch):
    """The shipped ones of this family are large."""
    monkeypatch.setitem(MODEL_SPECS, "deit3_pico", ModelSpec("deit3", 24, 3, 96, 8))


def flexible(backbone, **fields):
    fields = {"patch_embed": "flexible", "pos_embed": "grid", "img_size": 16, "patch_size": 2, **fields}
    return make_config(backbone=backbone, **fields)


@pytest.mark.parametrize("pos_embed", ["grid", "learned", "sincos"])
@pytest.mark.parametrize("backbone", FAMILIES)
def test_a_backbone_runs_at_every_patch_size_and_learns_from_each(backbone, pos_embed):
    model = build_backbone(flexible(backbone, pos_embed=pos_embed))
    for patch in (16, 8, 4, 2, 1):
        model.zero_grad()
        features = model(IMAGE, (0,), patch_size=patch)
        assert features.to_map().shape == (2, model.width, 16 // patch, 16 // patch)
        assert features.layout.patch_px == patch
        (features.pooled_ND * torch.arange(model.width)).sum().backward()  # the plain sum of a norm is constant
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
        kernel = model.checkpoint_module.patch_embed.proj.weight
        assert kernel.shape[-1] == 32
        assert kernel.grad.abs().sum() > 0
    assert torch.equal(model(IMAGE).tokens_BLD, model(IMAGE, patch_size=2).tokens_BLD)
    with pytest.raises(ConfigError, match="patches of 5 px do not tile images of 16 x 16 px"):
        model(IMAGE, patch_size=5)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("backbone", FAMILIES)
def test_features_do_not_move_where_patches_are_enlarged_with_their_kernel(backbone):
    """An image of patches of 4 px, each resized by itself to 8 px: the same features at patch 8 from a kernel of 4 px,
    by PI-resize; not by any other method."""
    line = torch.from_numpy(resize_matrix(4, 8, True))
    patches = IMAGE.double().unfold(2, 4, 4).unfold(3, 4, 4)  # B C h w 4 4
    large = (line @ patches @ line.T).permute(0, 1, 2, 4, 3, 5).reshape(2, 3, 32, 32)
    for resize in ("pi", "vanilla", "norm", "area"):
        config = flexible(backbone, patch_size=4, kernel_size=4, resize=resize)
        model = build_backbone(config).double().eval()
        off = (model(large, patch_size=8).pooled_ND - model(IMAGE.double()).pooled_ND).abs().max()
        assert (off < 1e-9) == (resize == "pi"), (resize, off)


@pytest.mark.parametrize("backbone", FAMILIES)
def test_with_a_kernel_of_the_patch_it_is_the_plain_embedding_bit_for_bit(backbone):
    plain = build_backbone(make_config(backbone=backbone, img_size=16, patch_size=4))
    same = build_backbone(flexible(backbone, patch_size=4, kernel_size=4, pos_embed="learned"))
    assert torch.equal(plain(IMAGE).tokens_BLD, same(IMAGE).tokens_BLD)


@pytest.mark.parametrize("backbone", FAMILIES)
def test_frozen_at_a_patch_it_is_a_plain_backbone(backbone):
    """The kernel resized once and positions at that grid, in a model with a convolution and learned positions."""
    model = build_backbone(flexible(backbone, patch_size=2)).eval()
    plain = build_backbone(make_config(backbone=backbone, img_size=16, patch_size=8, pos_embed="sincos")).eval()
    state = plain.checkpoint_module.state_dict()
    own = model.checkpoint_module.state_dict()
    state |= {name: own[name] for name in state if "patch_embed" not in name and "pos_embed" not in name}
    weight = own["patch_embed.proj.weight"]
    state |= {
        "patch_embed.proj.bias": own["patch_embed.proj.bias"],
        "patch_embed.proj.weight": resize_kernel(weight, 8),
    }
    plain.checkpoint_module.load_state_dict(state)
    tokens = [one.checkpoint_module.patch_embed(IMAGE, 8)[0] for one in (model, plain)]
    torch.testing.assert_close(*tokens, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("pos_embed", ["grid", "learned"])
@pytest.mark.parametrize("backbone", FAMILIES)
def test_its_weights_load_into_it_as_they_are(backbone, pos_embed):
    first, second = (build_backbone(flexible(backbone, seed=seed, pos_embed=pos_embed)) for seed in (0, 1))
    load_state(second, first.checkpoint_module.state_dict(), "the first")
    for patch in (8, 2):
        assert torch.equal(first(IMAGE, patch_size=patch).pooled_ND, second(IMAGE, patch_size=patch).pooled_ND)


@pytest.mark.parametrize("backbone", FAMILIES)
def test_a_fixed_models_weights_load_into_a_flexible_one(backbone):
    fixed = build_backbone(make_config(backbone=backbone, img_size=16, patch_size=4))
    model = build_backbone(flexible(backbone, kernel_size=4))
    load_state(model, fixed.checkpoint_module.state_dict(), "a fixed model")
    own = model.checkpoint_module
    assert torch.equal(own.patch_embed.proj.weight, fixed.checkpoint_module.patch_embed.proj.weight)
    assert own.pos_embed.shape[1] == 7 * 7 + 1


@pytest.mark.parametrize("pos_embed", ["grid", "learned", "sincos"])
@pytest.mark.parametrize("backbone", ["deit_pico", "deit3_pico", "adventurer_pico"])
def test_the_parameters_are_those_that_the_costs_count(backbone, pos_embed):
    config = flexible(backbone, pos_embed=pos_embed, kernel_size=12, num_classes=2)
    counted = costs.recipe_parameters(config) - 2 * (build_backbone(config).width + 1)
    assert sum(p.numel() for p in build_backbone(config).parameters() if p.requires_grad) == counted


def test_the_positions_of_a_class_token_are_no_part_of_the_grid():
    for backbone in FAMILIES:
        model = build_backbone(edit(flexible(backbone), grid_size=1)).checkpoint_module
        table = model.pos_embed
        assert table.shape[1] == 2
        with torch.no_grad():
            table.zero_()
            table[:, 0 if "deit" in backbone else -1] = 7.0
        patches_BLD, layout = model.patch_embed(IMAGE, 4)
        token_11D = torch.zeros(1, 1, table.shape[2])
        places = (token_11D, None) if "deit" in backbone else (None, token_11D)
        x_BTD, layout = layout.with_class_tokens(torch.zeros_like(patches_BLD), *places)
        found = model.positions.add(x_BTD, layout, table)[0, :, 0]
        assert found.tolist().count(7.0) == 1
        assert found[0 if "deit" in backbone else -1] == 7.0
