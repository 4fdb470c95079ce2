"""A CSV file of runs is read as it is meant, or refused with the line of the file; what is left out is told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.fit_laws import main
from analysis.records.csv_import import load_csv
from analysis.records.groups import own_groups
from scaling.errors import ConfigError

ROWS = [(p, round(0.6 + 0.2 * p**0.5, 6)) for p in (16, 8, 4, 2, 1)]
HEAD = "patch,test_loss,backbone,seed"


def written(tmp_path, text: str | bytes):
    path = tmp_path / "runs.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture
def undrawn(monkeypatch, unsaved, unbanded):
    monkeypatch.setattr("analysis.report.law_files._own_figures", lambda frame, forms: {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("patch,test_loss\n16,1.4,0.5\n8,1.2,0.5\n", "line 2: 3 cells, but the header has 2"),
        ("patch,test_loss,seed\n16,1.4,0\n8,1.2\n", "line 3: 2 cells, but the header has 3"),
        ("\n\npatch,test_loss\n\n16,1.4\n\n8,-1\n", "line 7: test_loss is -1"),
        ("patch,test_loss\n8,1\n\n\n4,1\n,\n", "line 6: patch is nothing"),
        ('patch,test_loss,note\n8,1,"two\nlines"\n4,x,\n', "line 4: test_loss is x"),
        ("patch,test_loss,test_loss\n8,1,2\n", "has 2 columns test_loss"),
        ("patch,test_loss, test_loss\n8,1,2\n", "has 2 columns test_loss"),
        (
            'patch;test_loss\n8;"1,113"\n',
            "line 2: test_loss is 1,113; a finite number above 0 is needed, as 1.113 or 1113",
        ),
        ('patch,test_loss\n8,"1,113"\n', "test_loss is 1,113"),
        ("patch,test_loss\n8,1 113\n", "test_loss is 1 113; a finite number above 0 is needed, as 1.113 or 1113"),
        ("patch,test_loss\n8,1_113\n", "test_loss is 1_113"),
        ("patch,test_loss\n8,nan\n", "line 2: test_loss is nan; a finite number"),
        ("patch,test_loss\n8,-inf\n", "line 2: test_loss is -inf"),
        ("patch,test_loss\n8,1e999\n", "line 2: test_loss is 1e999"),
        ("patch,test_loss,image\n8,1,inf\n", "line 2: image is inf"),
        ("patch,test_loss\n٨,1\n", "line 2: patch is ٨"),
        ("patch,test_loss,seed\n8,1,first\n", "line 2: seed is first; a finite number is needed"),
        ("patch,test_loss,data_version\n8,1,v2\n", "line 2: data_version is v2"),
        ('patch,test_loss\n8,"1\n2"\n', "line 2: test_loss is 1 2;"),
        ('patch,test_loss\n8,"1\n', "is not a CSV file of runs .unexpected end of data"),
        ("patch,test_loss\n8,1\n8,1\n", "line 3: patch 8 of classify-csv-model with seed 0 is in line 2 already"),
        ("patch,test_loss,seed\n8,1,0\n4,1,0\n8.0,2,0\n", "line 4: patch 8 .*in line 2 already"),
        (b"patch,test_loss\n8,\xff\n", "is not a CSV file of runs"),
        (b"\xff\xfep\x00a\x00", "is not a CSV file of runs"),
    ],
)
def test_what_cannot_be_a_run_is_refused_with_its_line(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says) as caught:
        load_csv(written(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffpatch,test_loss\n8,1.5\n4,1.25\n",
        " patch , test_loss \n 8 , 1.5 \n 4 , 1.25 \n",
        '"patch","test_loss"\n"8","1.5"\n"4","1.25"\n',
        "patch;test_loss\n8;1.5\n4;1.25\n",
        "patch\ttest_loss\n8\t1.5\n4\t1.25\n",
        "patch,test_loss\r\n8,1.5\r\n\r\n4,1.25\r\n",
        ",patch,test_loss\n0,8,1.5\n1,4,1.25\n",
        "patch,test_loss,\n8,1.5,\n4,1.25,\n",
        "patch,test_loss,status\n8,1.5,FINISHED\n4,1.25,done\n2,,crashed\n",
        "patch,test_loss\n8,+1.5\n4,12.5e-1",
    ],
)
def test_files_of_other_programs_are_read_as_they_are_meant(tmp_path, text):
    frame = load_csv(written(tmp_path, text)).frame
    done = frame[frame["status"] == "finished"]
    assert list(zip(done["patch"], done["test_loss"], strict=True)) == [(8, 1.5), (4, 1.25)]


def test_runs_that_failed_are_left_out_and_told(tmp_path, capsys, undrawn):
    rows = [f"{p},{loss},vit,0,finished" for p, loss in ROWS]
    rows += ["1,9.5,vit,1,failed", "2,nan,vit,1,crashed", "4,,vit,1,"]
    path = written(tmp_path, "\n".join([HEAD + ",status", *rows]))
    (group,), _ = own_groups(load_csv(path))
    assert len(group.points) == 5
    assert [line.split(": ")[1] for line in group.dropped] == [
        f"failed (status {why})" for why in ("empty", "crashed", "failed")
    ]
    assert main(["--results", str(path), "--out", str(tmp_path / "out")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("excluded, failed: ") == 3
    assert "0.60 [0.60, 0.60]" in said.replace("0.600", "0.60").replace("0.6000", "0.60")


def test_a_group_without_a_law_does_not_stop_the_others(tmp_path, capsys, unbanded, unsaved):
    flat = "".join(f"{p},{loss},vit,0\n{p},0.01,mamba,0\n" for p, loss in ROWS)
    assert main(["--results", str(written(tmp_path, f"{HEAD}\n{flat}")), "--out", str(tmp_path / "out")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "mamba: no power law; all 5 y are 0.01; a law needs distinct values" in said
    assert "vit power" in said
    assert (tmp_path / "out" / "law.png").exists()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(text=st.text(alphabet='patch0189.,;\t"\n\r eE-+_', max_size=40))
def test_any_text_is_read_or_refused_in_one_line(tmp_path_factory, text):
    path = written(tmp_path_factory.mktemp("csv"), "patch,test_loss\n8,1\n" + text)
    refused = None
    try:
        frame = load_csv(path).frame
    except ConfigError as e:
        refused = str(e)
    if refused is not None:
        assert "\n" not in refused
    else:
        assert np.all(np.isfinite(frame["test_loss"]) & (frame["test_loss"] > 0))
        assert np.all(frame["patch"] > 0)
