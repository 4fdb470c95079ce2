from dataclasses import MISSING, dataclass
from typing import ClassVar

import pytest

from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.fields import config_field
from scaling.config.packing import PACKINGS
from scaling.config.patch_embeds import PATCH_EMBEDS
from scaling.config.reference import by_leaf, rows, runtime_rows
from scaling.config.runtime import AUTOMATIC, OLD_NAMES, RuntimeConfig
from scaling.errors import ConfigError


def test_the_last_part_of_a_name_is_unique():
    for leaf, found in by_leaf(rows()).items():
        assert len({row.name for row in found}) == 1, leaf
    assert not set(by_leaf(rows())) & set(by_leaf(runtime_rows()))


def test_every_field_has_a_help_and_defaults_are_those_of_the_dataclasses():
    config = make_config()
    for row in rows():
        assert row.help
        assert row.flag == "--" + row.leaf.replace("_", "-")
        if not row.of and row.type != "kind":
            value = config
            for part in row.name.split("."):
                value = getattr(value, part)
            assert value == row.default
        if row.choices and row.type == "str" and row.default is not MISSING and row.default is not None:
            assert row.default in row.choices


def test_old_names_of_the_runtime_lead_to_fields_of_now():
    assert set(OLD_NAMES.values()) <= set(by_leaf(runtime_rows()))
    assert {OLD_NAMES.get(name, name) for name in AUTOMATIC} <= set(by_leaf(runtime_rows()))
    with pytest.raises(ConfigError, match="num_nodes 0 must be 1 or more"):
        RuntimeConfig(num_nodes=0)
    with pytest.raises(ConfigError, match="did you mean fsdp"):
        RuntimeConfig(strategy="fdsp")


@dataclass(frozen=True, kw_only=True)
class Overlapping:
    """A patch embedding that the library does not have."""

    kind: ClassVar[str] = "overlapping"
    patch_size: int = config_field("side of a patch", 4)
    overlap: int = config_field("pixels that neighbouring patches share", 1)

    def check_image(self, img_size: int) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A packing that the library does not have."""

    kind: ClassVar[str] = "rows"
    row_tokens: int = config_field("tokens of a row", 256)


def test_a_kind_is_added_to_a_union_without_a_change_of_the_library(monkeypatch):
    monkeypatch.setitem(PATCH_EMBEDS, Overlapping.kind, Overlapping)
    monkeypatch.setitem(PACKINGS, Rows.kind, Rows)
    assert {"overlap", "row_tokens"} <= set(by_leaf(rows()))
    config = edit(make_config(), overlap=2, packing="rows", row_tokens=64)
    assert config.model.patch_embed == Overlapping(patch_size=4, overlap=2)
    assert config.packing == Rows(row_tokens=64)
    assert ExperimentConfig.from_dict(config.to_dict()) == config
    assert config.run_id != edit(config, overlap=1).run_id != make_config().run_id
    assert config.group == edit(config, patch_size=2, seed=3).group
    assert edit(config, overlap=None, packing="none") == make_config()
