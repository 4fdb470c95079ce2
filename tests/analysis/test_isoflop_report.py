"""`fit_laws.py --axes patch,params,images` on folders of runs: what is printed, written and refused."""

import numpy as np
import pandas as pd

from analysis.fit_laws import main
from analysis.records.run_set import load
from analysis.records.size_points import families, size_points
from experiments.benchmarks.size_law_checks import TOKENS, synthetic
from scaling.config.edit import edit, make_config
from tests.analysis.test_runs import save

BACKBONES = ("deit_pico", "deit_nano", "deit_micro")
AXES = ["--axes", "patch,params,images"]


def results(folder, sizes=3, lengths=3, change=lambda y: y):
    """Runs of the synthetic law as a results folder: up to three DeiTs, batches of 100, an epoch or more of 400."""
    runs = synthetic("additive", 0, seeds=1)
    runs = runs[(runs["patch"] > 2) & (runs["parameters"] < 1e4 * 4.0**sizes) & (runs["images"] < 4e3 * 4.0**lengths)]
    for number, run in enumerate(runs.itertuples()):
        backbone = BACKBONES[round(np.log(run.parameters / 1e4) / np.log(4))]
        config = make_config(backbone=backbone, patch_size=int(run.patch), epochs=int(run.images / 400), num_classes=12)
        config = edit(config, global_batch_size=100)
        flops = 2 * run.parameters * TOKENS / run.patch**2
        y = change(run.y) if number % 2 else run.y
        name = save(folder, config, y, parameters=int(run.parameters), flops_per_image=flops)
        curve = pd.DataFrame({"step": [1, int(run.images / 100)], "test_loss": [np.nan, run.y]})
        curve.to_csv(folder / name / "curve.csv", index=False)
    return folder


def test_a_family_has_a_law_curves_and_a_verdict(tmp_path, capsys):
    assert main(["--results", str(results(tmp_path / "mine")), "--out", str(tmp_path / "out"), *AXES]) == 0
    out = capsys.readouterr().out
    for words in (
        "E + A N^-a + B p^b + C D^-c, fitted to the ends of 27 runs",
        "Best patch size",
        "Which lowers it most",
    ):
        assert words in " ".join(out.split())
    assert "grow the model" in out
    assert max(len(line) for line in out.splitlines() if str(tmp_path) not in line) <= 80
    made = {path.name for path in (tmp_path / "out").iterdir()}
    stem = "patch_params_images"
    assert made == {
        f"{stem}{end}" for end in (".csv", "_points.csv", "_isoflop.csv", "_directions.csv", ".png", ".pdf")
    }
    points = pd.read_csv(tmp_path / "out" / f"{stem}_points.csv")
    assert np.allclose(points["predicted"], points["y"], rtol=0.05)
    assert (points["training_flops"] == 3 * points["flops_per_image"] * points["images"]).all()


def test_two_sizes_give_each_model_a_law_of_its_own(tmp_path, capsys):
    assert main(["--results", str(results(tmp_path / "mine", sizes=2)), *AXES]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "deit, deit_pico L = E + A D^-a + B p^b" in out
    assert "no law of all three (2 model sizes, and 3 are needed); each model has a law of patch size" in out


def test_too_few_lengths_are_refused_in_one_line_and_nothing_is_written(tmp_path, capsys):
    folder = results(tmp_path / "mine", lengths=2)
    assert main(["--results", str(folder), "--out", str(tmp_path / "out"), *AXES]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "2 lengths, and 3 are needed" in err
    assert not (tmp_path / "out").exists()


def test_a_law_that_does_not_describe_its_points_has_no_verdict(tmp_path, capsys):
    folder = results(tmp_path / "mine", change=lambda y: 3 / y)
    assert main(["--results", str(folder), "--out", str(tmp_path / "out"), *AXES]) == 0
    out = capsys.readouterr().out
    assert "does not describe the points" in out
    assert "lowers" not in out
    assert not (tmp_path / "out" / "patch_params_images.png").exists()


def test_runs_that_have_not_learned_are_left_out_and_counted(tmp_path, capsys):
    folder = results(tmp_path / "mine")
    for number in range(3):
        config = make_config(backbone="deit_pico", patch_size=16, epochs=2 + number, num_classes=12)
        name = save(folder, edit(config, global_batch_size=100), 2.48, parameters=10_000, flops_per_image=2e4)
        pd.DataFrame({"step": [8 + number]}).to_csv(folder / name / "curve.csv", index=False)
    assert main(["--results", str(folder), *AXES]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "deit: 3 runs no better than guessing left out" in out
    assert "fitted to the ends of 27 runs" in out


def test_unknown_axes_are_refused_with_those_that_exist(tmp_path, capsys):
    assert main(["--results", str(results(tmp_path / "mine", 1, 1)), "--axes", "patch,params"]) == 2
    assert "choose from: patch,images; patch,params,images" in capsys.readouterr().err


def test_a_damaged_curve_is_refused_in_one_line(tmp_path, capsys):
    folder = results(tmp_path / "mine", sizes=1)
    next(folder.glob("*/curve.csv")).write_text("step,test_loss\n1,a\n")
    assert main(["--results", str(folder), *AXES]) == 2
    err = capsys.readouterr().err
    assert "curve.csv is damaged" in err
    assert err.count("\n") == 1


def test_a_csv_file_is_refused(tmp_path, capsys):
    (tmp_path / "runs.csv").write_text("patch,test_loss\n16,2.0\n8,1.5\n")
    assert main(["--results", str(tmp_path / "runs.csv"), *AXES]) == 2
    assert "needs a results folder" in capsys.readouterr().err


def test_a_family_holds_sizes_patches_lengths_and_seeds_and_nothing_else():
    base = make_config(backbone="deit_nano", epochs=3)
    for change in ({"backbone": "deit_micro"}, {"patch_size": 8}, {"seed": 4}, {"epochs": 9}, {"num_train": 500}):
        assert len(set(families([edit(base, **change), base]))) == 1
    for change in ({"backbone": "adventurer_nano"}, {"lr": 0.3}, {"img_size": 32}):
        assert len(set(families([edit(base, **change), base]))) == 2


def test_the_size_of_a_model_is_that_at_its_smallest_patch(tmp_path):
    for patch, parameters in ((16, 900), (8, 700), (4, 650)):
        config = edit(make_config(backbone="deit_nano", patch_size=patch), global_batch_size=100)
        name = save(tmp_path, config, 1.0, parameters=parameters)
        pd.DataFrame({"step": [7]}).to_csv(tmp_path / name / "curve.csv", index=False)
    points = size_points(load(tmp_path))
    assert points["parameters"].tolist() == [650.0] * 3
    assert points["images"].tolist() == [700.0] * 3
