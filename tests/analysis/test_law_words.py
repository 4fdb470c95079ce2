"""What is printed of a good law, a bad law, too few points, one seed and several."""

import numpy as np
import pandas as pd
import pytest

from analysis.fitting.laws import fit
from analysis.plots.laws import law_figure
from analysis.records.csv_import import load_csv
from analysis.records.groups import Group
from analysis.report.law_report import law_input, report
from analysis.report.law_table import fit_groups, laws_frame, lines
from analysis.report.law_words import ONE_SEED, largest_deviation, law_sentences
from scaling.errors import ConfigError

PATCH = np.array([16.0, 8, 4, 2, 1])
POWER, SHIFTED = 0.9 * PATCH**0.5, 0.4 + 0.3 * PATCH**0.6
STEP = np.array([1.57, 1.16, 0.98, 0.156, 0.055])
OFF = np.array([1.01, 0.99, 1.0, 0.99, 1.01])


def group(losses, seeds=1, spread=0.01, name="nano", patches=PATCH) -> Group:
    """Seeds lie evenly, `spread` apart."""
    offs = np.exp(spread * np.linspace(-1, 1, seeds)) if seeds > 1 else np.ones(1)
    points = pd.DataFrame({"patch": np.repeat(patches, seeds), "y": np.outer(losses, offs).ravel()})
    return Group(name, name, "own", points.assign(seed=np.tile(np.arange(seeds), len(patches))))


def words(*groups, forms=("power", "shifted")):
    return law_sentences(fit_groups(groups, forms))


def test_a_good_power_law_has_its_exponent_and_what_a_halving_does():
    (said,) = words(group(POWER * OFF))
    assert said.startswith("nano: test loss = 0.9")
    assert " p^0.5 nats, alpha = 0.500 ± 0.0" in said
    assert "(95 %); halving the patch divides the test loss by 1.41." in said
    assert said.endswith(ONE_SEED)


def test_a_good_shifted_law_has_a_floor_that_halving_does_not_touch():
    (said,) = words(group(SHIFTED, seeds=3))
    assert said.startswith(
        "nano: test loss = 0.4 + 0.3 p^0.6 nats; halving the patch divides what is above the floor, "
    )
    assert "floor, 0.40 [0.3" in said
    assert "by 1.52 (alpha = 0.60 [0.5" in said
    assert "no more than the seeds explain (F = " in said


def test_a_law_that_does_not_describe_the_points_is_called_that():
    (said,) = words(group(STEP))
    assert said.startswith("nano: neither a power law nor a shifted law describes these points (R2 0.88). ")
    assert "The points deviate from the better one by up to 126 % (patch 4)." in said
    (one,) = words(group(STEP), forms=("power",))
    assert one.startswith("nano: no power law describes these points (R2 0.88). The points deviate from the best one ")
    (seeds,) = words(group(STEP, seeds=3))
    assert "more than the seeds explain (F = " in seeds
    assert "p < 0.001" in seeds


def test_a_noisy_law_that_seeds_explain_describes_its_points():
    rng = np.random.default_rng(1)
    its = group(2 * PATCH**0.15, seeds=3)
    its.points["y"] *= np.exp(0.2 * rng.normal(size=15))
    (of, _) = fit_groups([its], ("power", "shifted"))
    assert of.law.r2 < 0.95
    assert of.law.describes
    assert "no more than the seeds explain" in words(its)[0]


def test_one_seed_is_remarked_once_for_all_groups():
    said = words(group(POWER * OFF), group(STEP, name="micro"))
    assert [one.split(":")[0] for one in said] == ["nano", "micro", "One seed per patch size"]
    assert ONE_SEED not in said[0]


def test_points_that_determine_no_exponent_are_not_given_one():
    (said,) = words(group([1.0, 0.96, 0.94], patches=PATCH[2:]), forms=("power",))
    assert "the points do not determine whether the test loss depends on the patch size: alpha of the power law" in said


def test_losses_that_rise_towards_small_patches_are_multiplied():
    (said,) = words(group((1 / POWER) * OFF))
    assert "alpha = -0.500" in said
    assert "halving the patch multiplies the test loss by 1.41." in said


def test_given_standard_errors_are_named():
    its = group(POWER * OFF)
    its.points["sigma"] = 0.01
    assert "no more than the standard errors explain (chi-square = " in words(its)[0]


def test_other_forms_have_a_formula():
    patches = 2.0 ** np.arange(9)
    its = group(0.2 + 0.1 * patches**0.4 * (1 + patches / 8) ** 0.3, patches=patches)
    (said,) = words(its, forms=("broken",))
    assert said.startswith("nano: test loss = ")
    assert "p/" in said


def test_two_patch_sizes_have_no_law_and_how_to_train_more_is_printed(tmp_path, capsys, undrawn):
    path = tmp_path / "runs.csv"
    one = pd.DataFrame({"backbone": "a", "patch": PATCH, "test_loss": POWER * OFF})
    other = pd.DataFrame({"backbone": "b", "patch": [2, 1], "test_loss": [1.0, 0.9]})
    pd.concat([one, other]).to_csv(path, index=False)
    report(law_input(load_csv(path)), tmp_path / "out")
    said = capsys.readouterr().out
    assert "\nb: no law; 2 patch sizes finished, a law needs 3 or more" in said
    assert "\na: test loss = 0.9" in said
    assert max(map(len, said.splitlines())) <= 80
    assert len(said.splitlines()) <= 30
    assert "inf" not in said.replace("L_inf", "")
    written = (tmp_path / "out" / "report.md").read_text()
    assert "inf" not in written.replace("L_inf", "").replace("[0, inf]", "")  # the bounds of L_inf
    assert "| weights | equal |" in written
    assert f"| deviations | {ONE_SEED}" in written


@pytest.fixture
def undrawn(monkeypatch):
    """Without the figures, which take most of the time."""
    monkeypatch.setattr("analysis.report.law_files._own_figures", lambda frame, forms: {})


def test_an_interval_without_an_end_is_words_in_the_table_and_a_number_in_the_file():
    laws = fit_groups([group(STEP)], ("power", "shifted"))
    row = next(line for line in lines(laws) if "shifted" in line)
    assert row.split("shifted")[1].split()[:5] == ["at", "most", "0.8", "not", "identified"]
    frame = laws_frame(laws).set_index("form").loc["shifted"]
    assert (frame["alpha_low"], frame["alpha_high"]) == (-np.inf, np.inf)


def test_the_largest_deviation_is_of_the_mean_over_seeds():
    its = group(POWER * [1, 1, 1.2, 1, 1], seeds=3)
    x, off = largest_deviation(fit(its.points["patch"], its.points["y"]))
    assert x == 4
    assert off == pytest.approx(1.2**0.8 - 1, abs=0.002)  # a fifth of it is in the law


def frame(**groups):
    rows = [
        {"group": name, "backbone": name, "data": "shapes", "image": 16, "patch": p, "seed": 0, "status": "finished"}
        | {"test_loss": loss, "tokens": (16 / p) ** 2}
        for name, losses in groups.items()
        for p, loss in zip(PATCH, losses, strict=True)
    ]
    return pd.DataFrame(rows)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_figure_has_no_band_where_no_law_describes_the_points_and_names_the_series():
    figure = law_figure(frame(nano=POWER * OFF, micro=STEP))
    assert legend(figure)[2:] == ["95 % interval", "micro: no law describes the points"]
    assert len(figure.axes[0].collections) == 1
    assert legend(law_figure(frame(micro=STEP)))[2:] == ["no law describes the points"]


def test_standard_errors_of_a_csv_weigh_its_laws_and_are_bars_of_its_figure(tmp_path):
    path = tmp_path / "runs.csv"
    table = pd.DataFrame({"patch": PATCH, "test_loss": POWER * OFF, "standard_error": [0.5, 0.01, 0.01, 0.01, 0.01]})
    table.to_csv(path, index=False)
    runs = load_csv(path)
    (its,) = law_input(runs).own
    sigma = table["standard_error"] / table["test_loss"]
    assert fit_groups([its], ["power"])[0].law.parameters == fit(PATCH, POWER * OFF, sigma=sigma).parameters
    bars = law_figure(runs.finished, ["power"]).axes[0].collections
    assert len(bars) == 2  # with the band
    path.write_text(path.read_text().replace("0.01\n", "\n"))
    with pytest.raises(ConfigError, match="line 3: standard_error is nothing; a finite number above 0 is needed"):
        load_csv(path)
