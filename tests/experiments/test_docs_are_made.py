"""Every table and figure of README.md and docs/ is what the code makes today of the data in the repository."""

import json
import re

import pandas as pd
import pytest

from analysis.plots.drawn_numbers import agree, digest, numbers_of
from analysis.plots.studies import crossing_figure
from analysis.records.groups import published_groups
from analysis.records.seed_summaries import as_points, summary
from analysis.report.made_blocks import alike, filled, names_in, stale
from experiments import docs
from experiments.documentation.data import MEASURED, numbers, shapes
from experiments.documentation.figures import FIGURES
from experiments.documentation.law_tables import published_laws
from experiments.documentation.tables import TABLES
from scaling.errors import ConfigError
from tests.conftest import ROOT

OF_WORDS = tuple(
    f"docs/{name}.md"
    for name in ("clusters", "design", "inference", "loggers", "positions", "results/README", "stability")
)  # pages with tables of words, which nothing makes
DEAR = ("laws-published", "budget", "optimal.png")  # seconds each; `make docs ARGS=--check` compares them too


def report(found):
    return "\n".join(["run `make docs`, and look at what it changes:", *found])


def test_no_table_and_no_figure_is_out_of_date():
    found = docs.out_of_date(leave_out=DEAR)
    assert not found, report(found)


def test_laws_of_the_paper_are_those_of_the_docs():
    """Of every fifth of its groups."""
    has = [" ".join(line.split()) for line in docs.texts()["docs/results/published.md"].splitlines()]
    every = [group.name for group in published_groups()]
    for line in published_laws(lambda group: group.name in every[2::5]):
        assert any(alike(line, other) for other in has), report([line])


def test_every_block_is_in_some_text_once_and_every_table_is_a_block():
    found = [name for text in docs.texts().values() for name in names_in(text)]
    assert sorted(found) == sorted(TABLES)
    for name, text in docs.texts().items():
        if name in OF_WORDS:
            continue
        outside = re.sub(r"<!-- made: .*?<!-- end -->", "", text, flags=re.DOTALL)
        tables = [line for line in outside.splitlines() if line.startswith("|")]
        assert not tables, f"{name} has a table that nothing makes: {tables[0]}"


def test_every_figure_is_shown_and_all_but_two_are_made():
    shown = {name for text in docs.texts().values() for name in re.findall(r"\([./\w]*figures/([\w-]+\.png)\)", text)}
    others = {"prediction_camvid.png", "prediction_nuclei.png"}  # drawn by runs whose weights are not shipped
    assert shown == {*FIGURES, *others} == {path.name for path in (ROOT / docs.FOLDER).glob("*.png")}


def test_files_of_measured_numbers_are_described():
    described = (MEASURED / "README.md").read_text()
    for path in MEASURED.glob("*.csv"):
        assert f"`{path.name}`" in described


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("alpha 0.80 [0.62, 1.22]", "alpha 0.80  [0.62, 1.22]", True),
        ("alpha 0.80", "alpha 0.81", True),  # a unit of the last digit
        ("alpha 0.80", "alpha 0.82", False),
        ("alpha 0.8 ?", "alpha 0.8", False),
        ("| 2,304 | +141 % |", "| 2,305 | +141 % |", True),
        ("| 2,304 | +141 % |", "| 2,304 | -141 % |", False),
        ("5.0e-10", "5.1e-10", True),
        ("5.0e-10", "5.0e-9", False),
        ("better", "worse", False),
        ("1 2", "1 2 3", False),
    ],
)
def test_lines_say_the_same_where_words_do_and_numbers_to_their_last_digit(one, other, same):
    assert alike(one, other) is same


def test_a_stale_block_is_named_with_its_first_line_and_filled_anew():
    text = "before\n<!-- made: one -->\nold 1.00\n<!-- end -->\nafter <!-- made: two -->\n<!-- end -->\n"
    made = {"one": lambda: ["old 2.00"], "two": lambda: []}
    assert stale(text, made) == ["one: 'old 1.00', made 'old 2.00'"]
    assert stale(filled(text, made), made) == []
    assert filled(text, made).startswith("before\n<!-- made: one -->\nold 2.00\n<!-- end -->\nafter ")
    assert filled(text, {"two": made["two"]}) == text


def test_named_blocks_figures_and_pages_are_made_alone():
    found = docs.made(["cifar10", "crossing.png", "docs/records.md"])
    pages = [name for name, text in docs.texts().items() if "cifar10" in names_in(text)]
    assert set(found) == {*pages, "docs/figures/crossing.png", docs.NUMBERS, "docs/records.md"}
    assert set(json.loads(found[docs.NUMBERS])) == set(FIGURES)
    with pytest.raises(ConfigError, match="nothing makes crosing"):
        docs.main(["crosing"])


def test_a_figure_of_other_numbers_is_seen_whatever_its_pixels():
    frame = numbers("crossing")
    one = numbers_of(crossing_figure(frame))
    assert agree(one, numbers_of(crossing_figure(frame)))
    assert agree(json.loads(json.dumps(one)), one)
    moved = frame.assign(seconds_per_image=frame["seconds_per_image"] * 1.01)
    assert not agree(one, numbers_of(crossing_figure(moved)))
    assert not agree(one, numbers_of(crossing_figure(frame.query("backbone == 'deit_tiny'"))))
    assert digest(one) != digest(numbers_of(crossing_figure(moved)))


def test_points_that_stand_for_a_mean_have_its_mean_and_deviation():
    means = summary(shapes())
    again = summary(as_points(means))
    keys = ["backbone", "patch"]
    both = means.set_index(keys)[["mean", "sd"]].sort_index(), again.set_index(keys)[["mean", "sd"]].sort_index()
    pd.testing.assert_frame_equal(*both)
    with pytest.raises(ValueError, match="standard deviation 5; such points have no logarithm"):
        as_points(means.assign(sd=5.0))
    assert as_points(means.assign(seeds=1, sd=float("nan")))["test_loss"].tolist() == means["mean"].tolist()


def test_the_check_says_what_is_out_of_date_with_status_1(monkeypatch, capsys):
    monkeypatch.setattr(docs, "out_of_date", lambda: ["docs/a.png shows other numbers"])
    assert docs.main(["--check"]) == 1
    assert capsys.readouterr().out == "docs/a.png shows other numbers\n"
