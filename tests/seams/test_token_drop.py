"""Another way of dropping tokens, added without editing the library: data, costs and the command line follow."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from scaling import costs
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.token_drop import TOKEN_DROPS
from scaling.data.datamodule import ImageDataModule


@dataclass(frozen=True, kw_only=True)
class HalfTheImages:
    """Three quarters of the patches of every second image."""

    kind: ClassVar[str] = "half_the_images"
    words: ClassVar[str] = "half the images"

    def rates(self, share, place, progress):
        return np.where(share < 0.5, 0.75, 0.0)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(TOKEN_DROPS, HalfTheImages.kind, HalfTheImages)


def test_it_is_trained_planned_and_stored(tiny):
    config = edit(tiny, packing="sequences", image_sizes="16", patch_size=4, token_drop="half_the_images")
    assert ExperimentConfig.from_dict(config.to_dict()) == config
    data = ImageDataModule(config)
    data.setup()
    counts = [count for batch in data.train_dataloader() for count in batch.rows.patch_counts]
    assert set(counts) == {4, 16}
    assert 0.3 < counts.count(4) / len(counts) < 0.7
    ends = [costs.recipe_step_flops(edit(config, token_drop="constant", drop_rate=rate)) for rate in (0.0, 0.75)]
    assert costs.recipe_step_flops(config) == pytest.approx(sum(ends) / 2, rel=1e-6)
