"""The study of stability: all settings with fixed and with drawn patch sizes, their main effects, and failed runs."""

import math

import numpy as np
import pandas as pd
import pytest

from analysis.plots.effects import effects_figure
from analysis.records.run_set import load
from analysis.studies import stability
from analysis.studies.study_report import report
from analysis.studies.study_table import StudyRun
from experiments.recipes import shapes
from experiments.studies.stability import in_each_setting
from scaling.config.edit import edit
from tests.analysis.test_runs import save
from tests.drawn import cut_off, overlapping

RUNS = in_each_setting(lambda patch: edit(shapes.deit_nano(patch), num_train=1280), (16, 8, 4))
NORM = {"layer": 1.0, "batch": 1.2, "batch_per_patch": 1.1}
STEPS = 40
FIXED, DRAWN = "4 px", "16,8,4 px"


def drawn(config):
    return config.step_shapes.kind != "fixed"


def loss_of(config, noise):
    """Clipping at 1 lowers the loss by a tenth with drawn patch sizes alone; BatchNorm raises it in both."""
    unclipped = drawn(config) and config.optim.max_grad_norm is None
    return (1.1 if unclipped else 1.0) * NORM[config.model.norm] * (1 + 0.1 * config.seed) * (1 + noise)


def made(results, seeds=(0, 1, 2), failed=lambda config: False):
    planned, draw = [], np.random.default_rng(0)
    for config in (edit(run, seed=seed) for seed in seeds for run in RUNS):
        ends = None if failed(config) else loss_of(config, 1e-3 * draw.normal())
        why = {"failure": {"reason": "loss is nan"}} if ends is None else {}
        clipped = {"clipped_steps": 12.5 * config.optim.max_grad_norm} if config.optim.max_grad_norm else {}
        metrics = {"top1": 70.0, "loss_spikes": 2.0 * drawn(config), **clipped}
        folder = save(results, config, ends, metrics={} if ends is None else metrics, tokens=16, **why)
        rows = [[n, 1 - n / 80 + 0.4 * (n == 20), "", n / 10] for n in range(1, STEPS + 1)]
        columns = ["step", "train_loss", "test_loss", "seconds"]
        pd.DataFrame(rows, columns=columns).to_csv(results / folder / "curve.csv", index=False)
        planned.append(StudyRun(config.run_id, "deit_nano", 4))
    return load(results), planned


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return made(tmp_path_factory.mktemp("study"))


def test_every_combination_is_there_once_and_statistics_per_patch_where_there_are_several():
    settings = [
        (drawn(run), run.model.norm, run.optim.max_grad_norm, round(run.schedule.warmup_epochs, 3)) for run in RUNS
    ]
    assert len(set(settings)) == len(RUNS) == 9 * (2 + 3)
    assert {norm for several, norm, _, _ in settings if not several} == {"layer", "batch"}
    assert {warmup for *_, warmup in settings} == {0.0, 0.05, 0.1}
    adventurers = in_each_setting(shapes.adventurer_nano, (16, 8, 4))
    assert {run.model.norm for run in adventurers} == {"layer"}
    assert len(adventurers) == 18
    same = {edit(run, step_shapes="fixed", norm="layer", max_grad_norm=1.0, warmup_epochs=0.1) for run in RUNS}
    assert len(same) == 1


def test_effects_are_those_that_the_losses_were_made_with(study):
    runs, planned = study
    found = stability.stability_runs(runs.frame, planned)
    assert list(found.columns) == stability.RUNS
    assert set(found["patches"]) == {FIXED, DRAWN}
    assert found["rise"].between(0.1, 0.4).all()
    steps = stability.printed_steps(found[found["patches"] == DRAWN]).set_index(["norm", "clip"])
    assert list(steps.loc[("layer", "1")]) == ["12.5", "2.00", f"{found['rise'].mean():.2f}"]
    assert list(steps["clipped steps [%]"]) == ["-", "12.5", "62.5"] * 3
    table = stability.effects(found).set_index(["setting", "patches"])
    wanted = {
        ("clip none", FIXED): (1.0, "undecided"),
        ("clip none", DRAWN): (1.1, "worse"),
        ("clip none", stability.INTERACTION): (1.1, "worse"),
        ("clip 5", DRAWN): (1.0, "undecided"),
        ("warmup 0 %", FIXED): (1.0, "undecided"),
        ("norm batch", FIXED): (1.2, "worse"),
        ("norm batch", stability.INTERACTION): (1.0, "undecided"),
        ("norm batch_per_patch", DRAWN): (1.1, "worse"),
    }
    for key, (ratio, verdict) in wanted.items():
        assert table.loc[key, "change"] == pytest.approx(ratio - 1, abs=2e-3), key
        assert table.loc[key, "verdict"] == verdict, key
        assert table.loc[key, "low"] < table.loc[key, "change"] < table.loc[key, "high"]
    assert ("norm batch_per_patch", FIXED) not in table.index


def test_an_effect_is_the_mean_over_the_other_settings_by_brute_force(study):
    runs, planned = study
    found = stability.stability_runs(runs.frame, planned)
    table = stability.effects(found).set_index(["setting", "patches"])
    changes = []
    for seed in (0, 1, 2):
        its = found[(found["seed"] == seed) & (found["patches"] == DRAWN)]
        of_seed = []
        for norm in its["norm"].unique():
            for warmup in its["warmup"].unique():
                rows = its[(its["norm"] == norm) & (its["warmup"] == warmup)].set_index("clip")["test_loss"]
                of_seed.append(math.log(rows["none"]) - math.log(rows["1"]))
        changes.append(sum(of_seed) / len(of_seed))
    assert table.loc[("clip none", DRAWN), "change"] == pytest.approx(math.expm1(np.mean(changes)), rel=1e-9)


def test_failed_runs_are_counted_and_leave_the_effects_of_what_they_are_compared_with(tmp_path):
    runs, planned = made(
        tmp_path, failed=lambda run: drawn(run) and run.model.norm == "batch" and run.optim.max_grad_norm is None
    )
    found = stability.stability_runs(runs.frame, planned)
    assert found["failed"].sum() == 9
    assert found.loc[found["failed"], "test_loss"].isna().all()
    table = stability.effects(found).set_index(["setting", "patches"])
    assert table.loc[("clip none", DRAWN), "change"] == pytest.approx(0.1, abs=2e-3)
    printed = stability.printed(found[found["patches"] == DRAWN]).set_index("norm")
    assert set(printed.loc["batch", "failed"]) == {"3"}
    assert set(printed.loc["layer", "failed"]) == {"0"}


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_report_fits_a_terminal_and_writes_what_it_shows(study, tmp_path, capsys, seeds):
    runs, planned = study[0], study[1][: seeds * len(RUNS)]
    paths = report(runs, "shapes.stability", planned, tmp_path / "out")
    assert [path.name for path in paths] == [
        "shapes_stability.csv",
        "shapes_stability_effects.csv",
        "shapes_stability.png",
        "shapes_stability.pdf",
    ]
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= max(80, max(len(f"wrote {path}") for path in paths))
    assert ("worse" in text) == (seeds == 3)
    assert set(pd.read_csv(paths[1])["verdict"]) == ({"undecided", "worse"} if seeds == 3 else {"untested"})


def test_the_figure_shows_every_effect_and_nothing_is_cut_off(study):
    runs, planned = study
    table = stability.effects(stability.stability_runs(runs.frame, planned))
    figure = effects_figure(table, "Settings of training and the patch size")
    (axes,) = figure.axes
    marks = [line for line in axes.lines if line.get_marker() not in ("None", None, "")]
    assert sum(len(line.get_xdata()) for line in marks) == len(table)
    assert not cut_off(figure)
    assert not overlapping(figure)
