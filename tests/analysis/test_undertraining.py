"""L(p, D) on synthetic curves with known truth, and what is printed of it."""

import numpy as np
import pandas as pd
import pytest

from analysis.fitting.undertraining import fit_patch_images
from analysis.records.run_set import RunSet
from analysis.report.axes_report import report_axes
from scaling.errors import ConfigError

TRUTH = {"E": 0.3, "A": 60.0, "a": 0.5, "B": 0.15, "b": 0.6}  # A D^-a and B p^b


def law(images, patch):
    return TRUTH["E"] + TRUTH["A"] * images ** -TRUTH["a"] + TRUTH["B"] * patch ** TRUTH["b"]


def points(seed, noise=1.0, seeds=3):
    rng = np.random.default_rng(seed)
    rows = []
    for patch in (16, 8, 4, 2, 1):
        for run in range(seeds):
            of_run = rng.normal(0, 0.02)
            for images in 2e4 * 2.0 ** np.arange(6):
                y = law(images, patch) * np.exp(noise * (of_run + rng.normal(0, 0.01)))
                rows.append([f"{patch}-{run}", patch, run, images, y])
    return pd.DataFrame(rows, columns=["run_id", "patch", "seed", "images", "y"])


def test_without_noise_the_truth_is_found_and_the_share_is_that_of_its_terms():
    found = fit_patch_images(points(0, noise=0.0), draws=10)
    assert found.law.parameters == pytest.approx(TRUTH, rel=1e-4)
    for patch, share in found.shares.items():
        longer = law(2e4 * 32, patch) - law(1e300, patch)
        assert share == pytest.approx(longer / (law(2e4 * 32, patch) - TRUTH["E"]), rel=1e-4)


def test_intervals_of_whole_runs_hold_the_truth_nearly_always():
    held = []
    for seed in range(8):
        found = fit_patch_images(points(seed), draws=200, seed=seed)
        held += [low <= TRUTH[name] <= high for name in TRUTH for low, high in [found.interval(name)]]
    assert np.mean(held) > 0.75


def test_one_seed_has_a_law_without_intervals_and_unequal_curves_are_refused():
    assert fit_patch_images(points(0, seeds=1)).interval("b") is None
    with pytest.raises(ValueError, match="different numbers of images"):
        fit_patch_images(points(0).iloc[1:])


def results(tmp_path, seeds=2):
    rows = []
    for (run_id, patch, seed), its in points(1, seeds=seeds).groupby(["run_id", "patch", "seed"]):
        (tmp_path / run_id).mkdir()
        steps = its["images"] / 100
        pd.DataFrame({"step": steps, "test_loss": its["y"]}).to_csv(tmp_path / run_id / "curve.csv", index=False)
        facts = {"run_id": run_id, "group": "g", "patch": patch, "seed": seed, "batch": 100, "status": "finished"}
        rows.append({**facts, "test_loss": its["y"].iloc[-1], "folder": str(tmp_path / run_id)})
    return RunSet(pd.DataFrame(rows))


def test_the_output_names_the_law_the_share_and_the_traps(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(RunSet, "labels", lambda self: {"g": "my runs"})
    report_axes("patch,images", results(tmp_path))
    out = capsys.readouterr().out
    assert all(words in out for words in ("my runs: 50 points", "alpha", "not annealed", "warm-up", "patch 1"))
    assert max(map(len, out.splitlines())) <= 80


def test_unknown_axes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown --axes"):
        report_axes("patch,params", results(tmp_path))


def test_a_law_that_does_not_describe_the_points_is_called_that(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(RunSet, "labels", lambda self: {"g": "my runs"})
    good = results(tmp_path)
    for place in sorted(tmp_path.glob("*/curve.csv")):
        curve = pd.read_csv(place)
        curve["test_loss"] = 2.4 + 0.5 * (np.arange(len(curve)) % 2)
        curve.to_csv(place, index=False)
    first = pd.read_csv(place)
    first.assign(test_loss=first["test_loss"] * 1.01).to_csv(place, index=False)
    report_axes("patch,images", good)
    assert "does not describe the points" in capsys.readouterr().out
