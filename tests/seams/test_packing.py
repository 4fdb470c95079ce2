"""Several images in a row: the configuration and TokenLayout have a place for them; data and backbones refuse them.
Nothing in the library is edited."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from scaling.config.edit import edit
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


def test_the_registry_is_as_before_afterwards():
    assert list(PACKINGS) == ["none", "sequences"]
