"""Figures for print: texts that are read and do not meet at both widths, formats that can be edited, colours that the
colour-blind and a grey printer keep apart."""

import re
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from analysis.fit_laws import main
from analysis.plots.backbone_styles import BY_SIZE, COLOURS, LINES, SIZES, styles
from analysis.plots.labels import Label, label_ends, label_points
from analysis.plots.printed import WIDTHS, chosen, printed
from analysis.plots.style import INK, files, grid, heading, key, panel_title, x_label
from analysis.plots.style import handle as entry
from tests.analysis.every_figure import EVERY, PAGE_ONLY
from tests.conftest import ROOT
from tests.drawn import faults

LEAST_APART = 15.0  # between two colours of a figure; 2.3 is just noticeable [CIE 1976 colour difference]
DEAR = ("images_cifar10_full", "figure1", "optimal", "token_drop", "embeddings", "tsne")  # a second or more each
IN_GREY = 20.0  # between the lightnesses of two series that have one marker and one dash
# What dichromats see, in linear RGB: Machado, Oliveira and Fernandes 2009 (doi 10.1109/TVCG.2009.113), severity 1.
SEEN = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "normal": np.eye(3).tolist(),
}


def lab(colour: str, seen: str = "normal") -> np.ndarray:
    """CIE L*a*b* of a colour as it is seen, by the sRGB standard with white D65."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(SEEN[seen]) @ linear, 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    x, y, z = np.array(to_xyz) @ linear / (0.95047, 1.0, 1.08883)
    fx, fy, fz = (c ** (1 / 3) if c > (6 / 29) ** 3 else c * (29 / 6) ** 2 / 3 + 4 / 29 for c in (x, y, z))
    return np.array([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ("#ffffff", (100, 0, 0)),
        ("#000000", (0, 0, 0)),
        ("#ff0000", (53.24, 80.09, 67.20)),
        ("#0000ff", (32.30, 79.19, -107.86)),
    ],
)
def test_the_colour_space_has_its_published_values(colour, expected):
    assert lab(colour) == pytest.approx(expected, abs=0.05)


def test_red_and_green_of_one_lightness_are_confused_in_the_simulation():
    """The simulation finds what it is for: a pair that only trichromats tell apart."""
    red, green = "#d1605e", "#6a9f58"
    apart = {seen: np.linalg.norm(lab(red, seen) - lab(green, seen)) for seen in SEEN}
    assert apart["normal"] > 60
    assert min(apart["protanopia"], apart["deuteranopia"]) < 0.5 * apart["normal"]


@pytest.mark.parametrize("seen", SEEN)
def test_any_two_colours_of_a_figure_are_told_apart(seen):
    for a, b in combinations([*COLOURS, INK], 2):
        assert np.linalg.norm(lab(a, seen) - lab(b, seen)) >= LEAST_APART, (a, b)


def test_series_differ_in_grey():
    """By their marker; lines without marks by their dashes."""
    of_one = [[f"{family}_{size}" for size in SIZES] for family in BY_SIZE]
    for names in ([*range(6)], *of_one, ["deit_nano", "adventurer_nano", "linear", "UperNet"]):
        for (_, (a, mark)), (_, (b, other)) in combinations(styles(names).items(), 2):
            assert mark != other or abs(lab(a)[0] - lab(b)[0]) >= IN_GREY, (names, a, b, mark)
    assert len(set(map(str, LINES))) == len(COLOURS)


def axes_of_one(**limits):
    figure, [axes] = grid(1, 1, 2.5)
    axes.set(xlim=(0, 1), ylim=(0, 1), **limits)
    return figure, axes


def test_the_check_finds_what_is_planted():
    figure, axes = axes_of_one()
    assert not faults(figure)
    axes.text(0.5, 0.5, "one text", fontsize=8)
    axes.text(0.52, 0.51, "another one", fontsize=8)
    assert faults(figure) == {"overlapping": [("one text", "another one")]}
    for kind, plant in {
        "on marks": lambda its: its.plot([0.5], [0.5], "o", ms=6),
        "on lines": lambda its: its.plot([0, 1], [0, 1]),
        "cut off": lambda its: its.get_figure().text(0.95, 0.5, "a text that has no room here", fontsize=8),
        "small": lambda its: its.text(0.1, 0.1, "small", fontsize=6),
    }.items():
        figure, axes = axes_of_one()
        axes.text(0.5, 0.5, "a label", fontsize=8, ha="center", va="center")
        plant(axes)
        assert list(faults(figure)) == [kind]
    figure, axes = axes_of_one()
    axes.plot([0.1], [0.1], "o", label="a name")
    axes.legend(loc="lower left", fontsize=8)
    assert "on marks" in faults(figure)


def checked(name, width):
    with printed(width):
        figure = EVERY[name]()
    assert figure.get_figwidth() == WIDTHS[width]
    assert not faults(figure)


def in_column(name):
    return pytest.param(name, marks=[pytest.mark.slow] if name in DEAR else [])


@pytest.mark.parametrize("name", [in_column(name) for name in EVERY if name not in PAGE_ONLY])
def test_texts_of_a_figure_do_not_meet_in_a_column(name):
    checked(name, "column")


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.slow
def test_texts_of_a_figure_do_not_meet_on_a_page(name):
    checked(name, "page")


@pytest.mark.parametrize("name", ["frontier_shapes", "optimal", "figure3", "law_flops", "figure1_honest", *PAGE_ONLY])
def test_texts_of_a_figure_with_many_labels_do_not_meet_on_a_page(name):
    checked(name, "page")


def test_only_the_style_decides_on_sizes():
    """No other file of the plots has a number for letters or for a figure's width."""
    for path in [*(ROOT / "analysis" / "plots").glob("*.py"), ROOT / "analysis" / "paper" / "figures.py"]:
        if path.name != "style.py":
            assert not re.search(r"fontsize=\d|figsize=\(\d|suptitle\(|\.legend\(", path.read_text()), path.name


def test_labels_far_from_a_crowd_have_a_leader_and_stand_on_nothing():
    figure, axes = axes_of_one()
    rng = np.random.default_rng(0)
    places = rng.uniform(0.35, 0.65, (14, 2))
    axes.plot(*places.T, "o", ms=5)
    axes.plot(*places.T, lw=1)
    label_points(axes, [Label(x, y, f"T {n}/224", needed=True) for n, (x, y) in enumerate(places)])
    assert len(axes.texts) == 14
    assert not faults(figure)
    assert any(text.arrow_patch is not None for text in axes.texts)


def test_the_same_labels_have_the_same_places_twice():
    drawn = []
    for _ in range(2):
        _, axes = axes_of_one()
        axes.plot([0.2, 0.4, 0.6], [0.5, 0.5, 0.52], "o-")
        label_points(axes, [Label(x, 0.5, f"p{x}", needed=True) for x in (0.2, 0.4, 0.6)])
        drawn.append([text.get_position() for text in axes.texts])
    assert drawn[0] == drawn[1]


def test_names_of_lines_leave_room_for_a_line_that_goes_on():
    figure, axes = axes_of_one()
    axes.plot([0.1, 0.4], [0.5, 0.5])
    axes.plot([0.1, 0.7], [0.9, 0.5])
    label_ends(axes, [Label(0.4, 0.5, "short"), Label(0.7, 0.5, "long")])
    assert not faults(figure)


def test_a_long_title_and_a_long_legend_get_lines_and_the_figure_height():
    with printed("column"):
        figure, [axes] = grid(1, 1, 2.0)
        high = figure.get_figheight()
        heading(figure, "a heading of many words that do not fit on one line of a column of two columns")
        panel_title(axes, "a title of many words that do not fit on one line of a column, neither here nor there")
        x_label(axes, "a label of many words that do not fit on one line of a column [px], log scale")
        key(figure, [entry(f"a series with the long name {n}") for n in range(5)])
    assert figure.get_figheight() > high + 0.8
    assert not faults(figure)
    assert "\n" in axes.get_title(loc="left")


def test_a_choice_holds_within_its_block():
    before = chosen()
    with printed("column", ("svg",)):
        assert list(files("law", Figure())) == ["law.svg"]
        assert chosen().inches == 3.25
    assert chosen() == before


def test_texts_of_vector_files_stay_texts():
    figure, axes = axes_of_one()
    panel_title(axes, "letters")
    with printed("page", ("svg", "pdf")):
        made = files("law", figure)
    assert re.search(rb"<text[^>]*>letters</text>", made["law.svg"])
    assert b"/FontFile2" in made["law.pdf"]
    assert b"/Type3" not in made["law.pdf"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--width", "colum"], "unknown width of figures 'colum'; did you mean column"),
        (["--figures", "png,jpg"], "unknown format of figures 'jpg'"),
        (["--figures", ","], "no format of figures; choose from: png, pdf, svg"),
    ],
)
def test_a_wrong_choice_is_refused_in_one_line_and_nothing_is_written(tmp_path, capsys, options, words):
    assert main(["--results", str(tmp_path / "no"), "--out", str(tmp_path / "out"), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (tmp_path / "out").exists()
