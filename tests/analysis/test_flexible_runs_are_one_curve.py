"""A run that learned several patch sizes: a row per patch for curves, one run for whatever counts runs."""

import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from analysis.fitting.bootstrap import bootstrap
from analysis.fitting.laws import fit
from analysis.fitting.shared_runs import fit_runs
from analysis.plots.laws import law_figure
from analysis.records.curve_points import curve_points
from analysis.records.groups import own_groups
from analysis.records.patch_tests import patch_tests
from analysis.records.run_set import load
from analysis.records.seed_noise import seed_spread
from analysis.records.shared_weights import are_shared, by_patch
from analysis.report.law_report import law_input, report
from analysis.report.law_table import fit_groups
from analysis.report.law_words import group_sentence
from analysis.report.sweep_table import print_sweep, sweep_table
from scaling import costs
from scaling.config.at_shape import at_shape
from scaling.config.edit import make_config
from scaling.config.step_shapes import StepShape
from scaling.runs.evaluations import evaluation
from tests.analysis.test_runs import save

PATCHES = (1, 2, 4, 8, 16)


def flexible(seed, **fields):
    fields = {"patch_size": 1, "patch_embed": "flexible", "step_shapes": "random_patch", **fields}
    return make_config(img_size=16, num_train=64, seed=seed, **fields)


def loss_at(patch, seed, scale=1.0):
    """A power law, whose exponent and level differ between seeds."""
    return scale * (1 + 0.05 * seed) * patch ** (0.3 + 0.02 * seed * (-1) ** seed)


def save_flexible(results, seed):
    config, losses = flexible(seed), {patch: loss_at(patch, seed) for patch in PATCHES}
    rows = [evaluation(patch, 16, "raw", {"test_loss": losses[patch], "top1": 90.0 - patch}) for patch in PATCHES]
    metrics = {"top1": 89.0, "train_loss": 1.4}
    flops = float(costs.recipe_flops(config))
    save(results, config, losses[1], evaluations=rows, tokens=256, flops_per_image=flops, metrics=metrics)


@pytest.fixture
def results(tmp_path):
    """Three flexible runs, and a fixed one per patch and seed."""
    for seed in range(3):
        save_flexible(tmp_path, seed)
        for patch in PATCHES:
            config = make_config(img_size=16, patch_size=patch, num_train=64, seed=seed)
            save(tmp_path, config, loss_at(patch, seed, 1.2), flops_per_image=float(costs.recipe_flops(config)))
    return tmp_path


def test_a_run_has_one_row_in_the_frame_and_one_per_patch_in_its_curve(results):
    runs = load(results)
    assert runs.frame["run_id"].is_unique
    curves = by_patch(runs)
    its = curves[curves["patches"] != ""]
    assert (len(runs.frame), len(curves), len(its)) == (18, 30, 15)
    assert its["run_id"].nunique() == 3
    assert are_shared(its)
    assert not are_shared(curves[curves["patches"] == ""])
    one = its[its["seed"] == 1].set_index("patch")
    for patch in PATCHES:
        there = at_shape(flexible(1), StepShape(patch, 16))
        assert one.loc[patch, "test_loss"] == loss_at(patch, 1)
        assert one.loc[patch, "top1"] == 90.0 - patch
        assert one.loc[patch, "tokens"] == (16 // patch) ** 2
        assert one.loc[patch, "flops_per_image"] == costs.recipe_flops(there)
    assert one["wall_time"].notna().tolist() == one["images_per_second"].notna().tolist() == [False] * 4 + [True]
    assert one["train_loss"].notna().sum() == 1
    assert set(its["patches"]) == {"16,8,4,2,1"}


def test_patches_that_training_never_drew_and_other_weights_are_no_points(tmp_path):
    averaged = {"model_ema_decay": 0.9, "eval_weights": "ema"}
    config = flexible(0, patch_size=4, patches="8,4", eval_patches=(2, 16), **averaged)
    rows = [evaluation(p, 16, w, {"test_loss": 1.0 + p}) for w in ("ema", "raw") for p in (4, 2, 8, 16)]
    save(tmp_path, config, 5.0, evaluations=rows)
    runs = load(tmp_path)
    assert len(runs.evaluations) == 8
    assert by_patch(runs)[["patch", "test_loss"]].to_numpy().tolist() == [[8, 9.0], [4, 5.0]]


def test_the_table_counts_runs_and_the_laws_have_a_group_of_their_own(results, capsys):
    runs = load(results)
    table = sweep_table(by_patch(runs))
    assert set(table["seeds"]) == {3}
    print_sweep(by_patch(runs))
    shown = capsys.readouterr().out
    assert "deit_nano flexible" in shown
    assert "one set of weights at all patch sizes" in shown
    assert max(map(len, shown.splitlines())) <= 80
    groups = {group.name: group for group in own_groups(runs)[0]}
    assert {name: group.shared for name, group in groups.items()} == {"deit_nano": False, "deit_nano flexible": True}
    assert groups["deit_nano flexible"].patches == 5
    spread = seed_spread(runs.finished)
    assert spread["df"].sum() == 2 + 5 * 2  # the flexible runs have two degrees of freedom, not ten
    tested = patch_tests(groups["deit_nano flexible"].points)
    assert set(tested["test"]) == {"paired t test, 3 seeds"}  # over the three runs


def test_a_run_of_several_patch_sizes_is_no_point_of_a_law_of_images_seen(results, tmp_path):
    folder = shutil.copytree(results, tmp_path / "copy")
    for record in folder.glob("*/record.json"):
        record.with_name("curve.csv").write_text("step,test_loss\n4,2.0\n8,1.0\n")
    runs = load(folder)
    fixed = runs.finished[runs.finished["patches"] == ""]
    assert 0 < len(fixed) < len(runs.finished)
    assert set(curve_points(runs)["run_id"]) == set(fixed["run_id"])


def test_the_report_has_one_curve_per_flexible_group_and_laws_csv_its_law(results, capsys):
    inputs = law_input(load(results))
    report(inputs, results / "analysis")
    said = capsys.readouterr().out
    assert "scatter is no measure" in " ".join(said.split())
    laws = pd.read_csv(results / "analysis" / "laws.csv")
    its = laws[(laws["name"] == "deit_nano flexible") & (laws["form"] == "power") & (laws["x"] == "patch")]
    assert its["n"].tolist() == [15]
    assert its["aicc"].isna().all()
    assert its["group"].nunique() == 1
    assert set(laws.loc[laws["name"] == "deit_nano flexible", "x"]) == {"patch", "tokens", "flops_per_image"}
    text = (results / "analysis" / "report.md").read_text()
    assert "15 points of 5 patch sizes, of 3 runs, each one set of weights for all of its points" in text
    assert "bootstrap of runs" in text
    figure = law_figure(by_patch(load(results)))
    shown = [line for line in figure.axes[0].get_lines() if line.get_label() == "deit_nano flexible"]
    assert [len(line.get_xdata()) for line in shown] == [15]


def curves(runs, spread, level, rng):
    """log y (runs, 5) of power laws of exponent 0.3 whose level varies by `level`, with independent errors."""
    x = np.log(PATCHES)
    return 0.3 * x + level * rng.standard_normal((runs, 1)) + spread * rng.standard_normal((runs, len(x)))


def shared_fit(log_y, form="power"):
    runs, n = log_y.shape
    return fit_runs(np.tile(PATCHES, runs), np.exp(log_y).ravel(), np.repeat(np.arange(runs), n), form)


def test_an_interval_is_that_of_students_t_over_the_fits_of_the_runs():
    log_y = curves(4, 0.02, 0.2, np.random.default_rng(0))
    law, x = shared_fit(log_y), np.log(PATCHES)
    slopes, intercepts = np.polyfit(x, log_y.T, 1)
    for name, each in (("alpha", slopes), ("A", intercepts)):
        half = student.ppf(0.975, 3) * each.std(ddof=1) / 2
        ends = np.array([each.mean() - half, each.mean() + half])
        low, high = law.intervals[name] if name == "alpha" else np.log(law.intervals[name])
        assert [low, high] == pytest.approx(ends, abs=0.12 * 2 * half)
    low, high = law.band(PATCHES)
    means = intercepts + np.multiply.outer(x, slopes)
    half_M = student.ppf(0.975, 3) * means.std(axis=1, ddof=1) / 2
    np.testing.assert_allclose(np.log(high / low) / 2, half_M, rtol=0.15)


def test_errors_that_a_run_shares_are_not_taken_for_independent_ones():
    """The level varies by 20 % between runs: as 15 independent points the level would be known three times as well."""
    log_y = curves(3, 0.001, 0.2, np.random.default_rng(1))
    shared = shared_fit(log_y)
    independent = fit(np.tile(PATCHES, 3), np.exp(log_y).ravel(), "power")
    widths = [np.log(law.intervals["A"][1] / law.intervals["A"][0]) for law in (shared, independent)]
    assert widths[0] > 2 * widths[1]
    alphas = [law.intervals["alpha"][1] - law.intervals["alpha"][0] for law in (shared, independent)]
    assert alphas[0] < 0.2 * alphas[1]  # which the common level leaves as it is


def test_only_runs_are_drawn_where_they_share_points():
    law = shared_fit(curves(3, 0.02, 0.1, np.random.default_rng(2)))
    for kind in ("parametric", "seeds", "pairs"):
        with pytest.raises(ValueError, match="points of one run share weights: only kind='runs' draws whole runs"):
            bootstrap(law, kind)
    independent = fit(PATCHES, np.power(PATCHES, 0.3) + 0.1)
    with pytest.raises(ValueError, match="every point is of a run of its own"):
        bootstrap(independent, "runs")


def test_one_run_has_a_law_without_an_interval(tmp_path):
    save_flexible(tmp_path, 1)
    inputs = law_input(load(tmp_path))
    (group,) = inputs.own
    law = shared_fit(np.log([[loss_at(patch, 1) for patch in PATCHES]]))
    assert law.parameters["alpha"] == pytest.approx(0.28, abs=1e-6)
    assert np.isnan(law.intervals["alpha"]).all()
    assert np.isnan(law.band(2.0)).all()
    assert not any(law.identified.values())
    assert law.why_no_intervals == "one run, whose points share its weights"
    sentence = group_sentence(fit_groups([group], ["power", "shifted"]))
    assert "no interval: one run, whose points share its weights. Add --seeds 0,1,2." in sentence
