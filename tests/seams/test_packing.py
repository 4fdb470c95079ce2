"""Several images in a row: the configuration and TokenLayout have a place for them; data and backbones refuse them.
Nothing in the library is edited."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from scaling.backbones.registry import build_backbone
from scaling.config.edit import edit, make_config
from scaling.config.packing import PACKINGS
from scaling.data.datamodule import ImageDataModule
from scaling.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Images in rows of so many tokens."""

    kind: ClassVar[str] = "rows"
    row_tokens: int = 256


def test_a_packing_that_no_data_reads_is_refused_before_the_data_are_opened(tiny, monkeypatch):
    monkeypatch.setitem(PACKINGS, Rows.kind, Rows)
    data = ImageDataModule(edit(tiny, packing=Rows()))
    with pytest.raises(ConfigError, match=r"^packing rows is not that of any data"):
        data.setup()
    assert not data.is_set_up


@pytest.mark.parametrize("name", ["deit_pico", "adventurer_pico"])
def test_a_backbone_refuses_rows_of_several_images(name, monkeypatch):
    backbone = build_backbone(make_config(backbone=name, img_size=16, patch_size=8))
    embed = backbone.checkpoint_module.patch_embed
    forward = embed.forward

    def packed(image_BCHW, patch_size=None):
        tokens_BLD, layout = forward(image_BCHW, patch_size)
        return tokens_BLD, replace(layout, image_ids_BL=torch.tensor([[0, 0, 1, 1]]))

    monkeypatch.setattr(embed, "forward", packed)
    with pytest.raises(ConfigError, match="takes one image per row"):
        backbone(torch.zeros(1, 3, 16, 16))


def test_the_registry_is_as_before_afterwards():
    assert list(PACKINGS) == ["none"]
