"""Runs of other code, from a CSV file."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.fit_laws import main
from analysis.records.csv_import import load_csv
from analysis.records.groups import own_groups
from scaling.errors import ConfigError

PANEL_A = "patch, test_loss, backbone, image\n" + "".join(
    f"{patch}, {loss}, vit_base, 64\n"
    for patch, loss in {16: 1.1125, 8: 0.9305, 4: 0.8675, 2: 0.8404, 1: 0.8155}.items()
)


def written(tmp_path, text: str):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    return path


def test_a_file_is_fitted_as_a_folder_is(tmp_path, capsys, unsaved):
    path = written(tmp_path, PANEL_A)
    assert main(["--results", str(path), "--out", str(tmp_path / "out")]) == 0
    assert "shifted 0.81 [0.76, 0.85]" in capsys.readouterr().out
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"laws.csv", "report.md", "law.png", "law.pdf", "law_tokens.png", "law_tokens.pdf"}
    report = (tmp_path / "out" / "report.md").read_text()
    assert f"unknown here: see the author of {path}" in report
    assert "| tokens per image | 16 to 4,096 tokens |" in report


def test_a_row_is_a_run_and_rows_that_agree_are_a_group(tmp_path):
    frame = load_csv(written(tmp_path, PANEL_A + "16, 1.2, vit_base, 128\n")).frame
    assert list(frame["group"].unique()) == ["classify-csv-vit_base-128", "classify-csv-vit_base-64"]
    assert list(frame["patch"]) == [16, 16, 8, 4, 2, 1]
    assert list(frame["tokens"][1:]) == [16, 64, 256, 1024, 4096]
    assert set(frame["status"]) == {"finished"}
    assert frame["flops_per_image"].isna().all()


def test_the_least_there_can_be_is_patch_and_loss(tmp_path):
    frame = load_csv(written(tmp_path, "patch,test_loss\n8,1.5\n4,1.25\n")).frame
    assert list(frame["group"].unique()) == ["classify-csv-model"]
    assert list(frame["test_loss"]) == [1.5, 1.25]


def test_crops_in_a_column_are_a_trap_as_in_records(tmp_path):
    text = "patch,test_loss,crop\n" + "".join(f"{p},{1 + p / 10},{0.875 if p == 16 else 1}\n" for p in (16, 8, 4, 2))
    groups, refused = own_groups(load_csv(written(tmp_path, text)))
    assert groups == []
    assert "crop 0.875 (patch 16) and 1 (patch 8, 4, 2)" in refused["model"]
    together, _ = own_groups(load_csv(tmp_path / "runs.csv"), "together")
    assert [len(group.points) for group in together] == [4]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    rows=st.lists(
        st.tuples(st.integers(1, 64), st.floats(1e-3, 1e3), st.integers(0, 5)),
        min_size=1,
        max_size=12,
        unique_by=lambda row: (row[0], row[2]),
    )
)
def test_every_row_comes_back_as_it_was_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "runs.csv"
    path.write_text("seed,patch,test_loss\n" + "".join(f"{seed},{patch},{loss!r}\n" for patch, loss, seed in rows))
    frame = load_csv(path).frame
    assert sorted(zip(frame["patch"], frame["test_loss"], frame["seed"], strict=True)) == sorted(rows)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not a CSV file of runs .it is empty"),
        ("patch,loss\n8,1\n", "has no column test_loss; it has: patch, loss"),
        ("a,b\n1,2\n", "has no column patch and no column test_loss"),
        ("patch,test_loss\n", "holds no run"),
        ("patch,test_loss\n8,1.5\n4,nan\n", "line 3: test_loss is nan; a finite number above 0 is needed"),
        ("patch,test_loss\n8,\n", "line 2: test_loss is nothing"),
        ("patch,test_loss\n-8,1\n", "line 2: patch is -8"),
        ("patch,test_loss,image\n8,1,wide\n", "line 2: image is wide"),
        ("patch,test_loss\n8,1,2,3\n4,1\n", "line 2: 4 cells, but the header has 2"),
    ],
)
def test_what_is_no_table_of_runs_is_refused_in_one_line(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says) as caught:
        load_csv(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused_as_a_folder_is(tmp_path, capsys):
    assert main(["--results", str(tmp_path / "none.csv")]) == 2
    assert "no results folder" in capsys.readouterr().err


def test_words_beside_the_numbers_stay_words(tmp_path):
    frame = load_csv(written(tmp_path, "patch,test_loss,note,top1\n8,1,good,40.5\n4,0.9,,\n")).frame
    assert list(frame["note"]) == ["good", ""]
    assert frame["top1"].iloc[0] == 40.5
    assert np.isnan(frame["top1"].iloc[1])
