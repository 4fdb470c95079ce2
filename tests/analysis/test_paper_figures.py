"""Figures 1 to 4 show the published numbers and one's own, on the axes that they name."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.fitting.laws import fit
from analysis.paper import figures
from analysis.paper.figures import figure1, figure1_honest, figure2, figure4
from analysis.plots.style import picture
from analysis.records.published import load_published
from scaling import costs
from tests.drawn import cut_off, overlapping

DRAWN = ("figure1", "figure1_honest", "figure2", "figure3", "figure4")


def losses(own: str = "") -> pd.DataFrame:
    """Figure 1's frame; own: panels that have runs of one's own, a tenth above what is published."""
    frame = load_published("figure1_test_loss").rename(columns={"test_loss": "published"})
    return frame.assign(own=frame["published"].where(frame["panel"].isin(list(own))) * 1.1)


def heads(own: bool = False) -> pd.DataFrame:
    frame = load_published("table2_ade20k").rename(columns={"miou": "published"}).assign(own=np.nan)
    if own:
        plain = frame[frame["decoder"] == "None"]
        finer = plain[plain["patch"] < 16].assign(decoder="UperNet", published=np.nan, own=plain["published"] + 0.3)
        frame = pd.concat([frame.assign(own=frame["published"] - 1), finer], ignore_index=True)
    return frame


def accuracies(own: bool = False) -> pd.DataFrame:
    """Figure 3's and 4's frame: Tables 1 and 4."""
    table1 = load_published("table1_imagenet_patch").drop(columns="longest_seq")
    table4 = load_published("table4_model_and_patch")
    both = pd.concat([table1, table4.assign(model="Adventurer-" + table4["model"])])
    frame = both.drop_duplicates(["model", "input_px"]).melt(
        ["model", "input_px"], var_name="patch", value_name="published"
    )
    frame = frame.dropna().assign(patch=lambda f: f["patch"].str[1:].astype(int)).reset_index(drop=True)
    of = [(name.lower().replace("-", "_"), *sizes) for name, *sizes in frame[["model", "input_px", "patch"]].to_numpy()]
    frame["flops"] = [float(costs.flops(*words, 1000)) for words in of]
    frame["tokens"] = (frame["input_px"] // frame["patch"]) ** 2
    mine = (frame["model"] == "DeiT-Base") & own
    return frame.assign(own=frame["published"].where(mine) - 2.5)


def frame_of(name: str, own: bool) -> pd.DataFrame:
    if name.startswith("figure1"):
        return losses("abe" if own else "")
    return heads(own) if name == "figure2" else accuracies(own)


@cache
def made(name: str, own: bool) -> Figure:
    """A figure that no test changes."""
    return getattr(figures, name)(frame_of(name, own))


def points(axes, hollow: bool) -> set[tuple[float, float]]:
    """What the marks of a panel stand on."""
    marked = [line for line in axes.lines if line.get_marker() not in ("None", "")]
    chosen = [line for line in marked if (line.get_markerfacecolor() == "white") == hollow]
    return {(float(x), float(y)) for line in chosen for x, y in zip(*line.get_data(), strict=True)}


def rows(frame: pd.DataFrame, x: str, source: str) -> set[tuple[float, float]]:
    return set(frame.dropna(subset=[source])[[x, source]].astype(float).itertuples(index=False, name=None))


def said(figure) -> str:
    return " ".join(text.get_text() for axes in figure.axes for text in axes.texts)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("name", DRAWN)
def test_no_text_stands_on_another_or_is_cut_off_and_the_key_says_which_marks_are_the_papers(name, own):
    figure = made(name, own)
    assert not overlapping(figure)
    assert not cut_off(figure)
    (key,) = figure.legends
    words = [text.get_text() for text in key.get_texts()]
    assert words[0] == "hollow: published"
    assert ("filled: own runs" in words) == own


@pytest.mark.parametrize("name", ["figure1", "figure1_honest"])
def test_figure_1_has_nine_panels_with_every_point_and_small_patches_to_the_right(name):
    frame, figure = frame_of(name, own=True), made(name, True)
    assert [axes.get_title(loc="left")[0] for axes in figure.axes] == list("abcdefghi")
    assert "segmentation ade20k" in figure.axes[3].get_title(loc="left")
    for axes, (_, its) in zip(figure.axes, frame.groupby("panel"), strict=True):
        assert points(axes, hollow=True) == rows(its, "patch", "published")
        assert points(axes, hollow=False) == rows(its, "patch", "own")
        assert axes.get_xlim()[0] > axes.get_xlim()[1]
        assert axes.get_xticks().tolist() == sorted(its["patch"])
    assert all("[px]" in axes.get_xlabel() for axes in figure.axes[-3:])
    assert "[nats]" in figure.get_supylabel()


def test_the_papers_axis_is_that_of_the_loss_less_its_floor_and_the_law_is_straight_on_it():
    frame = losses()
    figure = made("figure1", False)
    figure.draw_without_rendering()
    for axes, (_, its) in zip(figure.axes, frame.groupby("panel"), strict=True):
        floor = its["axis_l_inf"].iloc[0]
        law = next(line for line in axes.lines if line.get_marker() == "None")
        bent = np.polyfit(*axes.transData.transform(law.get_xydata()).T, 2)[0]
        assert abs(bent) < 1e-6
        slope = np.polyfit(np.log(its["patch"]), np.log(its["published"] - floor), 1)[0]
        drawn = np.diff(np.log(law.get_ydata() - floor)) / np.diff(np.log(law.get_xdata()))
        assert drawn == pytest.approx(slope)
        ticks = axes.transData.transform([(1, tick) for tick in axes.get_yticks()])[:, 1]
        assert np.diff(ticks).max() < 3 * np.diff(ticks).min()  # about evenly spaced, as the paper's are
        assert all(float(f"{tick:.3g}") == tick for tick in axes.get_yticks())  # and round, as the paper's are not
        names = [float(text.get_text()) for text in axes.get_yticklabels()]
        assert names == pytest.approx(axes.get_yticks(), abs=6e-4)


def test_own_losses_without_a_place_on_the_papers_axis_are_counted():
    frame = losses(own="a").query("panel == 'a'")
    frame.loc[frame.index[-2:], "own"] = 0.7  # the axis ends at L_inf 0.8002
    figure = figure1(frame)
    assert "own: 2 below" in said(figure)
    assert len(points(figure.axes[0], hollow=False)) == 3
    assert not overlapping(figure)


def test_the_honest_form_has_both_laws_on_logarithms_and_says_what_the_points_tell():
    frame, figure = frame_of("figure1_honest", own=True), made("figure1_honest", True)
    for axes, (panel, its) in zip(figure.axes, frame.groupby("panel"), strict=True):
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        laws = [line for line in axes.lines if line.get_marker() == "None"]
        assert len(laws) == (4 if panel in "abe" else 2)
        assert laws[0].get_linestyle() != laws[1].get_linestyle()
        power, shifted = (fit(its["patch"], its["published"], form) for form in ("power", "shifted"))
        for line, law in zip(laws, (power, shifted), strict=False):
            assert line.get_ydata() == pytest.approx(law.predict(line.get_xdata()))
        text = axes.texts[0].get_text().replace("\n", " ")
        assert (f"{power.r2:.3f} power, {shifted.r2:.3f} shifted" in text) == (panel not in "abe")  # one series
        assert ("not identified" in text) != shifted.identified["L_inf"]
        assert len(axes.collections) == len(axes.texts) == (2 if panel in "abe" else 1)


def test_several_own_models_in_a_panel_that_names_none_are_told_apart():
    frame = losses().assign(label="").query("panel == 'd'")
    mine = frame.assign(published=np.nan)
    mine = [mine.assign(model=name, own=mine["patch"] * 0.01 + 0.3) for name in ("Adventurer-Tiny", "Adventurer-Base")]
    axes = figure1_honest(pd.concat([frame, *mine], ignore_index=True)).axes[0]
    assert [text.get_text().split(":")[0] for text in axes.texts] == [
        "our fit",
        "own Adventurer-Tiny",
        "own Adventurer-Base",
    ]
    assert "segmentation ade20k" in axes.get_title(loc="left")
    markers = [line.get_marker() for line in axes.lines if line.get_marker() != "None"]
    assert len(set(markers)) == 3


def test_figure_2_has_a_panel_a_model_and_both_heads_by_name():
    frame = heads(own=True)
    gap = frame.iloc[:1].assign(decoder="UperNet minus linear", published=1.3)  # what paper_tables adds
    figure = figure2(pd.concat([frame, gap]))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Adventurer-T", "Adventurer-B"]
    for axes, (_, its) in zip(figure.axes, frame.groupby("model", sort=False), strict=True):
        assert points(axes, hollow=True) == rows(its, "patch", "published")
        assert points(axes, hollow=False) == rows(its, "patch", "own")
        assert {text.get_text() for text in axes.texts} == {"linear", "UperNet", "linear, own", "UperNet, own"}
        assert axes.get_xlim()[0] > axes.get_xlim()[1]
    assert figure.axes[0].get_ylabel() == "mIoU [%]"
    styles = {(line.get_marker(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(styles) == 4  # readable without colours


def test_figure_3_joins_a_models_patches_and_thinly_a_patchs_models():
    frame, figure = accuracies(own=True), made("figure3", True)
    assert {axes.get_title(loc="left") for axes in figure.axes} == {"64 px", "128 px", "224 px"}
    for axes in figure.axes:
        its = frame[frame["input_px"] == int(axes.get_title(loc="left").split()[0])]
        assert points(axes, hollow=True) == rows(its, "flops", "published")
        assert points(axes, hollow=False) == rows(its, "flops", "own")
        models = {text.get_text() for text in axes.texts} - {f"p{p}" for p in (16, 8, 4, 2, 1)}
        own = {"DeiT-Base, own"} if its["own"].notna().any() else set()
        assert models == {*its["model"], *own}
        thin = [line for line in axes.lines if line.get_linestyle() == ":"]
        for line in thin:
            assert its[its["flops"].isin(line.get_xdata())]["patch"].nunique() == 1
        assert axes.get_xscale() == "log"
        assert "FLOPs" in axes.get_xlabel()


def test_figure_4_compares_numbers_of_tokens_that_a_model_has_at_two_image_sizes():
    frame, figure = accuracies(), made("figure4", False)
    assert {axes.get_title(loc="left") for axes in figure.axes} == {"DeiT-Base", "Adventurer-Base"}
    for axes in figure.axes:
        assert {text.get_text() for text in axes.texts} == {f"{n:,} tokens" for n in (64, 256, 1024, 4096)}
        assert axes.get_xticks().tolist() == [64, 128]
        its = frame[(frame["model"] == axes.get_title(loc="left")) & frame["tokens"].isin([64, 256, 1024, 4096])]
        assert points(axes, hollow=True) == rows(its[its["input_px"] < 224], "input_px", "published")
    with pytest.raises(ValueError, match="no row has a number of tokens at two image sizes"):
        figure4(frame[frame["input_px"] == 64])


def test_other_data_sets_have_panels_and_axes_of_their_own():
    mine = heads().iloc[1:5].assign(model="adventurer_nano", data="shapes", own=[10.0, 20, 40, 70], published=np.nan)
    figure = figure2(pd.concat([heads().assign(data="ade20k"), mine], ignore_index=True))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Adventurer-T, ade20k", "Adventurer-B, ade20k", "adventurer_nano, shapes"]
    assert figure.axes[0].get_ylim()[1] < 50 < figure.axes[2].get_ylim()[1]
    assert points(figure.axes[2], hollow=False) == {(16, 10), (8, 20), (4, 40), (2, 70)}
    assert {text.get_text() for text in figure.axes[2].texts} == {"linear"}


def test_one_published_line_beside_several_own_ones_is_drawn_once():
    plain = heads()[lambda f: f["decoder"] == "None"]
    twice = pd.concat([plain.assign(label=f"lr {lr}", own=plain["published"] - lr) for lr in (1, 2)])
    axes = figure2(twice).axes[0]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [len(line.get_xdata()) for line in hollow] == [4]
    assert {text.get_text() for text in axes.texts} == {"linear", "linear, own, lr 1", "linear, own, lr 2"}


@pytest.mark.parametrize("name", DRAWN)
def test_a_frame_without_a_number_is_refused(name):
    with pytest.raises(ValueError, match="nothing to draw"):
        getattr(figures, name)(frame_of(name, own=False).assign(published=np.nan))


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_that_is_made_anew_is_the_same(name):
    """To every letter and stroke of its SVG. Other formats: test_drawing.py."""
    frame = frame_of(name, own=True)
    frame = frame[frame["panel"] == "a"] if "panel" in frame else frame
    first, second = (picture(getattr(figures, name)(frame), "svg") for _ in range(2))
    assert first == second
    assert len(first) > 5000
