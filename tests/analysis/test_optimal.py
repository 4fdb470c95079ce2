"""What a budget buys: by a law whose optimum is known, and on the paper's Tables 1 and 4."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.planning.allocation import best, by_patch, configurations, frontier, plain_training, published_surface
from analysis.planning.measured_pareto import measured
from analysis.plots.allocation import optimal_figure
from scaling import costs
from scaling.errors import ConfigError


@pytest.fixture(scope="module")
def surface():
    return published_surface()


@pytest.fixture(scope="module")
def configured(surface):
    return configurations(surface)


def test_the_surface_rests_on_every_number_of_adventurer_in_tables_1_and_4(surface):
    assert len(surface.points) == 40
    assert surface.points.groupby("image")["model"].nunique().to_dict() == {64: 1, 128: 4, 224: 3}
    row = surface.points.query("model == 'Adventurer-Large' and patch == 1").iloc[0]
    assert (row["parameters"], row["image"], row["y"]) == (346e6, 128, pytest.approx(100 - 83.1))


def test_every_configuration_costs_what_the_arithmetic_says(configured):
    assert len(configured) == 5 * 3 * 5
    row = configured.query("model == 'Adventurer-Base' and patch == 8 and image == 224").iloc[0]
    images = 300 * costs.IMAGENET_IMAGES
    assert row["training_flops"] == 3 * costs.flops("adventurer_base", 224, 8, 1000) * images
    assert row["training_flops"] == plain_training("Adventurer-Base", 224, 8)
    assert row["tokens"] == 784
    assert row["low"] < row["predicted"] < row["high"]


def test_a_cost_of_ones_own_is_taken_instead(surface):
    frame = configurations(surface, training=lambda model, image, patch: float(image * patch))
    assert frame.query("image == 128 and patch == 4")["training_flops"].unique() == [512.0]


def test_what_lies_beyond_the_measured_is_named(configured):
    at = configured.set_index(["model", "patch", "image"])["beyond"]
    assert at["Adventurer-Base", 8, 224] == ""
    assert at["Adventurer-Huge", 8, 224] == "model"
    assert at["Adventurer-Large", 8, 224] == "pair"  # both were measured, never together


def slow_best(frame, budget):
    """Every configuration looked at."""
    found = None
    for row in frame.to_dict("records"):
        if row["training_flops"] <= budget and (found is None or row["predicted"] < found["predicted"]):
            found = row
    return found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(exponent=st.floats(17.71, 23.5))
def test_the_best_of_a_budget_is_the_best_of_all_that_it_pays_for(configured, exponent):
    (row,) = best(configured, [10**exponent]).to_dict("records")
    wanted = slow_best(configured, 10**exponent)
    for name in ("model", "patch", "image"):
        assert row[name] == wanted[name]


def test_the_frontier_is_what_some_budget_buys(configured):
    steps = frontier(configured)
    assert (np.diff(steps["training_flops"]) > 0).all()
    assert (np.diff(steps["predicted"]) < 0).all()
    bought = best(configured, list(steps["training_flops"]))
    assert bought["model"].tolist() == steps["model"].tolist()
    assert bought["patch"].tolist() == steps["patch"].tolist()


def test_a_budget_below_all_is_refused_with_the_smallest(configured):
    with pytest.raises(
        ConfigError, match="below the smallest configuration: Adventurer-Tiny at patch 16 on 64 px takes"
    ) as e:
        best(configured, [1e17])
    assert "\n" not in str(e.value)


def test_hours_are_a_budget_as_well(configured):
    frame = configured.assign(hours=configured["training_flops"] / 1e17)
    assert best(frame, [100.0], "hours")["hours"].iloc[0] <= 100


def test_what_a_budget_buys_by_patch_has_the_budgets_own_best(configured):
    """The figure and the table are one: the best of the curve is what the plan picks."""
    for budget in (1e19, 1e20, 1e21, 1e22):
        curve = by_patch(configured, budget)
        assert curve["patch"].tolist() == sorted(set(curve["patch"]))
        assert (curve["training_flops"] <= budget).all()
        (pick,) = best(configured, [budget]).to_dict("records")
        lowest = curve.loc[curve["predicted"].idxmin()]
        assert all(lowest[name] == pick[name] for name in ("model", "patch", "image"))
    assert by_patch(configured, 1e10).empty


def test_the_figure_has_both_frontiers_and_a_curve_a_budget(surface, configured):
    points = measured(plain_training)
    figure = optimal_figure(surface, configured, points, [1e19, 1e20])
    left, right = figure.axes
    assert (left.get_xscale(), left.get_yscale(), right.get_xscale()) == ("log", "log", "log")
    law, ours = [line for line in left.lines if line.get_drawstyle() == "steps-post"]
    assert list(ours.get_xdata()) == list(points.loc[points["frontier"], "training_flops"])
    drawn = frontier(configured)
    drawn = drawn[drawn["predicted"] <= points["y"].max() * 1.05]
    assert list(law.get_xdata()) == list(drawn["training_flops"])
    faint = next(line for line in left.lines if line.get_alpha() is not None)
    assert len(faint.get_xdata()) == (drawn["beyond"] != "").sum()
    assert {text.get_text() for text in right.texts} == {"1e19 FLOPs", "1e20 FLOPs"}
    assert all(axes.get_ylabel() for axes in (left, right))
    assert right.get_xlim()[0] > right.get_xlim()[1]  # small patches to the right
    out = io.BytesIO()
    figure.savefig(out, format="pdf")
    assert out.getvalue().startswith(b"%PDF")
