"""A patch embedding is added from outside the library: backbones take it, at patch sizes that change between calls."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scaling.backbones.adventurer_backbone import AdventurerBackbone
from scaling.backbones.base import TokenLayout
from scaling.backbones.deit import Deit
from scaling.backbones.patch_embed import PatchEmbed, check_image
from scaling.backbones.patch_embeds import PATCH_EMBEDS, build_patch_embed
from scaling.config.edit import make_config
from scaling.config.fields import config_field
from scaling.config.patch_embeds import PATCH_EMBEDS as PARTS
from scaling.config.patch_size import check_patch
from scaling.errors import ConfigError
from scaling.model_specs import MODEL_SPECS
from scaling.runs.record import RunRecord

BACKBONES = [(Deit, MODEL_SPECS["deit_pico"]), (AdventurerBackbone, MODEL_SPECS["adventurer_pico"])]
IMAGE = torch.linspace(-2, 2, 2 * 3 * 16 * 16).view(2, 3, 16, 16).sin()


class ResizedKernel(PatchEmbed):
    """One kernel, resized to the patch size of each call."""

    def __init__(self, channels: int, width: int, image: int, patch_size: int, gain: float = 1.0) -> None:
        super().__init__(channels, width, image, patch_size)
        self.gain, self.proj = gain, nn.Conv2d(channels, width, patch_size, patch_size)

    def forward(self, image_BCHW: Tensor, patch_size: int | None = None) -> tuple[Tensor, TokenLayout]:
        patch = patch_size or self.patch_size
        grid = check_image(image_BCHW, patch)
        kernel = self.gain * F.interpolate(self.proj.weight, (patch, patch), mode="bilinear")
        map_BDhw = F.conv2d(image_BCHW, kernel, self.proj.bias, patch)
        return map_BDhw.flatten(2).transpose(1, 2), TokenLayout(patch, image_BCHW.device, grid)


@dataclass(frozen=True, kw_only=True)
class Resized:
    """The fields of ResizedKernel."""

    kind: ClassVar[str] = "resized"
    patch_size: int = config_field("side of a square patch", 4)
    gain: float = config_field("factor of the kernel", 1.0)

    def check_image(self, img_size: int) -> None:
        check_patch(img_size, self.patch_size)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(PATCH_EMBEDS, "resized", ResizedKernel)
    monkeypatch.setitem(PARTS, "resized", Resized)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("family", "size"), BACKBONES)
def test_a_backbone_runs_at_every_patch_size_of_its_embedding(family, size):
    embed = build_patch_embed("resized", 3, size.width, 16, 4, gain=2.0)
    backbone = family(size, 16, 4, patch_embed=embed)
    backbone.initialise(0)
    for patch in (8, 4, 2):
        features = backbone(IMAGE, (0,), patch_size=patch)
        assert features.to_map().shape == features.hidden_maps()[0].shape == (2, size.width, 16 // patch, 16 // patch)
        assert features.layout.patch_px == patch
    assert torch.equal(backbone(IMAGE).tokens_BLD, backbone(IMAGE, patch_size=4).tokens_BLD)
    backbone(IMAGE, patch_size=8).pooled_ND.sum().backward()
    assert embed.proj.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("family", "size"), BACKBONES)
def test_a_convolution_has_one_patch_size(family, size):
    with pytest.raises(ConfigError, match=r"^patch 2 differs from 4, the only patch size of this embedding[^\n]*$"):
        family(size, 16, 4)(IMAGE, patch_size=2)


@pytest.mark.usefixtures("registered")
def test_a_run_trains_it(trained):
    config = make_config(
        gain=2.0,
        backbone="deit_pico",
        img_size=16,
        patch_size=8,
        epochs=1,
        global_batch_size=8,
        num_train=16,
        num_val=8,
        seed=7,
    )
    record = RunRecord.load(trained(config) / config.run_id)
    assert record.status == "finished"


def test_the_registry_is_as_before_afterwards():
    own = ["conv", "extended", "flexible", "overlapping", "conv_stem", "hierarchical", "adaptive"]
    assert list(PATCH_EMBEDS) == own
    with pytest.raises(ConfigError, match="did you mean extended"):
        build_patch_embed("extendd", 3, 8, 16, 4)
