"""Batches whose images draw their own patch sizes: the loss and gradients of each image alone, at its size."""

from collections import Counter

import pytest
import torch

from analysis.planning.throughput_model import image_seconds
from scaling.config.at_shape import mixes_patches, model_shape, patches_of_images, phase_config
from scaling.config.edit import edit
from scaling.config.runtime import RuntimeConfig
from scaling.config.step_shapes import StepShape
from scaling.costs.hardware import card_called
from scaling.costs.run_flops import cumulated_flops, recipe_step_flops
from scaling.data.batch import Batch, ClassTargets
from scaling.engine.trainer import apply_speed_options
from scaling.errors import ConfigError
from scaling.rng import SampleKey
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.mixed_patches import by_patch_size


@pytest.fixture
def mixed(tiny):
    """16 px in patches of 8 and 4, each image its own."""
    return edit(tiny, patch_size=4, patch_embed="flexible", patches="16,8:2,4", patch_per="image", pos_embed="grid")


def batch_of(config, images, epoch=0):
    draw = torch.Generator().manual_seed(epoch)
    pixels = torch.randint(0, 256, (images, 3, 16, 16), dtype=torch.uint8, generator=draw)
    labels = torch.randint(0, 3, (images,), generator=draw)
    keys = [SampleKey(epoch, i) for i in range(images)]
    return Batch(pixels, keys, model_shape(config), ClassTargets(labels))


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("backbone", ["deit_nano", "adventurer_nano"])
def test_loss_and_gradients_are_the_mean_over_images_each_alone_at_its_size(mixed, backbone):
    config = edit(mixed, backbone=backbone, drop_path=0.5)
    task = ClassificationTask(config, 10).double().train()
    batch = batch_of(config, 12)
    patches = patches_of_images(config, batch.keys)
    assert set(patches) == {16, 8, 4}
    task.training_step(batch, 0).backward()
    found = {name: p.grad.clone() for name, p in task.named_parameters() if p.grad is not None}
    task.zero_grad()
    alone = ClassificationTask(edit(config, patch_per="step"), 10).double().train()
    alone.load_state_dict(task.state_dict())
    for i, patch in enumerate(patches):
        one = batch.select([i], StepShape(patch, 16))
        (alone.training_step(one, 0) / len(patches)).backward()
    wanted = {name: p.grad for name, p in alone.named_parameters() if p.grad is not None}
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-10, rtol=1e-8, msg=name)


def test_parts_hold_every_image_once_with_its_label(mixed):
    batch = batch_of(mixed, 20)
    parts = by_patch_size(batch, mixed)
    assert [part.shape.patch_size for part in parts] == [16, 8, 4]
    for part in parts:
        assert patches_of_images(mixed, part.keys) == [part.shape.patch_size] * len(part)
        for key, pixels, label in zip(part.keys, part.pixels, part.targets.label_B, strict=True):
            assert torch.equal(pixels, batch.pixels[key.image])
            assert label == batch.targets.label_B[key.image]
    assert sorted(key for part in parts for key in part.keys) == batch.keys
    assert by_patch_size(batch, edit(mixed, patch_per="step")) == [batch]


def test_draws_follow_the_weights_and_the_images_key_alone(mixed):
    keys = [SampleKey(epoch, i) for epoch in range(4) for i in range(2000)]
    drawn = patches_of_images(mixed, keys)
    counts = Counter(drawn)
    for patch, share in {16: 0.25, 8: 0.5, 4: 0.25}.items():
        assert counts[patch] / len(keys) == pytest.approx(share, abs=0.02)
    assert patches_of_images(mixed, keys[::-1]) == drawn[::-1]
    assert drawn[:2000] != drawn[2000:4000]
    assert patches_of_images(edit(mixed, seed=1), keys) != drawn


def test_flops_are_those_of_the_shares_of_sizes(mixed):
    per_step = edit(mixed, patch_per="step")
    assert recipe_step_flops(mixed) == recipe_step_flops(per_step)
    whole = cumulated_flops(mixed, 10)
    assert whole[-1] == pytest.approx(10 * mixed.optim.global_batch_size * recipe_step_flops(mixed), rel=1e-6)


def test_planned_time_is_that_of_the_shares_of_sizes_not_of_the_finest(mixed):
    card = card_called("a100")
    steps = phase_config(mixed, model_shape(mixed))
    assert image_seconds(steps, card, 16) == image_seconds(mixed, card, 16)
    assert image_seconds(steps, card, 16) < image_seconds(edit(mixed, patches="4"), card, 16)


def test_one_patch_size_is_not_mixed_and_runs_have_ids_of_their_own(mixed):
    assert not mixes_patches(edit(mixed, patches="4"))
    assert edit(mixed, patch_per="step").run_id != mixed.run_id
    assert mixed.group != edit(mixed, patch_per="step").group


def test_devices_that_share_the_weights_are_refused(mixed):
    task = ClassificationTask(mixed, 10)
    with pytest.raises(ConfigError, match="set --strategy ddp"):
        apply_speed_options(task, RuntimeConfig(accelerator="cpu", strategy="fsdp"))
