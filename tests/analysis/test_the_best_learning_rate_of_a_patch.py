"""The best learning rate of each patch size by held-out loss, with an interval, and what it changes in the law."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from analysis.records.run_set import load
from analysis.studies.best_rate import best_rate, common_rates, minimum
from analysis.studies.learning_rates import rate_studies, sentences
from analysis.studies.study_report import report
from analysis.studies.study_table import StudyRun
from experiments.studies.resolve import resolve
from scaling.errors import ConfigError
from tests.analysis.test_runs import save

RATES = 2e-3 * np.array([0.25, 0.5, 1.0, 2.0, 4.0])


def drawn(best: dict[int, float], rng: np.random.Generator, seeds: int = 3, spread: float = 0.01) -> pd.DataFrame:
    """Runs whose log held-out loss is a parabola around the best rate of their patch, and test loss the same."""
    rows = []
    for patch, rate in best.items():
        for seed in range(seeds):
            level = math.log(0.1 * patch**0.5) + 0.03 * rng.normal()
            for lr in RATES:
                y = level + 0.05 * math.log2(lr / rate) ** 2
                rows.append((patch, lr, seed, math.exp(y + spread * rng.normal()), math.exp(y)))
    return pd.DataFrame(rows, columns=["patch", "lr", "seed", "val_loss", "test_loss"]).assign(backbone="deit_nano")


@pytest.mark.parametrize("vertex", [-0.7, 0.0, 1.3])
def test_the_interval_is_where_the_slope_does_not_differ_from_0(vertex):
    rng = np.random.default_rng(3)
    x_N, seed_N = np.tile(np.arange(-2.0, 3.0), 3), np.repeat([0, 1, 2], 5)
    y_N = 0.1 * seed_N + 0.05 * (x_N - vertex) ** 2 + 0.02 * rng.normal(size=15)
    found, low, high = minimum(x_N, y_N, seed_N, 0.95)
    inside = []
    for at in np.linspace(-4, 4, 4001):  # the parabola about each place has the slope there as a coefficient
        design = np.column_stack([x_N - at, (x_N - at) ** 2, *(seed_N == n for n in range(3))])
        theta, squares, *_ = np.linalg.lstsq(design, y_N, rcond=None)
        error = math.sqrt(squares[0] / 10 * np.linalg.inv(design.T @ design)[0, 0])
        if abs(theta[0]) <= student.isf(0.025, 10) * error:
            inside.append(at)
    assert (low, high) == pytest.approx((min(inside), max(inside)), abs=0.0021)
    assert low < found < high
    own = np.polyfit(x_N, y_N - 0.1 * seed_N, 2)
    assert found == pytest.approx(-own[1] / (2 * own[0]), abs=1e-9)  # the design is balanced: levels change no slope


def test_the_interval_holds_the_true_rate_in_95_of_100_cases():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(250):
        one = best_rate(drawn({4: 2.6e-3}, rng))
        held += one.low <= 2.6e-3 <= one.high
    assert 0.92 <= held / 250 <= 0.98


def test_one_rate_for_all_is_seldom_called_a_dependence():
    rng = np.random.default_rng(1)
    dependent = 0
    for _ in range(80):
        runs = drawn(dict.fromkeys((16, 8, 4), 2e-3), rng, spread=0.03)
        low, high = common_rates([best_rate(its, 1 - 0.05 / 3) for _, its in runs.groupby("patch")])
        dependent += low > high
    assert dependent / 80 <= 0.11  # 5 of 100, and 2.5 standard errors


def test_a_dependence_is_found_and_the_law_has_both_exponents():
    runs = drawn({16: 4e-3, 8: 2.8e-3, 4: 2e-3, 2: 1e-3}, np.random.default_rng(2))
    (study,) = rate_studies(runs)
    assert study.agree[0] > study.agree[1]
    assert study.table["patch"].tolist() == [16, 8, 4, 2]
    assert study.table["lr_best"].tolist() == pytest.approx([4e-3, 2.8e-3, 2e-3, 1e-3], rel=0.1)
    assert set(study.laws) == {"one rate", "own rates"}
    text = " ".join(sentences([study]))
    assert "the best rate depends on the patch size" in text
    assert "alpha of the power law is" in text


def test_a_rate_at_the_end_of_the_range_is_said_and_without_curvature_an_interval_has_one_end_or_none():
    (study,) = rate_studies(drawn({8: 2e-3, 4: 3e-2}, np.random.default_rng(4)))
    assert study.table["edge"].tolist() == ["", "highest"]
    assert "add higher rates" in " ".join(sentences([study]))
    falling = drawn({4: 2e-3}, np.random.default_rng(5))
    falling["val_loss"] = 1 / falling["lr"] ** 0.1 * np.exp(0.01 * np.sin(1e5 * falling["val_loss"]))
    one = best_rate(falling)
    assert (one.edge, one.high) == ("highest", math.inf)
    assert one.low > 3e-3  # the loss falls over all rates: a minimum can only be beyond them
    assert common_rates([one, one]) == (one.low, math.inf)
    flat = drawn({4: 2e-3}, np.random.default_rng(5))
    flat["val_loss"] = np.exp(0.1 * np.sin(1e5 * flat["val_loss"]))
    assert best_rate(flat)[2:4] == (0.0, math.inf)


def test_test_images_choose_nothing():
    """With other test losses the same rates are picked."""
    runs = drawn({8: 2e-3, 4: 1e-3, 2: 1e-3}, np.random.default_rng(6))
    (plain,), (other,) = rate_studies(runs), rate_studies(runs.assign(test_loss=1 + runs["lr"] * 100 * runs["patch"]))
    chosen = ["lr_picked", "lr_best", "lr_low", "lr_high", "lr_common"]
    pd.testing.assert_frame_equal(plain.table[chosen], other.table[chosen])


def test_two_rates_are_too_few_and_one_seed_has_an_interval_from_five():
    rng = np.random.default_rng(7)
    assert rate_studies(drawn({4: 2e-3}, rng).query("lr < 1.5e-3")) == []
    one = best_rate(drawn({4: 2e-3}, rng, seeds=1))
    assert one.low < one.rate < one.high < math.inf


def test_a_sweep_of_the_study_ends_with_its_table_sentences_and_figure(tmp_path, capsys):
    runs = resolve("shapes.learning_rate", [], {})
    assert len(runs) == 40
    assert {run.data.val_split for run in runs} == {0.1}
    assert len({(run.group, run.model.patch_size) for run in runs}) == 40
    for run in runs:
        loss = run.model.patch_size**0.5 * math.exp(0.05 * math.log2(run.optim.lr / 2e-3) ** 2)
        save(tmp_path, run, loss, metrics={"top1": 50.0, "val_loss": loss * (1 + 1e-3 * math.sin(1e5 * loss))})
    planned = [StudyRun(run.run_id, run.model.backbone, run.model.patch_size) for run in runs]
    paths = report(load(tmp_path), "shapes.learning_rate", planned, tmp_path / "analysis")
    printed = capsys.readouterr().out
    assert [path.name for path in paths] == [f"shapes_learning_rate.{end}" for end in ("csv", "png", "pdf")]
    assert max(map(len, printed.replace(str(tmp_path), "").splitlines())) <= 80
    assert "no dependence of the best rate on the patch size is found" in " ".join(printed.split())


def test_one_rate_given_leaves_a_study_of_one_rate_which_says_so(tmp_path, capsys):
    runs = resolve("shapes.learning_rate", [8], {"lr": 1e-3})
    assert len(runs) == 2
    for run in runs:
        save(tmp_path, run, 1.0, metrics={"top1": 50.0, "val_loss": 1.0})
    planned = [StudyRun(run.run_id, run.model.backbone, run.model.patch_size) for run in runs]
    assert report(load(tmp_path), "shapes.learning_rate", planned, tmp_path / "analysis") == []
    assert "no patch size has 3 learning rates" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="no run of patch_size 3"):
        resolve("shapes.learning_rate", [3], {})
