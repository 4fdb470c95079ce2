"""Figures are returned, drawn without a display, and hold what the frame holds."""

import io

import numpy as np
import pandas as pd
import pytest

from analysis.paper_figures import law_figure, sample_sheet


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
    return pd.DataFrame(rows, columns=["group", "backbone", "data", "image", "patch", "seed", "status", "test_loss"])


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
    few, many = law_figure(frame(groups=2)).axes[0], law_figure(frame(groups=4)).axes[0]
    assert {"model0", "model1"} <= {text.get_text() for text in few.texts}
    assert not many.texts
    assert {"model0", "model3"} <= {text.get_text() for text in many.get_legend().get_texts()}


def test_direct_labels_do_not_overlap():
    same = frame(groups=3)
    same["test_loss"] = same.groupby("patch")["test_loss"].transform("first")
    axes = law_figure(same).axes[0]
    heights = sorted(np.log(text.get_position()[1]) for text in axes.texts)
    assert min(np.diff(heights)) >= 0.05 * np.ptp(np.log(axes.get_ylim()))


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


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_a_figure_is_drawn_in_every_format(ending):
    drawn = io.BytesIO()
    law_figure(frame()).savefig(drawn, format=ending)
    assert len(drawn.getvalue()) > 5000


def test_a_sample_sheet_shows_every_image_with_its_title_pixel_by_pixel():
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), dtype=np.uint8)
    figure = sample_sheet(images, [f"class {n}" for n in range(10)], columns=4)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 10
    assert len(figure.axes) == 12
    assert shown[9].get_title() == "class 9"
    assert shown[0].images[0].get_interpolation() == "nearest"
    assert np.array_equal(shown[3].images[0].get_array(), images[3])


def test_a_sample_sheet_of_grey_images_spans_black_to_white():
    figure = sample_sheet(np.full((2, 8, 8, 1), 0.5))
    assert figure.axes[0].images[0].get_clim() == (0, 1)


def test_images_of_another_shape_are_refused_with_it():
    with pytest.raises(ValueError, match=r"shape \(2, 3, 8, 8\)"):
        sample_sheet(np.zeros((2, 3, 8, 8)))
    with pytest.raises(ValueError, match="3 titles for 2 images"):
        sample_sheet(np.zeros((2, 8, 8, 3)), ["a", "b", "c"])
