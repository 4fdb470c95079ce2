"""Tables as text: numbers beside each other, what is missing shown, every format whole."""

import io
import re
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from analysis.paper.layout import PaperTable
from analysis.paper.tables import all_tables
from analysis.records.run_set import load
from analysis.report.text_tables import csv, latex, markdown, show
from analysis.report.wide_table import heading, notes, wide
from experiments.recipes import ade20k, coco, imagenet, shapes
from experiments.studies.resolve import resolve
from scaling.config.edit import edit
from tests.analysis.test_runs import save

PUBLISHED = all_tables()
NAMES = list(PUBLISHED)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> pd.DataFrame:
    """A few runs of every task, of the paper and not."""
    folder = tmp_path_factory.mktemp("runs")
    seeded = [edit(imagenet.deit_base(patch, 128), seed=seed) for patch in (16, 8) for seed in (0, 1, 2)]
    chains = [run for patch in (16, 8) for run in imagenet.adventurer_base(patch, 224)]
    others = resolve("shapes.table5", [], {}) + resolve("shapes.figure4", [], {})
    for run in {run.run_id: run for run in [*seeded, *chains, *others]}.values():
        save(folder, run, 0.9, metrics={"top1": 79.0 + 0.3 * run.seed})
    for head in ("linear", "upernet"):
        save(folder, edit(ade20k.adventurer_tiny(16), head=head), 0.34, metrics={"miou": 40.5})
    save(folder, shapes.seg_nano(8), 0.5, metrics={"miou": 60.0})
    found = {"box_ap": 45.0, "mask_ap": 40.0, "test_box_loss": 0.2, "test_mask_loss": 0.2}
    for patch in (64, 32):
        save(folder, coco.adventurer_base(patch), 0.4, metrics=found)
    return load(folder).frame


@pytest.fixture(scope="module")
def tables(runs) -> dict[str, PaperTable]:
    return all_tables(runs)


def printed(table: PaperTable, width: int = 80) -> list[str]:
    drawn = io.StringIO()
    show(table, Console(file=drawn, width=width))
    return drawn.getvalue().splitlines()


def block(table: PaperTable, head: str) -> list[list[str]]:
    """The rows of a block, without its heading."""
    rows = wide(table).to_numpy().tolist()
    start = next(n for n, row in enumerate(rows) if row[0] == head)
    end = next((n for n, row in enumerate(rows) if n > start and row[0]), len(rows))
    return [row[1:] for row in rows[start:end]]


def test_published_own_and_difference_stand_beneath_one_another(tables):
    assert list(wide(tables["table1"]).columns) == ["model", "patch [px]", "16", "8", "4", "2", "1"]
    assert block(tables["table1"], "DeiT-Base, 128 px") == [
        ["published", "78.1", "81.0", "82.3", "82.9", "-"],
        ["own (3)", "79.3", "79.3", "-", "-", "-"],
        ["difference", "+1.2*", "-1.7*", "-", "-", "-"],  # spread 0.3, t 2.776: noise 0.96
    ]


def test_a_side_that_is_missing_altogether_is_one_row_of_dashes(tables):
    assert block(tables["table1"], "DeiT-Base, 64 px")[1:] == [["own", "-", "-", "-", "-", "-"]]
    assert block(tables["table1"], "deit_nano, 16 px, shapes")[0] == ["published", "-", "-", "-", "-", "-"]
    tiny = block(tables["table3"], "Adventurer-Tiny")
    assert [row[:2] for row in tiny[-2:]] == [["mask AP75", "published"], ["", "own"]]
    assert len(tiny) == 7


def test_without_any_run_a_note_says_so_instead():
    assert set(wide(PUBLISHED["table1"])["patch [px]"]) == {"published"}
    assert notes(PUBLISHED["table1"]) == ["published: arXiv 2502.03738, Table 1", "own: - (no own runs)"]


def test_a_metric_stands_beside_its_rows_where_there_are_several(tables):
    assert block(tables["table2"], "Adventurer-Tiny, linear")[:4] == [
        ["mIoU", "published", "40.0", "41.6", "42.1", "42.5"],
        ["", "own", "40.5", "-", "-", "-"],
        ["", "difference", "+0.5?", "-", "-", "-"],
        ["parameters", "published", "12", "12", "13", "13"],
    ]
    assert "metric" not in wide(tables["figure1"])


def test_marks_are_explained_only_where_they_are(tables):
    text = "\n".join(notes(tables["table1"]))
    assert [mark in text for mark in ("* exceeds", "? seed noise", "(n) mean")] == [True, True, True]
    assert notes(PUBLISHED["table7"])[1:] == ["* for parameters: a difference larger than rounding"]
    assert not any(note.startswith("*") for note in notes(tables["table3"]))


def test_a_table_of_single_numbers_has_a_row_a_model():
    table = wide(PUBLISHED["table7"])
    assert list(table.columns) == ["model", "width", "MLP", "blocks", "published", "own", "difference"]
    assert table.iloc[-1].tolist() == ["Adventurer-Huge", "1280", "3200", "32", "759", "718.0", "-41.0*"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("own", [False, True])
def test_every_table_fits_80_columns_and_loses_nothing(tables, name, own):
    table = (tables if own else PUBLISHED)[name]
    lines = printed(table)
    assert max(map(len, lines)) <= 80
    assert lines[0].strip() == table.spec.heading
    text = "\n".join(lines)
    assert "\x1b" not in text
    numbers = re.findall(r"(?<![\w.])[+-]?\d+\.\d+[*?]?(?![\w.])", text)
    cells = [cell for column in wide(table).to_numpy().tolist() for cell in column[1:]]
    assert [n for n in numbers if n in cells] == [c for c in cells if re.fullmatch(r"[+-]?\d+\.\d+[*?]?", c)]


@pytest.mark.parametrize("name", ["table1", "table3", "figure1"])
def test_digits_stand_beneath_digits(tables, name):
    lines = [line for line in printed(tables[name]) if re.search(r"(published|own|difference)\b.*\d\.\d", line)]
    points = {tuple(m.start() for m in re.finditer(r"(?<=\d)\.(?=\d)", line)) for line in lines}
    columns = {place for its in points for place in its}
    assert len(columns) <= tables[name].frame["patch"].nunique() + 1  # "lr 0.001" may be a heading's


@pytest.mark.parametrize("name", NAMES)
def test_markdown_has_the_same_columns_in_every_row(tables, name):
    text = markdown(tables[name])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert set(lines[1]) == set("|-: ")
    assert text.startswith("**")
    assert not re.search(r"(?<!\\)\*(?!\*)", text.split("\n", 1)[1])  # marks are no emphasis
    assert not re.search(r"\| -\d", text)  # a minus is no hyphen


@pytest.mark.parametrize("name", NAMES)
def test_latex_is_a_whole_table(tables, name):
    text = latex(tables[name])
    columns = len(re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)[1])
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    body = [line for line in body.splitlines() if line and line not in (r"\midrule", r"\addlinespace")]
    assert all(line.endswith(r" \\") for line in body)
    assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in body} == {columns}
    assert not re.search(r"(?<!\\)[%_#]", text)
    assert text.count("$") % 2 == 0
    assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text)[::-1] == ["table", "tabular"]
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert rf"\label{{tab:{name}}}" in text
    assert text.isascii()


def test_latex_escapes_what_it_would_take_for_its_own(tables):
    table = tables["table1"]
    table = replace(table, frame=table.frame.assign(label=r"50% of #1 & {x_y} $ ~ ^ \a"))
    assert r"50\% of \#1 \& \{x\_y\} \$ \textasciitilde{} \textasciicircum{} \textbackslash{}a" in latex(table)
    assert r"$-1.7$*" in latex(table)
    assert " -- &" in latex(table)


@pytest.mark.parametrize("name", NAMES)
def test_csv_gives_the_tidy_frame_back_in_full(tables, name):
    frame = tables[name].frame
    back = pd.read_csv(io.StringIO(csv(tables[name])), float_precision="round_trip").fillna(
        dict.fromkeys(frame.select_dtypes(object), "")
    )
    expected = frame.astype(dict.fromkeys(frame.select_dtypes(object), str))
    for column in frame:
        if frame[column].dtype.kind == "f":
            assert back[column].astype(float).equals(frame[column].astype(float)), column
        else:
            assert back[column].astype(str).tolist() == expected[column].astype(str).tolist(), column


def test_a_heading_says_only_what_is_not_always_so():
    frame, spec = PUBLISHED["table1"].frame, PUBLISHED["table1"].spec
    assert heading(frame.iloc[[0]].copy(), spec) == "DeiT-Base, 64 px"
