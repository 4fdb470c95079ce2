"""What a difference is held against, and how many images a data set has, are each said in one place."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.paper.comparison import join_with_published
from analysis.planning.pareto import training_flops
from analysis.records.seed_noise import difference, exceeds_noise, noise_of
from experiments.planning.cost_estimate import Device, forecast
from experiments.recipes import coco
from scaling.config.edit import edit, make_config
from scaling.config.flat import to_flat
from scaling.costs import epoch_images, recipe_flops
from scaling.costs.dataset_sizes import EMPTY, IMAGES
from scaling.costs.hardware import CARDS

T4 = 2.7764451051977987  # Student's t of 4 degrees of freedom, 97.5 %


def sweep_of(step: float, seeds: int = 3) -> pd.DataFrame:
    """Losses at patches 2 and 1, so far apart in the mean, whose seeds lie 0.1 apart at both."""
    off = 0.1 * (np.arange(seeds) - (seeds - 1) / 2)
    of = {"group": "g", "seed": [*range(seeds)] * 2, "patch": [2] * seeds + [1] * seeds}
    return pd.DataFrame({**of, "test_loss": [*(1.0 + off), *(1.0 + step + off)]})


def test_the_noise_of_a_difference_is_students_interval_of_two_means():
    assert noise_of(2.0, 1, 1) == pytest.approx(12.706204736 * 2.0 * math.sqrt(2))
    assert noise_of(2.0, 4, 3, 3) == pytest.approx(T4 * 2.0 * math.sqrt(2 / 3))
    assert noise_of(2.0, 4, 3, 1) == noise_of(2.0, 4, 3)  # a published number is one run
    assert math.isnan(noise_of(2.0, 0, 1))


@pytest.mark.parametrize("share", [0.98, 1.02])
def test_a_published_number_is_judged_by_the_same_noise(share, monkeypatch):
    own = sweep_of(0.0)
    noise = T4 * 0.1 * math.sqrt(1 + 1 / 3)
    key = {"model": "m", "metric": "loss", "unit": "nats"}
    cells = pd.DataFrame({**key, "patch": [2, 1], "published": 1.0 - share * noise})
    own = own.assign(model="m", series="s", label="")
    monkeypatch.setattr("analysis.paper.comparison.series_labels", lambda own, keys: [""] * len(own))
    found = join_with_published(cells, own, ["model"], {"test_loss": ("loss", "nats")})
    assert found["noise"].tolist() == pytest.approx([noise] * 2)
    assert set(found["mark"]) == {"*" if share > 1 else ""}


@pytest.mark.parametrize("data", sorted(IMAGES))
def test_a_plan_and_a_frontier_count_the_same_images(data):
    config = edit(make_config(img_size=224, patch_size=16, epochs=5), dataset=data)
    frame = pd.DataFrame([{**to_flat(config), "flops_per_image": 7.0}])
    assert training_flops(frame).tolist() == [3 * 7.0 * 5 * IMAGES[data][0]]
    planned = forecast(config, Device(CARDS["a100"]))
    assert planned.epoch_flops == pytest.approx(3 * recipe_flops(config) * IMAGES[data][0])
    assert epoch_images(edit(config, num_train=10, num_val=3)) == (10, 3)


def test_images_without_an_object_count_where_they_are_kept():
    kept = edit(coco.adventurer_tiny(16), filter_empty_gt=False)
    assert epoch_images(kept)[0] == IMAGES["coco"][0] + EMPTY["coco"] == 118_287
    rows = [{**to_flat(config), "flops_per_image": 1.0} for config in (kept, edit(kept, filter_empty_gt=True))]
    assert training_flops(pd.DataFrame(rows)).tolist() == [3 * 12 * 118_287, 3 * 12 * 117_266]


def test_all_of_the_embedded_set_is_what_is_drawn_of_it():
    from scaling.data.generated.embedded_set import TEST_IMAGES, TRAIN_IMAGES

    assert IMAGES["shapes"] == (TRAIN_IMAGES, TEST_IMAGES)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=5), st.lists(st.floats(0.5, 2.0), min_size=2, max_size=5))
def test_a_verdict_is_that_the_interval_excludes_no_difference(first, second):
    """The rule of exceeds_noise, and that of the p value, are the same rule."""
    found = difference(pd.Series(first), pd.Series(second))
    reach = (found.high - found.low) / 2
    outside = found.low > 0 or found.high < 0
    assert outside == bool(exceeds_noise(found.mean, reach))
    if found.test and abs(found.p - 0.05) > 1e-9:
        assert outside == (found.p < 0.05)
    assert not exceeds_noise(found.mean, math.nan)
