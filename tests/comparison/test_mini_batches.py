"""Activations come mini-batch by mini-batch, whatever the number of images of a forward pass."""

import numpy as np
import pytest
import torch

from scaling.backbones.activations import CLASS, PATCHES, points
from scaling.backbones.registry import build_backbone
from scaling.comparison import models
from scaling.comparison.mini_batches import mini_batches
from scaling.comparison.models import ComparedModel
from scaling.config.edit import make_config
from scaling.rng import stream


def model(patch, img_size=16, backbone="deit_pico"):
    config = make_config(backbone=backbone, img_size=img_size, patch_size=patch)
    return ComparedModel(f"p{patch}", patch, build_backbone(config).eval(), config)


def images(n, *sizes):
    draw = {size: stream(0, "test", size).integers(0, 256, (n, 3, size, size), np.uint8) for size in sizes}
    return {size: torch.from_numpy(drawn) for size, drawn in draw.items()}


def test_every_image_is_in_one_mini_batch_of_nearly_equal_size():
    seen = list(mini_batches([model(8)], images(11, 16), 4, np.asarray))
    assert [len(found[CLASS, "1"]) for (found,) in seen] == [4, 4, 3]
    (whole,) = next(mini_batches([model(8)], images(11, 16), 64, np.asarray))
    for point in points(model(8).backbone):
        parts = np.concatenate([found[point] for (found,) in seen])
        np.testing.assert_allclose(parts, whole[point], atol=1e-5)


def test_the_number_of_images_of_a_forward_pass_changes_nothing(monkeypatch):
    whole = next(mini_batches([model(4)], images(6, 16), 6, np.asarray))[0]
    monkeypatch.setattr(models, "TOKENS", 33)  # two images of 16 patches
    parts = next(mini_batches([model(4)], images(6, 16), 6, np.asarray))[0]
    for point, values in whole.items():
        np.testing.assert_allclose(parts[point], values, atol=1e-5)


def test_patches_have_the_coarsest_grid_of_all_models_and_each_its_own_image_size():
    of_all = [model(4), model(8, 32, "adventurer_pico"), model(8)]
    found = next(mini_batches(of_all, images(4, 16, 32), 4, np.asarray))
    widths = [each.backbone.width for each in of_all]
    assert [each[PATCHES, "embed"].shape for each in found] == [(4, 2 * 2 * width) for width in widths]


def test_only_the_activations_of_one_model_are_kept_at_a_time():
    """What reduce returns is all that is kept."""
    found = next(mini_batches([model(4), model(8)], images(4, 16), 4, lambda x: np.array(x.shape)))
    assert all(values.shape == (2,) for each in found for values in each.values())


@pytest.mark.parametrize(("n", "wanted"), [(64, [64]), (65, [33, 32]), (512, [64] * 8)])
def test_mini_batches_of_at_most_64(n, wanted):
    seen = mini_batches([model(16)], images(n, 16), 64, len)
    assert [found[CLASS, "1"] for (found,) in seen] == wanted
