"""What lies between the blocks, read by hooks: at the places that are stated, and averaged by area."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scaling.backbones.activations import CLASS, PATCHES, activations, averaged, points
from scaling.backbones.base import Backbone
from scaling.backbones.registry import build_backbone
from scaling.config.edit import make_config
from scaling.errors import ConfigError

IMAGE = torch.linspace(-2, 2, 3 * 3 * 16 * 16).view(3, 3, 16, 16).sin()
TIMM = ("timm:vit_tiny_patch16_224", "timm:vit_small_patch16_dinov3", "timm:vit_base_patch16_siglip_224")


def built(name, patch=4):
    return build_backbone(make_config(backbone=name, img_size=16, patch_size=patch)).eval()


@pytest.mark.parametrize("name", ["deit_nano", "adventurer_nano"])
def test_patches_after_a_block_are_the_backbones_hidden_tokens_before_the_norm(name):
    backbone = built(name)
    norm = backbone.vit.norm if name.startswith("deit") else backbone.net.norm_f
    found = activations(backbone, IMAGE, cells=4)
    with torch.no_grad():
        wanted = backbone(IMAGE, range(backbone.depth))
        for n in range(backbone.depth):
            tokens_BLD = norm(found[PATCHES, f"{n + 1}"].view(3, 16, -1))
            torch.testing.assert_close(tokens_BLD, wanted.hidden[n])
        torch.testing.assert_close(norm(found[CLASS, f"{backbone.depth}"]), wanted.pooled_ND)
    assert list(found) == points(backbone)


@pytest.mark.parametrize("name", ["deit_nano", "adventurer_nano"])
def test_half_a_block_is_its_mixer_added_to_what_came_in(name):
    backbone = built(name)
    block, norm = backbone.residual_stream().blocks[0], backbone.residual_stream().mlp_norm
    rows = {}
    with block.register_forward_hook(lambda module, given, made: rows.update(given=given[0], made=made)):
        found = activations(backbone, IMAGE, cells=4)
    token = 0 if name.startswith("deit") else -1
    with torch.no_grad():
        after = found[CLASS, "1 mix"] + block.mlp(block.get_submodule(norm)(found[CLASS, "1 mix"]))
    torch.testing.assert_close(after, rows["made"][:, token])
    assert not torch.allclose(found[PATCHES, "1 mix"], found[PATCHES, "embed"])


@pytest.mark.parametrize("name", TIMM)
def test_timms_models_are_read_at_the_same_places(name):
    backbone = build_backbone(make_config(backbone=name, img_size=32, patch_size=16)).eval()
    image = IMAGE.repeat(1, 1, 2, 2)
    found = activations(backbone, image, cells=1)
    with torch.no_grad():
        last = backbone(image, (backbone.depth - 1,)).hidden[0]
        tokens = activations(backbone, image, cells=2)[PATCHES, f"{backbone.depth}"].view(3, 4, -1)
        torch.testing.assert_close(backbone.net.norm(tokens), last)
    assert ((CLASS, "1") in found) == ("siglip" not in name)
    assert (PATCHES, "1 mix") in found


def test_no_hook_is_left_and_the_features_are_not_changed():
    backbone = built("deit_nano")
    with torch.no_grad():
        before = backbone(IMAGE).pooled_ND
        activations(backbone, IMAGE, cells=2)
        assert torch.equal(backbone(IMAGE).pooled_ND, before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in backbone.modules())


def test_a_grid_that_divides_is_averaged_in_blocks():
    map_BhwD = torch.arange(2 * 4 * 6 * 3, dtype=torch.float64).view(2, 4, 6, 3)
    blocks = map_BhwD.view(2, 2, 2, 2, 3, 3).mean((2, 4))
    torch.testing.assert_close(averaged(map_BhwD, 2), blocks)
    assert torch.equal(averaged(map_BhwD[:, :, :4], 4), map_BhwD[:, :, :4])


@given(st.integers(1, 12), st.integers(1, 12))
def test_other_grids_are_averaged_by_area(n, cells):
    """Against the mean over n * cells pixels, as if every patch were painted."""
    values = np.sin(np.arange(n))
    painted = np.repeat(values, cells).reshape(cells, n).mean(1)
    found = averaged(torch.from_numpy(values).view(1, n, 1, 1).expand(1, n, n, 1), cells)
    np.testing.assert_allclose(found[0, :, 0, 0], painted, atol=1e-12)


def test_a_backbone_that_states_no_places_is_refused():
    with pytest.raises(ConfigError, match="Backbone does not state where its tokens between blocks are"):
        points(Backbone(8, 4, 2))
