"""Detection on whole images costs what their sides cost, however a recipe says what those are."""

import pytest
import torch

from experiments.planning import plan_report
from experiments.planning.cost_estimate import Device, forecast
from scaling import costs
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.costs.hardware import CARDS
from scaling.costs.token_counts import unpadded_sides
from scaling.data import detection
from scaling.data.open_sets import open_sets
from scaling.rng import SampleKey
from scaling.tasks.detection import DetectionTask
from tests.coco_folder import recipe_of, write_split

SHAPES = make_config(
    task="detect",
    head="cascade_mask_rcnn",
    dataset="shapes",
    backbone="deit_nano",
    pos_embed="sincos",
    head_channels=8,
    img_size=64,
    patch_size=8,
    global_batch_size=2,
    num_train=4,
    num_val=2,
)
ASKED = [
    {},
    {"resize_short": 80},
    {"max_long": 50},
    {"resize_short": 96, "max_long": 100},
    {"resize_short": 40, "augment": "flip"},
    {"resize_short": 80, "augment": "lsj"},
    {"resize_short": 70, "embed_patch_size": 16},
]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of images of 30 x 40 px."""
    root = tmp_path_factory.mktemp("photographs")
    for name in ("train2017", "val2017"):
        write_split(root, name, ((30, 40),) * 2)
    return edit(recipe_of(root), backbone="deit_nano", img_size=64, global_batch_size=2)


def sides(config: ExperimentConfig) -> tuple[int, ...]:
    """Height and width of a training batch of two images."""
    batch = open_sets(detection.DetectionSource(), config).train.get_batch([SampleKey(0, 0), SampleKey(0, 1)])
    return tuple(batch.pixels.shape[2:])


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_the_costs_of_the_embedded_set_are_of_the_batches_that_it_makes(asked):
    config = edit(SHAPES, **asked)
    assert costs.recipe_sides(config) == sides(config)


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_the_costs_of_photographs_are_of_the_batches_that_they_make(photographs, asked):
    config = edit(photographs, **asked)
    assert costs.recipe_sides(config) == sides(config)
    assert costs.recipe_tokens(config) * config.model.patch_size**2 == sides(config)[0] * sides(config)[1]


def test_the_model_sees_images_of_those_sides(photographs):
    config = edit(photographs, pos_embed="sincos", head_channels=8)
    task, seen = DetectionTask(config, 1), []
    task.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[2:])))
    with torch.no_grad():
        task.training_step(open_sets(detection.DetectionSource(), config).train.get_batch([SampleKey(0, 0)]), 0)
    assert seen == [costs.recipe_sides(config)] == [(64, 96)]


def test_without_a_short_side_photographs_cost_more_than_a_square():
    square = edit(SHAPES, img_size=96)
    whole = edit(square, dataset="coco")
    assert (costs.recipe_sides(square), costs.recipe_sides(whole)) == ((96, 96), (96, 128))
    assert costs.recipe_sides(edit(whole, resize_short=96)) == (96, 128)  # the same, said
    assert costs.recipe_flops(whole) > costs.recipe_flops(square)


def test_a_plan_says_what_sides_it_takes_images_to_have():
    def said(config):
        return " ".join(plan_report.notes([forecast(config, Device(CARDS["a100"]))], Device(CARDS["a100"])))

    whole = edit(SHAPES, dataset="coco", img_size=224, resize_short=800, max_long=1333, patch_size=16)
    assert unpadded_sides(whole) == (800, 1067)
    assert "images of coco are 4:3 photographs, 800 x 1067 px in training" in said(whole)
    assert "assumed" not in said(edit(whole, augment="lsj"))
    assert "assumed" not in said(SHAPES)
