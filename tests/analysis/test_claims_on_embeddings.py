"""Estimates of claims on patch embeddings, their initial weights and adaptive patches, on frames whose differences are
known by arithmetic."""

import itertools
import math

import pandas as pd
import pytest

from analysis.claims.adaptive_patches import CONTROL, UNIFORM, by_content
from analysis.claims.patch_embeddings import FLOPS, IMAGES, XAVIER, over_plain, rise_with_patch

SEEDS = range(3)
T_2 = 4.302652729911275  # two-sided critical value of Student's t at 95 %, two degrees of freedom
OFF = (-0.01, 0.0, 0.01)  # of a difference between seeds
HALF = T_2 * 0.01 / math.sqrt(3)
LEVEL = (0.5, 0.9, 0.7)  # loss of a seed, which is no part of a difference
PATCHES = (16, 8, 4, 2, 1)


def embedded():
    """hierarchical: 0.02 per doubling of the patch below the convolution at equal images, half of that at equal FLOPs;
    overlapping: 0.1 above it, with as many FLOPs."""
    rows = []
    for patch, seed in itertools.product(PATCHES, SEEDS):
        run, plain = ["deit_nano", patch, seed], LEVEL[seed]
        gain = 0.02 * math.log2(patch)
        rows += [
            [*run, "conv", IMAGES, plain],
            [*run, "hierarchical", IMAGES, plain - gain + OFF[seed]],
            [*run, "hierarchical", FLOPS, plain - gain / 2 + OFF[seed]],
            [*run, "overlapping", IMAGES, plain + 0.1 + OFF[seed]],
            [*run, XAVIER, IMAGES, plain + 0.01 * patch + OFF[seed]],
        ]
    return pd.DataFrame(rows, columns=["backbone", "patch", "seed", "embedding", "equal", "test_loss"])


def test_an_embedding_is_compared_with_the_convolution_at_equal_flops_or_images():
    found = over_plain(embedded(), "hierarchical", FLOPS)
    assert [one.what for one in found] == [f"DeiT-nano, {patch} px: hierarchical" for patch in PATCHES]
    assert [one.value for one in found] == pytest.approx([-0.04, -0.03, -0.02, -0.01, 0])
    assert found[0].high == pytest.approx(-0.04 + HALF)
    at_images = over_plain(embedded(), "hierarchical", IMAGES)
    assert [one.value for one in at_images] == pytest.approx([-0.08, -0.06, -0.04, -0.02, 0])


def test_runs_on_equal_images_count_where_the_flops_are_equal():
    assert [one.value for one in over_plain(embedded(), "overlapping", FLOPS)] == pytest.approx([0.1] * 5)


def test_the_rise_with_the_patch_is_the_slope_times_the_doublings():
    (found,) = rise_with_patch(embedded(), "hierarchical", FLOPS)
    assert found.what == "DeiT-nano, hierarchical, from 1 to 16 px"
    assert found.value == pytest.approx(-0.04)
    sloped = embedded()
    more = sloped["seed"].map(OFF.__getitem__) * sloped["patch"].map(math.log2) * (sloped["equal"] == FLOPS)
    (found,) = rise_with_patch(sloped.assign(test_loss=sloped["test_loss"] + more), "hierarchical", FLOPS)
    assert (found.low, found.high) == pytest.approx((-0.04 - 4 * HALF, -0.04 + 4 * HALF))


def test_xavier_is_compared_with_the_initialisation_of_the_recipe_at_every_patch():
    assert [one.value for one in over_plain(embedded(), XAVIER, IMAGES)] == pytest.approx(
        [0.16, 0.08, 0.04, 0.02, 0.01]
    )


def test_trees_by_content_are_compared_at_equally_many_tokens():
    more = {UNIFORM: 0.0, "uniform, resized": 0.5, "by variance": -0.1, "by edges": 0.2, CONTROL: 0.3}
    rows = [
        (
            "adventurer_nano",
            tokens,
            name,
            seed,
            LEVEL[seed] + above + (OFF[seed] if "by" in name else 0) * (name != CONTROL),
        )
        for tokens, (name, above), seed in itertools.product((16, 64), more.items(), SEEDS)
    ]
    table = pd.DataFrame(rows, columns=["backbone", "tokens", "patches", "seed", "test_loss"])
    found = by_content(table, UNIFORM)
    assert [one.value for one in found] == pytest.approx([-0.1, 0.2] * 2)
    assert found[0].what == "Adventurer-nano, 16 tokens: by variance less uniform"
    control = by_content(table, CONTROL)
    assert [one.value for one in control] == pytest.approx([-0.4, -0.1] * 2)
    assert control[0].low == pytest.approx(-0.4 - HALF)
