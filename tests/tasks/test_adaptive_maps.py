"""Adaptive patches in tasks with an answer everywhere: leaves are written back to the grid of the finest."""

from importlib.util import find_spec

import pytest
import torch
from torch.nn.functional import interpolate

from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.data.batch import normalise
from scaling.tasks.detection import DetectionTask
from scaling.tasks.segmentation import SegmentationTask
from tests.costs.test_costs_memory import noise
from tests.tasks.test_detect import objects

pytestmark = pytest.mark.skipif(find_spec("mmdet") is None, reason="needs the extra dense")


@pytest.fixture
def seg() -> ExperimentConfig:
    values = {"task": "segment", "backbone": "adventurer_nano", "num_classes": 4, "head_channels": 16}
    return make_config(img_size=32, patch_size=2, leaf_share=0.25, pos_embed="sincos", **values)


@pytest.mark.parametrize("backbone", ["deit_nano", "adventurer_nano"])
def test_logits_of_leaves_are_those_of_the_map(seg, backbone):
    task = SegmentationTask(edit(seg, backbone=backbone), 1).double().eval()
    image_BCHW = normalise(noise(seg, 2).pixels, task.backbone.mean, task.backbone.std).double()
    image_BCHW[1, :, 8:] = image_BCHW[1, :, :, 8:] = 0.25
    features = task.features(image_BCHW)
    assert len(set(features.layout.rows.patch_counts)) == 2
    of_map = task.head.head([features.to_map()])
    assert of_map.shape == (2, 4, 16, 16)
    torch.testing.assert_close(task.head(features, (32, 32)), of_map, rtol=0, atol=1e-10)
    whole = interpolate(of_map, (32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(task._logits(image_BCHW, None), whole, rtol=0, atol=1e-10)


@pytest.mark.parametrize("head", ["linear", "upernet"])
def test_segmentation_learns_and_takes_images_of_any_size(seg, head):
    config = edit(seg, head=head)
    task, batch = SegmentationTask(config, 1), noise(config, 2)
    task.training_step(batch, 0).backward()
    assert task.backbone.checkpoint_module.patch_embed.proj.weight.grad.abs().sum() > 0
    assert task.eval()(batch.pixels[:, :, :30, :17]).shape == (2, 4, 30, 17)
    in_windows = SegmentationTask(edit(config, slide_stride=16), 1).eval()
    wide = torch.cat([batch.pixels, batch.pixels], 3)
    assert in_windows(wide).shape == (2, 4, 32, 64)


def test_detection_reads_the_same_map():
    values = {"task": "detect", "head": "cascade_mask_rcnn", "backbone": "deit_pico", "head_channels": 16}
    config = make_config(img_size=64, patch_size=8, leaf_share=0.25, pos_embed="sincos", num_classes=3, **values)
    task = DetectionTask(config, 10)
    task.training_step(objects(), 0).backward()
    assert task.backbone.checkpoint_module.patch_embed.size_embed.grad.abs().sum() > 0
