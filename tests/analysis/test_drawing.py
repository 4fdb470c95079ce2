"""What figures share: ticks at round numbers, labels that keep clear of each other, files that are the same twice."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from analysis.plots.backbone_styles import COLOURS, MARKERS, styles
from analysis.plots.labels import Label, label_ends, label_points, spread
from analysis.plots.scales import cost_axis, round_ticks
from analysis.plots.style import picture
from tests.drawn import cut_off, overlapping

STARTS = {"png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-", "svg": b"<?xml"}


def axes(**limits):
    made = Figure(figsize=(5, 4), layout="constrained").add_subplot()
    made.set(**limits)
    return made


@given(st.lists(st.floats(-100, 100), max_size=8), st.floats(0.01, 10))
def test_places_that_are_spread_keep_their_order_and_their_distance(places, apart):
    moved = spread(places, apart)
    order = np.argsort(places, kind="stable")
    assert np.all(np.diff(np.array(moved)[order]) >= apart - 1e-9)
    assert np.mean(moved) == pytest.approx(np.mean(places), abs=1e-9) if places else moved == []
    if np.all(np.diff(np.sort(places)) >= apart):
        assert moved == pytest.approx(places)


def test_two_places_that_are_too_close_are_moved_by_the_same_amount():
    assert spread([1.0, 1.0, 5.0], 2.0) == pytest.approx([0.0, 2.0, 5.0])


@given(st.floats(1e-6, 1e12), st.floats(1.001, 1e9))
def test_an_axis_has_some_round_ticks_between_its_ends_and_not_too_many(low, span):
    ticks = round_ticks(low, low * span, most=7)
    assert all(low <= tick <= low * span for tick in ticks)
    assert 1 <= len(ticks) <= 16
    assert ticks == sorted(ticks)


def test_costs_have_ticks_with_prefixes_and_few_counts_their_own():
    for costs, shown in (([1e6, 8e6, 9e7], ["1M", "10M", "100M"]), ([4, 16, 1024], ["4", "16", "1,024"])):
        drawn = axes()
        cost_axis(drawn, pd.Series(costs), "cost [FLOPs]")
        drawn.figure.draw_without_rendering()
        assert set(shown) <= {text.get_text() for text in drawn.get_xticklabels()}
        assert drawn.get_xlim()[0] < min(costs) < max(costs) < drawn.get_xlim()[1]
        assert drawn.get_xscale() == "log"


def test_one_cost_alone_has_an_axis_around_it():
    drawn = axes()
    cost_axis(drawn, pd.Series([5e9, 5e9]), "cost")
    assert drawn.get_xlim()[0] < 5e9 < drawn.get_xlim()[1]


def test_thirty_six_lines_look_different():
    looks = styles(range(36))
    assert len(set(looks.values())) == 36
    assert looks[0] == (COLOURS[0], MARKERS[0])


def test_names_of_lines_that_end_at_one_place_are_pushed_apart():
    drawn = axes(xlim=(0, 1), ylim=(0, 1))
    label_ends(drawn, [Label(0.5, 0.5, f"line {n}") for n in range(4)])
    assert len(drawn.texts) == 4
    assert not overlapping(drawn.figure)


def test_labels_of_points_keep_off_each_other_and_off_the_marks():
    rng = np.random.default_rng(0)
    drawn = axes(xlim=(0, 1), ylim=(0, 1))
    places = rng.uniform(0.1, 0.9, (25, 2))
    drawn.plot(*places.T, "o")
    label_points(drawn, [Label(x, y, f"p{n}") for n, (x, y) in enumerate(places)])
    assert len(drawn.texts) > 15
    assert not overlapping(drawn.figure)
    at = drawn.transData.transform(places)
    for text in drawn.texts:
        assert not any(text.get_window_extent().contains(x, y) for x, y in at)


def test_a_label_without_a_free_place_is_left_out_unless_it_is_needed():
    for needed, shown in ((False, 9), (True, 30)):
        drawn = axes(xlim=(0, 1), ylim=(0, 1))
        label_points(drawn, [Label(0.5, 0.5, "a long label", needed=needed) for _ in range(30)])
        assert (len(drawn.texts) <= shown) if not needed else (len(drawn.texts) == shown)


def test_a_label_at_the_edge_stays_inside():
    drawn = axes(xlim=(0, 1), ylim=(0, 1))
    label_points(drawn, [Label(1, 1, "a corner"), Label(0, 0, "another corner")], first=(1, 0))
    assert len(drawn.texts) == 2
    assert not cut_off(drawn.figure)


@pytest.mark.parametrize("ending", STARTS)
def test_a_figure_is_the_same_file_twice(ending):
    drawn = axes()
    drawn.plot([1, 2, 3], label="a line")
    first, second = picture(drawn.figure, ending), picture(drawn.figure, ending)
    assert first.startswith(STARTS[ending])
    assert first == second
