"""A named recipe with sines and a backbone of timm's: the error says what to add."""

import re

import pytest

from experiments.cli.resolve import resolve
from scaling.errors import ConfigError


def test_the_error_names_the_options_that_make_it_a_recipe():
    given = {"backbone": "timm:vit_tiny_patch16_224"}
    for _ in range(3):
        try:
            (config,) = resolve("shapes.deit_nano", 8, given)
            break
        except ConfigError as e:
            name, value = re.search(r"add --(\S+) (\S+)$", str(e)).groups()
            given[name.replace("-", "_")] = float(value) if name == "drop-path" else value
    assert config.model.pos_embed.kind == "learned"
    assert config.model.backbone == "timm:vit_tiny_patch16_224"


def test_the_option_is_spelled_as_on_the_command_line():
    with pytest.raises(ConfigError, match=r"pos_embed sincos is not for timm's backbones.* add --pos-embed learned$"):
        resolve("shapes.deit_nano", 8, {"backbone": "timm:vit_tiny_patch16_224", "drop_path": 0.0})
