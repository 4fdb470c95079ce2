"""Detection on whole images costs what their sides cost, however a recipe says what those are."""

from dataclasses import replace

import pytest
import torch

from experiments.planning import plan_report
from experiments.planning.cost_estimate import Device, forecast
from scaling import costs
from scaling.costs.hardware import CARDS
from scaling.costs.token_counts import unpadded_sides
from scaling.data import detection
from scaling.data.open_sets import open_sets
from scaling.recipe import Recipe
from scaling.rng import SampleKey
from scaling.tasks.detection import DetectionTask
from tests.coco_folder import recipe_of, write_split

SHAPES = Recipe(
    task="detect",
    head="cascade",
    data="shapes",
    backbone="deit_nano",
    position="sincos",
    head_channels=8,
    image=64,
    patch=8,
    batch=2,
    train_images=4,
    test_images=2,
)
ASKED = [
    {},
    {"short_side": 80},
    {"long_side": 50},
    {"short_side": 96, "long_side": 100},
    {"short_side": 40, "augment": "flip"},
    {"short_side": 80, "augment": "jitter_crop"},
    {"short_side": 70, "extend": 16},
]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of images of 30 x 40 px."""
    root = tmp_path_factory.mktemp("photographs")
    for name in ("train2017", "val2017"):
        write_split(root, name, ((30, 40),) * 2)
    return replace(recipe_of(root), backbone="deit_nano", image=64, batch=2)


def sides(recipe: Recipe) -> tuple[int, ...]:
    """Height and width of a training batch of two images."""
    batch = open_sets(detection.DetectionSource(), recipe).train.get_batch([SampleKey(0, 0), SampleKey(0, 1)])
    return tuple(batch.pixels.shape[2:])


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_the_costs_of_the_embedded_set_are_of_the_batches_that_it_makes(asked):
    recipe = replace(SHAPES, **asked)
    assert costs.recipe_sides(recipe) == sides(recipe)


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_the_costs_of_photographs_are_of_the_batches_that_they_make(photographs, asked):
    recipe = replace(photographs, **asked)
    assert costs.recipe_sides(recipe) == sides(recipe)
    assert costs.recipe_tokens(recipe) * recipe.patch**2 == sides(recipe)[0] * sides(recipe)[1]


def test_the_model_sees_images_of_those_sides(photographs):
    recipe = replace(photographs, position="sincos", head_channels=8)
    task, seen = DetectionTask(recipe, 1), []
    task.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[2:])))
    with torch.no_grad():
        task.training_step(open_sets(detection.DetectionSource(), recipe).train.get_batch([SampleKey(0, 0)]), 0)
    assert seen == [costs.recipe_sides(recipe)] == [(64, 96)]


def test_without_a_short_side_photographs_cost_more_than_a_square():
    square = replace(SHAPES, image=96)
    whole = replace(square, data="coco")
    assert (costs.recipe_sides(square), costs.recipe_sides(whole)) == ((96, 96), (96, 128))
    assert costs.recipe_sides(replace(whole, short_side=96)) == (96, 128)  # the same, said
    assert costs.recipe_flops(whole) > costs.recipe_flops(square)


def test_a_plan_says_what_sides_it_takes_images_to_have():
    def said(recipe):
        return " ".join(plan_report.notes([forecast(recipe, Device(CARDS["a100"]))], Device(CARDS["a100"])))

    whole = replace(SHAPES, data="coco", image=224, short_side=800, long_side=1333, patch=16)
    assert unpadded_sides(whole) == (800, 1067)
    assert "images of coco are 4:3 photographs, 800 x 1067 px in training" in said(whole)
    assert "assumed" not in said(replace(whole, augment="jitter_crop"))
    assert "assumed" not in said(SHAPES)
