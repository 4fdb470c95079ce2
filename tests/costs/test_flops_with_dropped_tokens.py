"""Planned training FLOPs with dropped tokens: the mean over rates, and not those of the mean number of tokens."""

import numpy as np
import pytest

from scaling import costs
from scaling.config.at_shape import model_shape
from scaling.config.edit import edit
from scaling.config.step_shapes import StepShape
from scaling.costs.run_flops import cumulated_flops, shape_flops
from scaling.costs.whole_model import recipe_flops
from scaling.data.datamodule import ImageDataModule

BACKBONES = pytest.mark.parametrize("name", ["deit_nano", "adventurer_nano"])


@pytest.fixture
def packed(tiny):
    """Images of 64 patches."""
    return edit(tiny, packing="sequences", image_sizes="16", pos_embed="sincos", patch_size=2)


def forward(config):
    return costs.recipe_step_flops(config) / 3


def drawn_flops(config):
    """FLOPs of a forward pass per training image of a run, by the tokens of its batches."""
    data = ImageDataModule(config)
    data.setup()
    found = []
    for batch in data.train_dataloader():
        for (h, _), count in zip(batch.rows.grids, batch.rows.patch_counts, strict=True):
            found.append(recipe_flops(config, StepShape(config.model.patch_size, h * config.model.patch_size), count))
    return np.array(found)


@BACKBONES
@pytest.mark.parametrize("drop", ["constant", "beta", "resolution", "schedule"])
def test_they_are_those_of_the_tokens_that_batches_hold(packed, name, drop):
    config = edit(packed, backbone=name, token_drop=drop, image_sizes="8-16", num_train=512, epochs=2)
    found = drawn_flops(config)
    assert len(found) == 1024
    # within 4 standard errors of the mean of the images that are drawn
    assert abs(found.mean() - forward(config)) < 4 * found.std() / np.sqrt(len(found))


@BACKBONES
def test_attention_has_the_mean_of_squares(packed, name):
    beta = edit(packed, backbone=name, token_drop="beta", drop_mean=0.5, drop_most=0.9)
    constant = edit(packed, backbone=name, drop_rate=0.5)
    variance = 0.9**2 * 0.3 * (5 / 9) * (4 / 9) * 64**2 + 1 / 6  # of the kept patches; that of the rounding is 1/6
    quadratic = 4 * 3 * 48 if name == "deit_nano" else 0  # FLOPs per pair of tokens: 3 blocks of width 48
    assert forward(beta) - forward(constant) == pytest.approx(quadratic * variance, rel=0.01, abs=50)


@BACKBONES
def test_a_whole_number_of_kept_patches_costs_what_an_image_of_as_many_tokens_costs(packed, name):
    packed = edit(packed, backbone=name)
    assert forward(edit(packed, drop_rate=0.75)) == recipe_flops(packed, StepShape(2, 8))  # 16 of 64
    assert forward(edit(packed, drop_rate=0.0)) == recipe_flops(packed)


def test_rounding_to_whole_patches_is_a_mean_of_both_neighbours(packed):
    kept = [recipe_flops(packed, model_shape(packed), n) for n in (19, 20)]
    assert forward(edit(packed, drop_rate=0.7)) == pytest.approx(0.8 * kept[0] + 0.2 * kept[1], rel=1e-6)  # 19.2
    assert forward(edit(packed, drop_rate=0.999)) == recipe_flops(packed, model_shape(packed), 1)


def test_a_schedule_spends_its_flops_when_it_keeps_many_tokens(packed):
    late = edit(packed, token_drop="schedule", drop_start=0.8, drop_end=0.2)
    early = edit(packed, token_drop="schedule", drop_start=0.2, drop_end=0.8)
    (of_late, of_early), total = (cumulated_flops(config, 400) for config in (late, early)), 400
    assert of_late[0] == 0
    assert of_late[total // 2] < 0.35 * of_late[-1]
    assert of_early[total // 2] > 0.65 * of_early[-1]
    batch = late.optim.global_batch_size
    assert of_late[-1] == pytest.approx(400 * batch * costs.recipe_step_flops(late), rel=0.01)
    steps = np.diff(of_late) / batch
    (of_mean,) = shape_flops(late).values()
    assert steps.mean() == pytest.approx(of_mean, rel=0.01)
