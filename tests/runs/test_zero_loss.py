"""A run whose test loss is exactly 0 (a saturated toy) is a run like any other; a law of logarithms leaves it out."""

from dataclasses import replace

from analysis.records.groups import own_groups
from analysis.records.run_set import load
from analysis.report.law_report import law_input, report
from analysis.report.sweep_table import print_sweep
from scaling.recipe import Recipe
from scaling.runs.record import RunRecord
from tests.analysis.test_runs import record, save

LOSSES = {16: 2.0, 8: 1.5, 4: 1.2, 2: 1.0, 1: 0.0}


def test_a_loss_of_nothing_comes_back_as_it_was_saved(tmp_path):
    kept = record(Recipe(), 0.0)
    kept.save(tmp_path)
    assert replace(RunRecord.load(tmp_path), evaluations=[]) == kept


def test_a_law_is_fitted_without_it_and_says_so(tmp_path, capsys, unsaved):
    names = {patch: save(tmp_path, replace(Recipe(), patch=patch), loss) for patch, loss in LOSSES.items()}
    (group,), refused = own_groups(load(tmp_path))
    assert not refused
    assert list(group.points["patch"]) == [16, 8, 4, 2]
    assert group.dropped == (f"{names[1]}: a test loss of 0, which has no logarithm",)
    runs = load(tmp_path)
    print_sweep(runs.frame)
    report(law_input(runs), tmp_path / "analysis")
    said = capsys.readouterr().out
    assert "0.0000" in said  # in the table of runs
    assert f"excluded from laws, a test loss of 0 has no logarithm: {names[1]}" in " ".join(said.split())
    assert "no logarithm" in (tmp_path / "analysis" / "report.md").read_text()


def test_where_all_losses_are_nothing_no_law_is_fitted_and_nothing_fails(tmp_path, capsys):
    for patch in LOSSES:
        save(tmp_path, replace(Recipe(), patch=patch), 0.0)
    runs = load(tmp_path)
    print_sweep(runs.frame)
    report(law_input(runs), tmp_path / "analysis")
    assert "its test losses are 0 and have no logarithm" in " ".join(capsys.readouterr().out.split())
