"""L(p, D) on synthetic curves with known truth, and what is printed of it."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.fit_laws import main
from analysis.fitting.curve_hold_out import HeldOutPoints
from analysis.fitting.undertraining import fit_patch_images
from analysis.records.csv_import import load_csv
from analysis.records.curve_points import curve_points, ends
from analysis.records.run_set import RunSet, load
from analysis.records.training_length import any_length, keys_of_any_length
from analysis.report.axes_report import axes_laws, held_out_sentence, report_axes
from scaling.config.edit import edit, make_config
from scaling.errors import ConfigError
from tests.analysis.test_runs import save

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


def test_one_seed_and_a_curve_like_no_other_have_laws_without_intervals():
    assert fit_patch_images(points(0, seeds=1)).interval("b") is None
    assert fit_patch_images(points(0).iloc[1:]).interval("b") is None


def of_lengths(seed, noise=1.0, lengths=3, seeds=3):
    """Runs of 6, 5, ... points, each with a noise of its own."""
    runs = []
    for length in range(lengths):
        its = points(seed + 1000 * length, noise, seeds)
        its = its[its["images"] < 2e4 * 2.0 ** (6 - length)]
        its = its.assign(run_id=its["run_id"] + f"-{length}")
        runs.append(its.assign(share=its["images"] / its["images"].max()))
    return pd.concat(runs, ignore_index=True)


def test_runs_of_different_length_have_intervals_that_hold_the_truth_nearly_always():
    held = []
    for seed in range(4):
        found = fit_patch_images(of_lengths(seed), draws=200, seed=seed)
        held += [low <= TRUTH[name] <= high for name in TRUTH for low, high in [found.interval(name)]]
    assert np.mean(held) > 0.75


def test_single_ends_have_intervals_that_hold_the_truth_nearly_always():
    held = []
    for seed in range(4):
        found = fit_patch_images(ends(of_lengths(seed, seeds=1))[0], draws=200, seed=seed)
        held += [low <= TRUTH[name] <= high for name in TRUTH for low, high in [found.interval(name)]]
    assert np.mean(held) > 0.75


def test_finished_runs_alone_are_fitted_where_three_lengths_and_six_pairs_are_there():
    last, lack = ends(of_lengths(0))
    assert not lack
    assert len(last) == 45
    assert set(last["share"]) == {1.0}
    last, lack = ends(of_lengths(0, lengths=2))
    assert last.empty
    assert "lengths: 2" in lack
    few = of_lengths(0)
    assert "patch sizes: 2" in ends(few[few["patch"] > 4])[1]


def test_the_end_of_a_run_without_test_losses_is_a_point(tmp_path):
    runs = results(tmp_path)
    place = tmp_path / "16-0" / "curve.csv"
    pd.read_csv(place).drop(columns="test_loss").to_csv(place, index=False)
    found = curve_points(runs)
    its = found[found["run_id"] == "16-0"]
    assert its["share"].tolist() == [1.0]
    assert its["y"].tolist() == [runs.frame.set_index("run_id").test_loss["16-0"]]
    assert len(found) == 9 * 6 + 1
    assert found["images"].max() == pytest.approx(2e4 * 32)


def test_runs_of_one_recipe_and_different_length_share_a_key():
    base = make_config(epochs=3)
    for change in ({"epochs": 5}, {"max_steps": 100, "warmup_steps": 7}, {"num_train": 1000}, {"patch_size": 8}):
        assert any_length(edit(base, **change)).group == any_length(base).group
    for change in ({"lr": 0.3}, {"weight_decay": 0.5}, {"warmup_epochs": 2.0}):
        assert any_length(edit(base, **change)).group != any_length(base).group


def keys(*changes):
    base = make_config(epochs=4, warmup_epochs=0.4)
    return keys_of_any_length([edit(base, **change) for change in changes], lambda its: [c.group for c in its])


def test_a_warm_up_in_proportion_to_the_length_is_one_study_and_others_are_not():
    shares = [{"epochs": n, "warmup_epochs": n / 10, "patch_size": 8} for n in (1, 3, 7)]
    assert len(set(keys({}, *shares))) == 1
    assert len(set(keys({}, *shares, {"lr": 0.3}))) == 2
    assert len(set(keys({}, {"epochs": 8}, {"num_train": 100}))) == 1
    assert len(set(keys({}, {"epochs": 8, "warmup_epochs": 0.7}))) == 2
    assert len(set(keys({"max_steps": 90, "warmup_steps": 9}, {"epochs": 1}))) == 1


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_runs_that_are_fitted_together_have_warm_ups_equal_in_epochs_or_in_proportion(drawn):
    found = keys(*({"epochs": n, "warmup_epochs": w / 4} for n, w in drawn))
    for key in set(found):
        its = [one for one, other in zip(drawn, found, strict=True) if other == key]
        assert len({w for _, w in its}) == 1 or len({Fraction(w, n) for n, w in its}) == 1


def test_runs_of_a_folder_and_of_a_csv_file_have_the_same_law(tmp_path, capsys):
    """Ends of runs of several lengths, each with a warm-up of a tenth."""
    rows = of_lengths(0, seeds=1).query("share == 1")
    for run in rows.itertuples():
        epochs = int(run.images / 16e4)
        config = make_config(patch_size=int(run.patch), epochs=epochs, warmup_epochs=epochs / 10, global_batch_size=100)
        name = save(tmp_path / "runs", config, run.y)
        pd.DataFrame({"step": [run.images / 100]}).to_csv(tmp_path / "runs" / name / "curve.csv", index=False)
    table = rows.rename(columns={"y": "test_loss"})[["patch", "seed", "images", "test_loss"]]
    table.assign(backbone="deit_nano").to_csv(tmp_path / "runs.csv", index=False)
    laws = [axes_laws("patch,images", runs, 50) for runs in (load(tmp_path / "runs"), load_csv(tmp_path / "runs.csv"))]
    assert [list(fitted) for fitted, _ in laws] == [["deit_nano"], ["deit_nano"]]
    folder, file = (fitted["deit_nano"] for fitted, _ in laws)
    assert folder.of == file.of == "Fitted to the ends of 15 finished runs of 3 lengths, which are annealed."
    assert folder.law.law.parameters == pytest.approx(file.law.law.parameters, rel=1e-6)
    assert main(["--results", str(tmp_path / "runs.csv")]) == 0
    assert "deit_nano images 640000" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("column", "why"), [("", "has no column images"), (",images", "no finished run has images")])
def test_a_csv_file_without_images_has_no_law_of_them(column, why, tmp_path, capsys):
    rows = "".join(f"{patch},{1 + patch / 10}{column and ','}\n" for patch in (16, 8, 4))
    (tmp_path / "runs.csv").write_text(f"patch,test_loss{column}\n{rows}")
    assert main(["--results", str(tmp_path / "runs.csv"), "--axes", "patch,images"]) == 2
    err = capsys.readouterr().err
    assert why in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]


def test_a_prediction_that_diverges_has_no_digits():
    good, bad = (held_out_sentence(HeldOutPoints("patch 1", 3, law, 0.05, 0.04)) for law in (0.03, 1e14))
    assert "law 3.0 %, last value 5.0 %" in good
    assert "law diverges, last value 5.0 %" in bad


def test_options_without_meaning_beside_axes_are_refused_and_nothing_is_written(tmp_path, capsys):
    for options in (["--form", "power"], ["--published"], ["--mixed", "apart"]):
        assert main(["--axes", "patch,images", "--out", str(tmp_path / "out"), *options]) == 2
        assert f"{options[0]} has no meaning with --axes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def results(tmp_path, seeds=2):
    rows = []
    for (run_id, patch, seed), its in points(1, seeds=seeds).groupby(["run_id", "patch", "seed"]):
        (tmp_path / run_id).mkdir()
        steps = its["images"] / 100
        pd.DataFrame({"step": steps, "test_loss": its["y"]}).to_csv(tmp_path / run_id / "curve.csv", index=False)
        facts = {
            "run_id": run_id,
            "group": "g",
            "any_length": "any",
            "patches": "",
            "backbone": "my_runs",
            "patch": patch,
            "seed": seed,
            "batch": 100,
            "status": "finished",
        }
        rows.append({**facts, "test_loss": its["y"].iloc[-1], "folder": str(tmp_path / run_id)})
    return RunSet(pd.DataFrame(rows))


def test_the_output_names_the_law_the_share_and_the_traps(tmp_path, capsys):
    report_axes("patch,images", results(tmp_path), tmp_path / "out")
    out = capsys.readouterr().out
    assert all(words in out for words in ("my_runs: 50 points", "alpha", "not annealed", "warm-up", "patch 1"))
    law = pd.read_csv(tmp_path / "out" / "patch_images.csv").set_index("parameter")
    assert law.loc["beta", "value"] == pytest.approx(TRUTH["a"], rel=0.5)
    written = pd.read_csv(tmp_path / "out" / "patch_images_points.csv")
    assert len(written) == 50
    assert np.allclose(written["predicted"], written["y"], rtol=0.1)
    assert (tmp_path / "out" / "patch_images.png").stat().st_size > 10_000
    assert max(len(line) for line in out.splitlines() if str(tmp_path) not in line) <= 80


@pytest.mark.parametrize("content", ["", "epoch,test_loss\n1,2.0\n", "step,test_loss\n1,much\n"])
def test_a_damaged_curve_is_named_and_nothing_is_written(content, tmp_path):
    runs = results(tmp_path)
    (tmp_path / "4-1" / "curve.csv").write_text(content)
    with pytest.raises(ConfigError, match=r"4-1/curve.csv is damaged \("):
        report_axes("patch,images", runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unknown_axes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown --axes"):
        report_axes("patch,params", results(tmp_path), tmp_path / "out")


def test_a_law_that_does_not_describe_the_points_is_called_that(tmp_path, capsys):
    good = results(tmp_path)
    for place in sorted(tmp_path.glob("*/curve.csv")):
        curve = pd.read_csv(place)
        curve["test_loss"] = 2.4 + 0.5 * (np.arange(len(curve)) % 2)
        curve.to_csv(place, index=False)
    first = pd.read_csv(place)
    first.assign(test_loss=first["test_loss"] * 1.01).to_csv(place, index=False)
    report_axes("patch,images", good, tmp_path / "out")
    said = capsys.readouterr().out
    assert "does not describe the points" in said
    assert "share of L - E" not in said
