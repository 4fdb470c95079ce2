"""The study position_laws: its runs differ in encoding and patch alone, and exponents are compared seed by seed."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.plots.exponents import exponent_figure
from analysis.records.run_set import load
from analysis.studies.exponents import slopes
from analysis.studies.position_laws import ENCODING, PLAIN
from analysis.studies.study_report import report
from analysis.studies.study_table import StudyRun
from experiments.studies.resolve import resolve
from scaling.config.edit import edit
from tests.analysis.test_runs import save
from tests.drawn import overlapping

STEEPER = {"rope": 0.1, "none": -0.3}  # of the exponent
KINDS = ["sincos", "none", "sincos1d", "learned", "rope", "rope_mixed", "relative", "relative_mlp"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Losses that are power laws of the patch with a little noise, as if three seeds had finished."""
    folder, planned = tmp_path_factory.mktemp("results"), []
    for seed in range(3):
        for number, run in enumerate(resolve("shapes.position_laws", [], {"seed": seed, "backbone": "deit_nano"})):
            kind, patch = run.model.pos_embed.kind, run.model.patch_size
            rough = 1 + 1e-3 * np.random.default_rng(1000 * seed + number).normal()
            tokens = {"tokens": (16 // patch) ** 2, "parameters": 1, "flops_per_image": 1.0}
            save(folder, run, 0.2 * rough * patch ** (0.5 + STEEPER.get(kind, 0)), metrics={"top1": 50.0}, **tokens)
            planned.append(StudyRun(run.run_id, "deit_nano", patch))
    return load(folder), planned


def test_its_runs_differ_in_the_encoding_and_the_patch_alone():
    runs = resolve("shapes.position_laws", [], {})
    assert len(runs) == 5 * (8 + 5)
    assert len({edit(run, pos_embed="sincos", patch_size=4, backbone="deit_nano").run_id for run in runs}) == 1
    of_adventurer = {run.model.pos_embed.kind for run in runs if run.model.family == "adventurer"}
    assert of_adventurer == {"sincos", "none", "sincos1d", "learned", "rope_scan"}


def test_the_report_has_losses_and_exponents_and_fits_80_columns(study, tmp_path, capsys):
    paths = report(study[0], "shapes.position_laws", study[1], tmp_path)
    printed = capsys.readouterr().out.replace(str(tmp_path), "")
    assert max(map(len, printed.splitlines())) <= 80
    words = " ".join(printed.split())
    assert (
        "alpha over patch sizes against sincos: none: flatter; sincos1d: undecided; learned: undecided; rope" in words
    )
    stem = "shapes_position_laws"
    assert [path.name for path in paths] == [f"{stem}.csv", f"{stem}_alpha.csv", f"{stem}.png", f"{stem}.pdf"]
    table = pd.read_csv(paths[1]).set_index(ENCODING)
    assert list(table.index) == KINDS
    assert table.loc["rope", "verdict"] == "steeper"
    losses = pd.read_csv(paths[0])
    assert len(losses) == 3 * 5 * 8


def slow_alphas(losses, kind):
    """Exponents of one encoding by seed, by a straight line through log loss."""
    its = losses[losses[ENCODING] == kind]
    return {
        seed: stats.linregress(np.log(runs["patch"]), np.log(runs["test_loss"])).slope
        for seed, runs in its.groupby("seed")
    }


def test_a_difference_of_exponents_is_that_of_pairs_of_seeds(study, tmp_path):
    losses = pd.read_csv(report(study[0], "shapes.position_laws", study[1], tmp_path)[0])
    found = slopes(losses, ENCODING, PLAIN).set_index(ENCODING)
    plain, rope = (slow_alphas(losses, kind) for kind in (PLAIN, "rope"))
    off = [rope[seed] - plain[seed] for seed in range(3)]
    low, high = stats.ttest_1samp(off, 0).confidence_interval(0.95)
    assert found.loc["rope", ["change", "low", "high"]].tolist() == pytest.approx([np.mean(off), low, high])
    assert found["verdict"][PLAIN] == ""
    without = slopes(losses[losses[ENCODING] != PLAIN], ENCODING, PLAIN)
    assert set(without["verdict"]) == {""}


def test_the_figure_has_a_law_and_an_exponent_of_every_encoding(study, tmp_path):
    losses = pd.read_csv(report(study[0], "shapes.position_laws", study[1], tmp_path)[0])
    figure = exponent_figure(losses, slopes(losses, ENCODING, PLAIN), ENCODING, "laws")
    laws, exponents = figure.axes
    assert len([line for line in laws.lines if line.get_linestyle() == "-"]) == len(KINDS)
    assert [label.get_text() for label in exponents.get_yticklabels()] == KINDS
    intervals = [line.get_xdata() for line in exponents.lines if line.get_linestyle() == "-"]
    of_rope = slow_alphas(losses, "rope").values()
    reach = stats.t.ppf(0.975, 2) * np.std(list(of_rope), ddof=1) / 3**0.5
    assert list(intervals[KINDS.index("rope")]) == pytest.approx(
        [np.mean(list(of_rope)) - reach, np.mean(list(of_rope)) + reach]
    )
    assert not overlapping(figure)
