"""gradients.py from the command line, on small runs."""

import pandas as pd
import pytest

from analysis.gradients import ALL, main
from analysis.plots.gradients import READINGS, gradients_figure
from scaling.runs.record import RunRecord

FILES = {"gradients.csv", "cosines.csv", "steps.csv", "gradients.png", "gradients.pdf"}


def test_a_flexible_run_has_a_row_per_patch_and_group(flexible, unsaved, tmp_path, capsys):
    assert main([str(flexible), "--images", "40", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "at the end of training, on 40 test images" in " ".join(said.split())
    assert "with a patch size drawn for each step" in " ".join(said.split())
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    table = pd.read_csv(tmp_path / "out" / "gradients.csv")
    assert set(table["group"]) == {ALL, "embedding", "positions", "block_1", "block_2", "block_3", "head", "other"}
    whole = table[table["group"] == ALL].set_index("patch")
    assert whole.index.tolist() == [8, 4]
    losses = {row["patch_size"]: row["test_loss"] for row in RunRecord.load(flexible).evaluations}
    assert whole["loss"].to_dict() == pytest.approx(losses, rel=1e-4)
    parts = table[table["group"] != ALL].groupby("patch")[["grad_signal", "grad_noise"]].sum()
    for column in parts:
        assert parts[column].to_dict() == pytest.approx(whole[column].to_dict(), rel=1e-4, abs=1e-6)
    (row,) = pd.read_csv(tmp_path / "out" / "cosines.csv").to_dict("records")
    assert (row["patch"], row["other"]) == (4, 8)


def test_weights_of_the_start_have_another_loss(flexible, unsaved, tmp_path, capsys):
    losses = []
    for weights in ("start", "end"):
        out = tmp_path / weights
        assert main([str(flexible), "--images", "8", "--weights", weights, "--out", str(out)]) == 0
        losses.append(pd.read_csv(out / "gradients.csv")["loss"].iloc[0])
        assert (pd.read_csv(out / "steps.csv")["weights"] == weights).all()
    assert "at the start of training" in " ".join(capsys.readouterr().out.split())
    assert losses[0] != losses[1]


def test_a_run_with_one_patch_is_measured_at_another_with_resampled_weights(fixed, unsaved, tmp_path, capsys):
    assert main([str(fixed), "--patch", "4,8", "--images", "8", "--out", str(tmp_path / "out")]) == 0
    assert pd.read_csv(tmp_path / "out" / "gradients.csv")["patch"].drop_duplicates().tolist() == [8, 4]
    assert "drawn for each step" not in capsys.readouterr().out  # the two do not share all parameters
    assert main([str(fixed), "--images", "8", "--out", str(tmp_path / "one")]) == 0
    assert "cosine" not in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "one").iterdir()} == FILES - {"cosines.csv", "steps.csv"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no finished run"),
        (["RUN", "--patch", "5"], "patch 5 does not divide a 16 px image"),
        (["RUN", "--patch", "x"], "'x' is not a patch size"),
        (["RUN", "--images", "1"], "--images 1 is too few: 2 images or more"),
        (["RUN", "--images", "41"], "41 images requested, 40 available: --images 40"),
        (["RUN", "--weights", "middle"], "invalid choice: 'middle'"),
        ([], "the following arguments are required: RUN"),
    ],
)
def test_what_cannot_be_used_is_named_in_a_line_and_nothing_is_written(arguments, message, fixed, refused):
    refused(main, [word.replace("RUN", str(fixed)) for word in arguments], "gradients", message)


def test_the_figure_leaves_out_what_is_hidden_by_noise():
    readings = {column: [2.0, 1.0] for column in READINGS}
    whole = pd.DataFrame({"patch": [8, 4], "noise_scale": [3.0, float("nan")], **readings})
    whole["grad_signal"] = [2.0, -1.0]
    left, right = gradients_figure(whole).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in left.get_lines()}
    assert lines[READINGS["grad_noise"]] == [1.0, 0.5]
    assert lines[READINGS["grad_signal"]][0] == 1.0
    assert pd.isna(lines[READINGS["grad_signal"]][1])
    assert len(right.get_lines()) == 1
    assert len(gradients_figure(whole.iloc[:1]).axes) == 1
