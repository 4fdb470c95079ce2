"""Plain ViTs of timm's as backbones: features are timm's own, weights load by timm's own function."""

import pytest
import timm
import torch

from scaling.backbones.registry import build_backbone
from scaling.backbones.timm_vit import TimmViT
from scaling.config.edit import edit, make_config
from scaling.config.runtime import RuntimeConfig
from scaling.engine.train import train
from scaling.errors import ConfigError

NAMES = ["vit_tiny_patch16_224", "vit_small_patch14_dinov2", "vit_small_patch16_dinov3", "eva02_tiny_patch14_224"]
IMAGE = torch.linspace(-2, 2, 2 * 3 * 32 * 32).view(2, 3, 32, 32).sin()


@pytest.mark.parametrize("name", NAMES)
def test_weights_at_another_image_and_patch_give_timms_own_features(name, tmp_path):
    torch.manual_seed(0)
    pretrained = timm.create_model(name, pretrained=False, img_size=56, num_classes=5)
    torch.save(pretrained.state_dict(), tmp_path / "weights.pth")
    backbone = build_backbone(
        make_config(
            backbone=f"timm:{name}", img_size=32, patch_size=8, initial_checkpoint=str(tmp_path / "weights.pth")
        )
    ).eval()
    wanted = timm.create_model(name, num_classes=0, img_size=32, patch_size=8).eval()
    wanted.load_state_dict(backbone.checkpoint_module.state_dict())
    with torch.no_grad():
        features = backbone(IMAGE, (0, backbone.depth - 1))
        final = wanted.forward_features(IMAGE)
        torch.testing.assert_close(features.pooled_ND, wanted.forward_head(final, pre_logits=True))
    prefix = wanted.num_prefix_tokens
    torch.testing.assert_close(features.tokens_BLD, final[:, prefix:])
    assert torch.equal(features.hidden[1], features.tokens_BLD)
    key = "blocks.1.mlp.fc2.weight" if "eva02" not in name else "blocks.1.mlp.fc1_g.weight"
    source = pretrained.state_dict()
    if key in source:
        assert torch.equal(backbone.checkpoint_module.state_dict()[key], source[key])


def test_a_model_that_was_made_elsewhere_is_a_backbone_as_it_is():
    model = timm.create_model("vit_tiny_patch16_224", dynamic_img_size=True).eval()
    backbone = TimmViT(model=model)
    assert (backbone.width, backbone.stride, backbone.depth, backbone.dynamic_img_size) == (192, 16, 12, True)
    assert backbone(torch.zeros(1, 3, 32, 48)).to_map().shape == (1, 192, 2, 3)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vit_tiny_patch16_22", "timm has no model 'vit_tiny_patch16_22'; similar names: vit_"),
        ("swin_tiny_patch4_window7_224", "not a plain ViT: its feature stride must be constant"),
        ("resnet18", "not a plain ViT that can be built for 32 px and patch 8"),
    ],
)
def test_what_is_no_plain_vit_is_refused(name, said):
    with pytest.raises(ConfigError, match=said):
        build_backbone(make_config(backbone=f"timm:{name}", img_size=32, patch_size=8))


def test_weights_of_another_model_are_refused(tmp_path):
    torch.save(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="do not fit"):
        build_backbone(
            make_config(
                backbone="timm:vit_small_patch16_dinov3",
                img_size=32,
                patch_size=8,
                initial_checkpoint=str(tmp_path / "w.pth"),
            )
        )


@pytest.mark.parametrize("field", ["pos_embed", "drop_path", "embed_patch_size"])
def test_fields_that_are_not_for_timms_backbones_are_refused(field):
    value = {"pos_embed": "sincos", "drop_path": 0.1, "embed_patch_size": 16}[field]
    with pytest.raises(ConfigError, match="is not for timm's backbones"):
        make_config(backbone="timm:vit_tiny_patch16_224", img_size=32, patch_size=8, **{field: value})


def test_it_classifies_too(tiny, tmp_path):
    config = edit(tiny, backbone="timm:vit_tiny_patch16_224", drop_path=0.0, num_train=16, epochs=1)
    record = train(config, tmp_path, RuntimeConfig(accelerator="cpu", threads=1, num_workers=0))
    assert record.status == "finished"
    assert record.run_id.startswith("classify-shapes-timm_vit_tiny_patch16_224-16px-p8-s0")
