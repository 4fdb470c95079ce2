"""sharpness.py from the command line, and its products with the Hessian, on small runs."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from analysis.plots.sharpness import sharpness_figure
from analysis.sharpness import POINTS, main
from scaling.comparison.curvature import dot, norm
from scaling.comparison.directions import random_direction
from scaling.comparison.loss_surface import open_surfaces
from scaling.comparison.sharpness import AUTOGRAD, DIFFERENCES, _method
from scaling.config.edit import edit
from scaling.runs.record import RunRecord

FILES = {"sharpness.csv", "line.csv", "sharpness.png", "sharpness.pdf"}


def unit(surface, seed=0):
    direction = random_direction(surface.parameters, seed)
    return [x / norm(direction) for x in direction]


@pytest.mark.parametrize(("backbone", "method"), [("deit_nano", AUTOGRAD), ("adventurer_nano", DIFFERENCES)])
def test_products_with_the_hessian_are_second_differences_of_the_loss(trained, tiny, backbone, method):
    config = edit(tiny, backbone=backbone, epochs=1, num_train=16)
    (surface,) = open_surfaces(trained(config) / config.run_id, [], 40)
    before = {name: p.detach().clone() for name, p in surface.parameters.items()}
    along = surface.gradient()  # a direction in which the loss bends
    v = [x / norm(along) for x in along]
    assert _method(surface, v) == method
    product = surface.hessian_product if method == AUTOGRAD else surface.differences
    away = 0.01
    behind, here, ahead = surface.losses(v, [-away, 0.0, away])
    assert (ahead - behind) / (2 * away) == pytest.approx(norm(along), rel=0.05)
    assert dot(v, product(v)) == pytest.approx((ahead - 2 * here + behind) / away**2, rel=0.1, abs=0.02)
    other = unit(surface, 1)
    assert dot(other, product(v)) == pytest.approx(dot(v, product(other)), rel=0.02, abs=0.02)  # it is symmetric
    assert all(torch.equal(p, before[name]) for name, p in surface.parameters.items())


def test_a_flexible_run_is_measured_at_its_patches_with_one_direction(flexible, unsaved, tmp_path, capsys):
    assert main([str(flexible), "--images", "40", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "on 40 test images" in " ".join(said.split())
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    tops, lines = (pd.read_csv(tmp_path / "out" / name) for name in ("sharpness.csv", "line.csv"))
    assert tops["patch"].tolist() == [8, 4]
    assert (tops["hessian"] == AUTOGRAD).all()
    record = RunRecord.load(flexible)
    losses = {row["patch_size"]: row["test_loss"] for row in record.evaluations}
    assert tops.set_index("patch")["loss"].to_dict() == pytest.approx(losses, rel=1e-4)
    for _, line in lines.groupby("patch"):
        assert len(line) == POINTS
        assert line["distance"].iloc[[0, POINTS // 2, -1]].tolist() == [-1, 0, 1]
    middle = lines[lines["distance"] == 0].set_index("patch")["loss"].to_dict()
    assert middle == pytest.approx(losses, rel=1e-4)


def test_a_run_with_one_patch_is_measured_at_another_with_resampled_weights(fixed, unsaved, tmp_path, capsys):
    assert main([str(fixed), "--patch", "4,8", "--images", "8", "--out", str(tmp_path / "out")]) == 0
    assert pd.read_csv(tmp_path / "out" / "sharpness.csv")["patch"].tolist() == [8, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no finished run"),
        (["RUN", "--patch", "5"], "patch 5 does not divide a 16 px image"),
        (["RUN", "--patch", "x"], "'x' is not a patch size"),
        (["RUN", "--images", "0"], "--images 0 is too few"),
        (["RUN", "--images", "41"], "41 images requested, 40 available: --images 40"),
        ([], "the following arguments are required: RUN"),
    ],
)
def test_what_cannot_be_used_is_named_in_a_line_and_nothing_is_written(arguments, message, fixed, refused):
    refused(main, [word.replace("RUN", str(fixed)) for word in arguments], "sharpness", message)


def test_a_run_of_another_task_is_refused(monkeypatch, tiny, capsys):
    config = edit(tiny, task="segment", drop_path=0.0, num_classes=4)
    record = SimpleNamespace(experiment=lambda: config)
    monkeypatch.setattr("scaling.comparison.loss_surface.finished_run", lambda run: record)
    assert main(["run"]) == 2
    assert "run is a run of task segment" in capsys.readouterr().err


@pytest.mark.parametrize(("patches", "panels"), [([8, 4], 2), ([8], 1)])
def test_several_patch_sizes_have_a_panel_of_eigenvalues(patches, panels):
    tops = pd.DataFrame({"patch": patches, "eigenvalue": [30.0, 10.0][: len(patches)]})
    lines = pd.DataFrame([(patch, x, patch + x * x) for patch in patches for x in (-1, 0, 1)])
    figure = sharpness_figure(tops, lines.set_axis(["patch", "distance", "loss"], axis=1))
    assert len(figure.axes) == panels
    assert [line.get_label() for line in figure.axes[0].get_lines()] == [f"{patch} px" for patch in patches]
    assert list(figure.axes[0].get_lines()[0].get_ydata()) == [9, 8, 9]
