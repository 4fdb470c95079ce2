"""Sheets of images and the figure of the crossing hold what they are given; gap and study figures: test_studies.py."""

import numpy as np
import pandas as pd
import pytest

from analysis.plots.studies import crossing_figure, sample_sheet, study_figure
from tests.drawn import overlapping


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


def test_the_crossing_has_a_line_a_backbone_labelled_at_its_end():
    rows = [(name, 4**n, 1e-3 * 4**n * f) for f, name in ((1, "deit_tiny"), (2, "adventurer_tiny")) for n in range(5)]
    figure = crossing_figure(pd.DataFrame(rows, columns=["backbone", "tokens", "seconds_per_image"]))
    (axes,) = figure.axes
    assert [len(line.get_xdata()) for line in axes.lines] == [5, 5]
    assert {text.get_text() for text in axes.texts} == {"deit_tiny", "adventurer_tiny"}
    assert "[s]" in axes.get_ylabel()
    assert not overlapping(figure)


def test_a_study_has_a_line_through_the_means_of_its_seeds():
    rows = [(x, loss + seed, "", "a", "", "") for x, loss in ((4, 2.0), (16, 1.0)) for seed in (0, 1)]
    points = pd.DataFrame(rows, columns=["x", "test_loss", "panel", "colour", "dash", "note"])
    (axes,) = study_figure(points, "tokens", "a study").axes
    means, seeds = axes.lines[:2]
    assert means.get_ydata().tolist() == [2.5, 1.5]
    assert len(seeds.get_xdata()) == 4
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
