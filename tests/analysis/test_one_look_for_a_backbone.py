"""Figures: a backbone looks alike in all of them, and nothing is promised, cut off or left without a name."""

import numpy as np
import pandas as pd
import pytest

from analysis.paper.figure1_panels import ticks_above
from analysis.paper.figures import figure2, figure3
from analysis.paper.tables import figure2 as table2
from analysis.paper.tables import figure3 as table3
from analysis.plots.backbone_styles import BY_SIZE, COLOURS, look_of, styles
from analysis.plots.frontier import frontier_figure
from analysis.plots.labels import Label, label_ends
from analysis.plots.laws import law_figure
from analysis.plots.printed import printed
from analysis.plots.scales import round_ticks
from analysis.plots.studies import crossing_figure, study_figure
from analysis.plots.style import picture
from analysis.records.groups import Group
from analysis.report.checklist import checklist
from analysis.report.law_table import fit_groups
from scaling.tasks.visualize import DETECTION_HEADINGS
from tests.analysis.test_drawing import axes
from tests.drawn import faults


@pytest.mark.parametrize(
    "name", ["deit_nano", "DeiT-Nano", "classify-shapes-deit_nano-16px-0c12e1d1", "deit_nano 16 px", "own, DeiT-Nano"]
)
def test_a_backbone_has_one_look_whatever_it_is_called_by(name):
    assert look_of(name) == look_of("deit_nano") == (COLOURS[0], "o")


def test_what_is_no_backbone_has_no_look_of_its_own():
    assert [look_of(name) for name in ("linear", "timm:vit_tiny_patch16_224", "deit", "1e19", "")] == [None] * 5


@pytest.mark.parametrize(
    "together",
    [
        ["deit_nano", "adventurer_nano"],
        [f"{family}_{size}" for family in BY_SIZE for size in ("pico", "nano", "micro")],
        [f"Adventurer-{size}" for size in ("Tiny", "Small", "Base", "Large", "Huge")],
        [f"DeiT-{size}" for size in ("Tiny", "Small", "Base", "Large", "Huge")],
        ["DeiT-Base", "Adventurer-Base"],
        ["deit_tiny", "adventurer_tiny"],
    ],
    ids=" ".join,
)
def test_backbones_that_share_a_figure_have_different_colours(together):
    looks = styles(together)
    assert len({colour for colour, _ in looks.values()}) == len(together)
    assert styles(together[::-1]) == looks  # whatever their order


def test_other_series_of_a_backbone_and_names_that_are_none_take_what_is_free():
    looks = styles(["deit_nano a", "linear", "deit_nano b"])
    assert looks["deit_nano a"] == look_of("deit_nano")
    assert len(set(looks.values())) == 3


def runs():
    rows = [
        (f"classify-shapes-{b}-16px-0", b, p, s, 0.3 + 0.1 * p ** (0.8 + 0.1 * (b == "deit_nano")) * (1 + 0.02 * s))
        for b in ("adventurer_nano", "deit_nano")
        for p in (16, 8, 4, 2, 1)
        for s in (0, 1)
    ]
    frame = pd.DataFrame(rows, columns=["group", "backbone", "patch", "seed", "test_loss"])
    return frame.assign(status="finished", task="classify", data="shapes", image=16, stage="", head="linear")


def test_the_law_the_study_and_the_crossing_paint_a_backbone_alike():
    law = {line.get_label(): line.get_color() for line in law_figure(runs()).axes[0].lines}
    points = pd.DataFrame(
        [(x, 2.0 / x, "", name, "", "") for name in ("deit_nano", "adventurer_nano") for x in (1, 4)],
        columns=["x", "test_loss", "panel", "colour", "dash", "note"],
    )
    study = {line.get_label(): line.get_color() for line in study_figure(points, "tokens", "a study").axes[0].lines}
    for name in ("deit_nano", "adventurer_nano"):
        assert law[name] == study[name] == look_of(name)[0]
    rows = [(name, 4**n, 1e-3 * 4**n) for name in ("adventurer_tiny", "deit_tiny") for n in range(3)]
    frame = pd.DataFrame(rows, columns=["backbone", "tokens", "seconds_per_image"])
    for text in crossing_figure(frame).axes[0].texts:
        assert text.get_color() == look_of(text.get_text())[0]


def test_a_legend_names_the_laws_that_are_drawn_alone():
    two = law_figure(runs().query("patch > 4")).axes[0]
    assert not two.figure.legends
    three = law_figure(runs().query("patch > 2 and seed == 0")).axes[0]  # three parameters go through three points
    assert [text.get_text().split()[0] for text in three.figure.legends[0].get_texts()] == ["power", "95"]


def test_names_of_lines_stay_beside_their_panel():
    drawn = axes(xlim=(0, 1), ylim=(0, 1))
    label_ends(drawn, [Label(0.5, y, f"line {n}") for n, y in enumerate((-3.0, 0.01, 0.02, 7.0))])
    places = [text.get_position()[1] for text in drawn.texts]
    assert min(places) >= 0
    assert max(places) <= 1


def test_the_models_of_a_dotted_line_are_of_one_family():
    frame = table3().frame
    deit = frame.assign(model="DeiT-" + frame["model"].str.split("-").str[1], published=frame["published"] - 3)
    for figure in (figure3(frame), figure3(pd.concat([frame, deit], ignore_index=True))):
        dotted = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
        assert all((np.diff(line.get_ydata()) > 0).all() for line in dotted)  # none goes from one family to another
    assert len(dotted) == 2 * 5


def test_figures_of_the_paper_name_their_data_set():
    assert [a.get_title(loc="left") for a in figure2(table2().frame).axes] == [
        "Adventurer-Tiny, ADE20K",
        "Adventurer-Base, ADE20K",
    ]
    assert all("ImageNet-1k" in a.get_title(loc="left") for a in figure3(table3().frame).axes)


@pytest.mark.parametrize(("floor", "low", "high"), [(0.8, 0.81, 1.11), (0.69, 0.695, 0.85), (0.02, 0.189, 0.242)])
def test_ticks_above_a_floor_are_round_and_lie_on_the_axis(floor, low, high):
    ticks = ticks_above(floor, low, high)
    assert ticks == sorted(set(ticks))
    assert len(ticks) == 5
    assert low <= ticks[0] < ticks[-1] <= high
    assert all(len(f"{tick:g}".rstrip("0")) <= 6 for tick in ticks)


def test_round_ticks_go_by_ones_twos_and_fives():
    for low, high in ((0.71, 1.05), (0.28, 0.39), (15.0, 32.0)):
        step = float(np.diff(round_ticks(low, high))[0])
        assert f"{step:.3e}"[0] in "125"
        assert f"{step:.3e}"[2:5] == "000"


def test_a_pdf_has_truetype_letters():
    drawn = axes()
    drawn.set_title("letters")
    content = picture(drawn.figure, "pdf")
    assert b"/Type3" not in content
    assert b"/FontFile2" in content  # a TrueType font; Type 3 has none


def test_a_panel_without_a_finding_says_from_which_score_on_it_shows_any():
    assert "score 50 % or more" in DETECTION_HEADINGS[-1]


def test_a_table_behind_a_list_is_a_table_in_markdown():
    """report.md, where one of the forms could not be fitted."""
    points = pd.DataFrame({"patch": [8.0, 4.0, 2.0], "seed": 0, "y": [1.0, 0.8, 0.7]})
    text = checklist(fit_groups([Group("three", "three", "own", points)], ("power", "broken")))
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("|") and not lines[number - 1].startswith("|"):
            assert lines[number - 1] == "", lines[number - 1]
    assert "- broken: not fitted" in text


@pytest.mark.parametrize(
    "make",
    [
        lambda: law_figure(runs()),
        lambda: frontier_figure(runs().assign(flops_per_image=lambda f: 1e6 / f["patch"] ** 2)),
        lambda: figure3(table3().frame),
        lambda: figure2(table2().frame),
    ],
    ids=["law", "frontier", "figure 3", "figure 2"],
)
def test_letters_can_be_read_at_the_width_of_a_column_and_none_is_cut_off(make):
    """7 points or more, in a column of two for one panel and on a page for several."""
    several = len(make().axes) > 1
    with printed("page" if several else "column"):
        figure = make()
    assert figure.get_figwidth() == (6.75 if several else 3.25)
    assert not faults(figure)
