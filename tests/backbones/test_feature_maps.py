"""Any module that makes one map is a backbone, and so is a model of timm with feature maps."""

import pytest
import timm
import torch
from torch import nn

from scaling.backbones.feature_maps import FeatureMapBackbone, timm_maps
from scaling.backbones.registry import build_backbone
from scaling.config.edit import make_config
from scaling.errors import ConfigError


def images(side=32):
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_tokens_are_the_cells_of_the_map_row_by_row():
    net = nn.Conv2d(3, 5, 8, stride=8)
    features = FeatureMapBackbone(net, 5, 8)(images(), blocks=(0,))
    map_BDhw = net(images())
    assert torch.equal(features.to_map(), map_BDhw)
    assert torch.equal(features.tokens_BLD[:, 4 + 1], map_BDhw[:, :, 1, 1])
    assert torch.allclose(features.pooled_ND, map_BDhw.mean((2, 3)))
    assert torch.equal(features.hidden_maps()[0], map_BDhw)


def test_a_map_of_another_shape_is_refused_with_both_shapes():
    with pytest.raises(ConfigError, match=r"Conv2d made a map \(2, 5, 8, 8\) from .* ask for \(2, 5, 4, 4\)"):
        FeatureMapBackbone(nn.Conv2d(3, 5, 4, stride=4), 5, 8)(images())
    with pytest.raises(ConfigError, match="only patch size"):
        FeatureMapBackbone(nn.Conv2d(3, 5, 8, stride=8), 5, 8)(images(), patch_size=4)


@pytest.mark.parametrize("patch", [4, 8])
def test_features_are_those_of_timm_at_the_stride(patch):
    backbone = timm_maps("resnet10t", patch).eval()
    whole = timm.create_model("resnet10t", features_only=True).eval()
    whole.load_state_dict({**whole.state_dict(), **backbone.checkpoint_module.state_dict()})
    expected = whole(images())[whole.feature_info.reduction().index(patch)]
    assert torch.equal(backbone(images()).to_map(), expected)
    assert backbone.width == expected.shape[1]


def test_weights_follow_from_the_seed_alone():
    def first(seed):
        config = make_config(backbone="timm_maps:resnet10t", img_size=32, patch_size=8, seed=seed)
        return [p.clone() for p in build_backbone(config).parameters()]

    assert all(map(torch.equal, first(0), first(0)))
    assert not all(map(torch.equal, first(0), first(1)))


@pytest.mark.parametrize(
    ("name", "patch", "said"),
    [
        ("resnet10t", 5, "has maps of strides 2, 4, 8, 16, 32 px: --patch-size 5 is none of them"),
        ("resnet10", 8, "timm has no model 'resnet10'; similar names: resnet"),
    ],
)
def test_what_timm_does_not_have_is_refused_by_a_line(name, patch, said):
    with pytest.raises(ConfigError, match=said):
        timm_maps(name, patch)
