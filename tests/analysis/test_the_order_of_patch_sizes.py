"""Orders of patch sizes are compared at equal FLOPs, as drawn, and at equal seconds, seed by seed."""

import numpy as np
import pandas as pd
import pytest

from analysis.plots.patch_order import order_figure
from analysis.records.run_set import load
from analysis.studies import patch_order
from analysis.studies.study_report import report
from analysis.studies.study_table import StudyRun
from experiments.recipes import shapes
from experiments.studies.patch_order import in_each_order
from scaling import costs
from scaling.config.edit import edit
from scaling.costs.run_flops import course_of, cumulated_flops
from tests.analysis.test_runs import save
from tests.drawn import cut_off, overlapping

ORDERS = ["8,4", "8..4", "8@0.5,4@1"]
FACTORS = {"4 px alone": 1.0, "8,4": 0.9, "8..4": 1.1, "8@0.5,4@1": 1.0}


def small(patch):
    return edit(shapes.deit_nano(patch), num_train=1280)


RUNS = in_each_order(small, (8, 4), "8@0.5,4@1")


def total_steps(config):
    return config.data.num_train // config.optim.global_batch_size


def name_of(config):
    shapes = config.step_shapes
    return {"fixed": "4 px alone", "random_patch": "8,4"}.get(shapes.kind) or shapes.patch_schedule


def save_run(results, config, loss, seconds, along=()):
    """A finished run with its curve; along: steps before the end that have a test loss."""
    steps = total_steps(config)
    folder = save(results, config, loss, metrics={"top1": 70.0, "train_loss": 1.0}, tokens=16)
    rows = [[step, loss + 0.5, seconds * step / steps] for step in along]
    rows += [[steps, "", seconds], [steps, loss, seconds + 9]]  # the evaluation at the end takes 9 s
    frame = pd.DataFrame(rows, columns=["step", "test_loss", "seconds"])
    frame.to_csv(results / folder / "curve.csv", index=False)


def made(results, noise=0.0, seeds=(0, 1, 2), slower=1.0):
    """A study whose loss is a law of the FLOPs that were drawn, times the factor of the order. Returns its curves."""
    planned = []
    for seed in seeds:
        for number, one in enumerate(RUNS):
            config = edit(one, seed=seed)
            flops = cumulated_flops(config, total_steps(config))[-1]
            rough = 1 + noise * np.random.default_rng(10 * seed + number).normal()
            loss = FACTORS[name_of(config)] * (1 + 0.1 * seed) * (flops / 1e9) ** -0.2 * rough
            seconds = flops / 1e9 * (1.0 if config.step_shapes.kind == "fixed" else slower)
            save_run(results, config, loss, seconds, along=(4, total_steps(config) // 2))
            planned.append(StudyRun(config.run_id, "deit_nano", 4))
    return load(results), planned


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three seeds; in the orders a FLOP takes twice the seconds."""
    return made(tmp_path_factory.mktemp("study"), noise=1e-3, slower=2.0)


def compared(runs, planned):
    table = patch_order.comparisons(patch_order.order_curves(runs.frame, planned))
    return table.set_index(["cost", "order"])


def test_a_study_has_equal_flops_and_differs_in_nothing_but_the_order_and_the_number_of_images():
    fixed, *others, longer = RUNS
    flops = [costs.recipe_training_flops(run, run.data.num_train) for run in RUNS]
    assert [abs(one / flops[0] - 1) <= 0.01 for one in flops] == [True] * 4 + [False]
    assert flops[-1] == pytest.approx(2 * flops[0], rel=0.01)
    assert [name_of(run) for run in others] == ORDERS
    assert all(run.data.num_train > fixed.data.num_train for run in others)
    for run in RUNS:
        assert edit(run, step_shapes="fixed", num_train=1280) == fixed
    assert longer.step_shapes == fixed.step_shapes


def test_images_of_several_epochs_have_equal_flops_too():
    runs = in_each_order(lambda patch: edit(small(patch), epochs=3, num_train=12800), (8, 4), "8@0.5,4@1")
    flops = [costs.recipe_training_flops(run, run.data.num_train) for run in runs]
    assert [one / flops[0] for one in flops[:-1]] == pytest.approx([1] * 4, abs=0.01)


def test_a_curve_has_the_flops_of_the_patches_that_were_drawn_until_each_loss(study):
    runs, planned = study
    curves = patch_order.order_curves(runs.frame, planned)
    assert list(curves.columns) == patch_order.CURVES
    for config in (edit(run, seed=1) for run in RUNS):
        steps = total_steps(config)
        of_run = (curves["order"] == name_of(config)) & (curves["images"] == 32 * steps) & (curves["seed"] == 1)
        its = curves[of_run]
        assert its["step"].tolist() == [4, steps // 2, steps]
        course, spent = course_of(config, steps), 0.0
        for step in range(steps):
            shape = config.step_shapes.at(1, step, course)
            spent += 32 * costs.recipe_step_flops(edit(config, step_shapes="fixed", patch_size=shape.patch_size))
            if step == 3:
                assert its["flops"].iloc[0] == spent
        assert its["flops"].iloc[-1] == spent
        assert its["seconds"].iloc[-1] * 4 / steps == pytest.approx(its["seconds"].iloc[0])  # evaluation left out
        assert its["test_loss"].iloc[0] == pytest.approx(its["test_loss"].iloc[-1] + 0.5)
        assert its["top1"].notna().tolist() == [False, False, True]


def test_an_order_is_compared_at_its_own_cost_with_the_smallest_patch_alone(study):
    table = compared(*study)
    for order in ORDERS:
        assert table.loc[("flops", order), "change"] == pytest.approx(FACTORS[order] - 1, abs=0.02)
        slow = FACTORS[order] * 2**0.2 - 1  # the smallest patch alone has twice the FLOPs in the seconds of the order
        assert table.loc[("seconds", order), "change"] == pytest.approx(slow, abs=0.02)
    assert table.loc["flops", "verdict"].tolist() == ["better", "worse", "undecided"]
    assert table.loc["seconds", "verdict"].tolist() == ["worse"] * 3
    assert (table["p_holm"] >= table["p"]).all()
    assert (table["low"] < table["change"]).all()
    assert (table["change"] < table["high"]).all()


def test_noise_leaves_an_order_undecided(tmp_path):
    noisy = compared(*made(tmp_path, noise=0.1))
    assert noisy["verdict"].tolist() == ["undecided"] * 6


def test_without_a_second_length_of_the_smallest_patch_alone_nothing_is_compared(study):
    runs, planned = study
    longer = {edit(RUNS[-1], seed=seed).run_id for seed in range(3)}
    assert compared(runs, [one for one in planned if one.run_id not in longer]).empty


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_report_fits_a_terminal_and_says_every_verdict(study, tmp_path, capsys, seeds):
    runs, planned = study[0], study[1][: seeds * len(RUNS)]
    paths = report(runs, "shapes.curricula", planned, tmp_path / "analysis")
    said = capsys.readouterr().out.replace(str(tmp_path), "")
    assert max(map(len, said.splitlines())) <= 80, max(said.splitlines(), key=len)
    endings = {"", "_compared", "_by_patch", *(["_equal_images"] if seeds > 1 else [])}
    assert {path.name for path in paths} == {f"shapes_curricula{one}.csv" for one in endings} | {
        "shapes_curricula.png",
        "shapes_curricula.pdf",
    }
    assert len(pd.read_csv(paths[0])) == 15 * seeds
    joined = " ".join(said.split())
    sentence = "at equal FLOPs as the smallest patch size alone: 8,4 is better, 8..4 is worse, 8@0.5,4@1 is undecided."
    assert (sentence in joined) == (seeds > 1)
    assert " nan" not in said


def test_the_figure_has_a_line_per_order_and_length_against_both_costs(study):
    runs, planned = study
    curves = patch_order.order_curves(runs.frame, planned)
    figure = order_figure(curves, "Order of patch sizes")
    assert len(figure.axes) == 2
    for axes, cost in zip(figure.axes, ("flops", "seconds"), strict=True):
        lines = [line for line in axes.lines if line.get_marker() == "None"]
        assert [len(line.get_xdata()) for line in lines] == [3] * 5
        its = curves[(curves["order"] == "8..4") & (curves["share"] == 1)]
        drawn = next(line for line in lines if np.isclose(line.get_xdata()[-1], its[cost].mean()))
        assert drawn.get_ydata()[-1] == pytest.approx(its["test_loss"].mean())
    assert not overlapping(figure)
    assert not cut_off(figure)
