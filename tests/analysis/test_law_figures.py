"""Laws and frontiers of one's own runs are drawn without a display, and hold what the frame holds."""

import numpy as np
import pandas as pd
import pytest

from analysis.fitting.axes import AXES
from analysis.fitting.laws import fit
from analysis.planning.pareto import frontier
from analysis.plots.frontier import frontier_figure
from analysis.plots.laws import law_figure
from analysis.plots.style import picture
from tests.drawn import cut_off, overlapping


def frame(groups=2, seeds=1, patches=(16, 8, 4, 2, 1)) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        (
            f"g{g}",
            f"model{g}",
            "shapes",
            16,
            p,
            s,
            "finished",
            (0.4 + 0.1 * g + 0.3 * p**0.6) * np.exp(0.01 * rng.normal()),
        )
        for g in range(groups)
        for p in patches
        for s in range(seeds)
    ]
    columns = ["group", "backbone", "data", "image", "patch", "seed", "status", "test_loss"]
    made = pd.DataFrame(rows, columns=columns)
    tokens = (16 // made["patch"]) ** 2
    size = 1 + 3 * made["group"].str[1:].astype(int)
    sizes = {
        "tokens": tokens,
        "flops_per_image": 4e5 * size * tokens * (1 + tokens / 400),
        "top1": 90 - 2.0 * made["patch"],
    }
    return made.assign(**sizes, steps=0, batch=32, epochs=2, train_images=8192)


def lines(figure, marked: bool):
    return [line for line in figure.axes[0].get_lines() if (line.get_marker() not in ("", "None")) == marked]


def test_every_seed_is_a_point_and_every_group_has_both_laws_and_a_band():
    figure = law_figure(frame(seeds=3))
    assert [len(line.get_xdata()) for line in lines(figure, marked=True)] == [15, 15]
    assert len(lines(figure, marked=False)) == 4
    assert len(figure.axes[0].collections) == 2


def test_both_axes_are_logarithmic_with_units_and_small_patches_to_the_right():
    axes = law_figure(frame()).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xlim()[0] > axes.get_xlim()[1]
    assert "[px]" in axes.get_xlabel()
    assert "[nats]" in axes.get_ylabel()
    assert list(axes.get_xticks()) == [1, 2, 4, 8, 16]
    assert len(axes.get_yticks()) >= 3


def test_few_series_are_labelled_directly_and_many_in_the_legend():
    few, many = law_figure(frame(groups=4)).axes[0], law_figure(frame(groups=5)).axes[0]
    assert {"model0", "model1", "model2", "model3"} == {text.get_text() for text in few.texts}
    assert not many.texts
    assert {"model0", "model4"} <= {text.get_text() for text in many.figure.legends[0].get_texts()}


def test_direct_labels_do_not_overlap():
    same = frame(groups=3)
    same["test_loss"] = same.groupby("patch")["test_loss"].transform("first")
    figure = law_figure(same)
    assert len(figure.axes[0].texts) == 3
    assert not overlapping(figure)


def test_two_patch_sizes_are_drawn_without_a_law():
    figure = law_figure(frame(patches=(4, 2)))
    assert len(lines(figure, marked=True)) == 2
    assert not lines(figure, marked=False)


def test_runs_that_failed_are_not_drawn():
    failed = frame(groups=1)
    failed.loc[0, ["status", "test_loss"]] = ["failed", np.nan]
    assert [len(line.get_xdata()) for line in lines(law_figure(failed), marked=True)] == [4]


def test_losses_of_other_tasks_and_data_have_axes_of_their_own_that_say_so():
    runs = frame(groups=3).assign(task="classify")
    two = runs["group"] == "g1"
    runs.loc[two, ["task", "image"]] = ["segment", 32]
    runs.loc[runs["group"] == "g2", "data"] = "cifar10"
    figure = law_figure(runs)
    shown = [axes for axes in figure.axes if axes.axison]
    titles = {axes.get_title(loc="left") for axes in shown}
    assert titles == {"classify shapes 16 px", "segment shapes 32 px", "classify cifar10 16 px"}
    assert [len([line for line in axes.get_lines() if line.get_marker() == "o"]) for axes in shown] == [1, 1, 1]
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in shown)
    one = law_figure(runs[two]).axes
    assert [axes.get_title(loc="left") for axes in one] == ["Test loss and patch size: segment shapes 32 px"]


def test_a_figure_of_one_task_and_data_set_is_one_panel_titled_by_them():
    assert [a.get_title(loc="left") for a in law_figure(frame()).axes] == ["Test loss and patch size: shapes 16 px"]
    said = law_figure(frame().assign(task="classify")).axes[0].get_title(loc="left")
    assert said == "Test loss and patch size: shapes 16 px"


def test_heads_of_one_backbone_are_labelled_as_such():
    runs = frame().assign(task="segment", backbone="adventurer_nano")
    runs["head"] = runs["group"].map({"g0": "linear", "g1": "upernet"})
    assert {text.get_text() for text in law_figure(runs).axes[0].texts} == {
        "adventurer_nano linear",
        "adventurer_nano upernet",
    }


@pytest.mark.parametrize("x", [x for x in AXES if x != "device_hours"])
def test_a_law_over_a_cost_is_fitted_over_it_and_falls_to_the_right(x):
    runs = frame(groups=1)
    runs["training_flops"] = 3 * runs["flops_per_image"] * 2 * 8192
    figure = law_figure(runs.drop(columns="training_flops"), x=x)
    axes = figure.axes[0]
    (points,) = lines(figure, marked=True)
    assert points.get_xdata().tolist() == pytest.approx(runs[x].tolist())
    power = lines(figure, marked=False)[0]
    law = fit(runs[x], runs["test_loss"], "power")
    assert power.get_ydata() == pytest.approx(law.predict(power.get_xdata()))
    across = axes.transData.transform(points.get_xydata())[:, 0]
    assert np.all(np.diff(across) > 0)  # patches get smaller, cost grows
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert ("[px]" if x == "patch" else "tokens" if x == "tokens" else "FLOPs") in axes.get_xlabel()
    assert not overlapping(figure)


def test_the_exponent_over_tokens_is_minus_half_that_over_patches():
    runs = frame(groups=1)
    slopes = {}
    for x in ("patch", "tokens"):
        drawn = lines(law_figure(runs, ("power",), x=x), marked=False)[0]
        slopes[x] = np.polyfit(np.log(drawn.get_xdata()), np.log(drawn.get_ydata()), 1)[0]
    assert slopes["tokens"] == pytest.approx(-slopes["patch"] / 2, rel=1e-3)


def test_a_law_over_something_else_or_over_nothing_is_refused():
    with pytest.raises(ValueError, match="unknown x 'colour'; choose from: patch, tokens"):
        law_figure(frame(), x="colour")
    with pytest.raises(ValueError, match="no run that finished has a test loss and patch"):
        law_figure(frame().assign(status="failed", test_loss=np.nan))


def test_costs_that_hardly_differ_have_ticks_and_a_law():
    runs = frame(groups=1, patches=(16, 8, 4)).assign(flops_per_image=[6.33e9, 6.34e9, 6.39e9])
    axes = law_figure(runs, x="flops_per_image").axes[0]
    assert len(axes.get_xticks()) >= 3
    assert len([line for line in axes.lines if line.get_marker() == "None"]) == 1  # three points: the power law only


@pytest.mark.parametrize("groups", [1, 4, 7])
@pytest.mark.parametrize("metric", [None, "top1"])
def test_a_frontier_joins_the_runs_that_none_beats_and_shows_all(groups, metric):
    runs = frame(groups=groups)
    figure = frontier_figure(runs, metric=metric)
    axes = figure.axes[0]
    value = metric or "test_loss"
    best = frontier(runs, metric=metric)
    steps, *series = axes.lines
    assert {*zip(*series_points(series), strict=True)} == {*zip(runs["flops_per_image"], runs[value], strict=True)}
    filled = [line for line in series if line.get_alpha() is None]  # the others are faint
    assert {*series_points(filled)[0]} == {*best["flops_per_image"]}
    assert {*best["flops_per_image"]} <= {*steps.get_xdata()}
    assert {*steps.get_ydata()} == {*best[value]}
    assert steps.get_xdata()[-1] == axes.get_xlim()[1]
    assert ("[nats]" if metric is None else "top-1 [%]") in axes.get_ylabel()
    assert "FLOPs" in axes.get_xlabel()
    said = [text.get_text() for text in axes.texts]
    named = [word for word in said if word.startswith("model")]
    assert len(named) == (groups if groups <= 4 else 0)
    assert len({(line.get_marker(), line.get_color()) for line in series}) == groups
    assert not overlapping(figure)
    assert not cut_off(figure)


def series_points(series):
    return [np.concatenate([line.get_data()[axis] for line in series]).tolist() for axis in (0, 1)]


def test_tasks_have_frontiers_of_their_own():
    runs = frame(groups=2).assign(task="classify", miou=np.nan)
    runs.loc[runs["group"] == "g1", ["task", "top1", "miou"]] = ["segment", np.nan, 40.0]
    figure = frontier_figure(runs)
    assert {axes.get_title(loc="left") for axes in figure.axes} == {"classify shapes 16 px", "segment shapes 16 px"}
    assert [axes.get_ylabel() for axes in frontier_figure(runs, metric="miou").axes] == ["mIoU [%]"]
    with pytest.raises(ValueError, match="no run that finished has box_ap and"):
        frontier_figure(runs.assign(box_ap=np.nan), metric="box_ap")


def test_published_numbers_have_a_frontier_too():
    published = pd.DataFrame(
        {
            "model": list("aab"),
            "input_px": 64,
            "patch": [16, 8, 8],
            "flops": [1e9, 4e9, 9e9],
            "published": [70, 80, 75.0],
        }
    )
    axes = frontier_figure(published, cost="flops", metric="published").axes[0]
    assert {*axes.lines[0].get_ydata()} == {70, 80}
    assert {"p16", "a p8", "b p8"} == {text.get_text() for text in axes.texts}


@pytest.mark.parametrize("drawn", [law_figure, frontier_figure])
def test_a_figure_that_is_made_anew_is_the_same(drawn):
    first, second = (picture(drawn(frame()), "svg") for _ in range(2))
    assert first == second
    assert len(first) > 5000


def test_seeds_are_one_point_of_the_frontier_and_dots_beside_it():
    runs = pd.DataFrame(
        {
            "group": "g",
            "status": "finished",
            "task": "classify",
            "data": "shapes",
            "backbone": "nano",
            "head": "linear",
            "image": 16,
            "patch": [4, 4, 2, 2],
            "seed": [0, 1, 0, 1],
            "flops_per_image": [1e6, 1e6, 4e6, 4e6],
            "test_loss": [1.0, 0.4, 0.8, 0.7],
        }
    )
    axes = frontier_figure(runs).axes[0]
    dots = next(line for line in axes.lines if line.get_marker() == ".")
    assert sorted(dots.get_ydata()) == [0.4, 0.7, 0.8, 1.0]
    marks = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_ydata())]
    assert sorted(y for line in marks for y in line.get_ydata()) == pytest.approx(
        [0.7, 0.75]
    )  # the luckiest seed is none
