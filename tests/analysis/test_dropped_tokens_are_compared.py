"""Runs on a part of the tokens are compared with runs on all of them, on as many images and with as many FLOPs."""

import numpy as np
import pandas as pd
import pytest

from analysis.plots.token_drop import drop_figure
from analysis.records.run_set import load
from analysis.studies import token_drop
from analysis.studies.study_report import report
from analysis.studies.study_table import StudyRun
from experiments.recipes import shapes
from experiments.studies.token_drop import with_dropped_tokens
from scaling import costs
from scaling.config.edit import edit
from scaling.costs.run_flops import cumulated_flops
from tests.analysis.test_runs import save
from tests.drawn import cut_off, overlapping

WORSE = {"beta 0.7 up to 0.9": 1.3, "schedule 0.8..0.2": 0.8}


def small(patch):
    return edit(shapes.deit_nano(patch), num_train=1280)


RUNS = with_dropped_tokens(small, 4)


def steps_of(config):
    return config.data.num_train // config.optim.global_batch_size


def save_run(results, config, noise):
    """A finished run with its curve: the training loss falls from 1 to 0.5, but for a jump of 0.4 in the middle."""
    drop, steps = config.packing.token_drop.words, steps_of(config)
    loss = WORSE.get(drop, 1.0) * (1 + 0.1 * config.seed) * (1 + noise)
    kept = {} if drop == "none" and config.packing.image_sizes == "16" else {"tokens_kept": 55.0}
    folder = save(results, config, loss, metrics={"top1": 70.0, "train_loss": 0.5, **kept}, tokens=16)
    rows = [[n, 1 - n / steps / 2 + 0.4 * (n == steps // 2), "", n / 10] for n in range(1, steps + 1)]
    rows.append([steps, "", loss, steps / 10 + 9])
    frame = pd.DataFrame(rows, columns=["step", "train_loss", "test_loss", "seconds"])
    frame.to_csv(results / folder / "curve.csv", index=False)


def made(results, seeds=(0, 1, 2), runs=RUNS):
    planned, draw = [], np.random.default_rng(0)
    for config in (edit(run, seed=seed) for seed in seeds for run in runs):
        save_run(results, config, 1e-3 * draw.normal())
        planned.append(StudyRun(config.run_id, "deit_nano", 4))
    return load(results), planned


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return made(tmp_path_factory.mktemp("study"))


def test_a_study_differs_in_nothing_but_dropping_and_the_number_of_images():
    of_one_size, of_several = RUNS[:13], RUNS[13:]
    assert [len(of_one_size), len(of_several)] == [13, 5]
    for whole, *others in (of_one_size, of_several):
        budget = costs.recipe_training_flops(whole, whole.data.num_train)
        for equal_images, equal_flops in zip(others[::2], others[1::2], strict=True):
            assert equal_images.data.num_train == whole.data.num_train < equal_flops.data.num_train
            assert equal_images.packing == equal_flops.packing
            assert costs.recipe_training_flops(equal_flops, equal_flops.data.num_train) == pytest.approx(
                budget, rel=0.02
            )
            assert (
                edit(equal_images, token_drop="none") == edit(equal_flops, token_drop="none", num_train=1280) == whole
            )
    assert {run.packing.token_drop.kind for run in of_one_size} == {"none", "constant", "beta", "schedule"}
    assert {run.packing.token_drop.kind for run in of_several} == {"none", "constant", "resolution"}


def test_a_row_has_the_flops_of_the_tokens_that_were_kept_and_the_largest_rise_of_the_loss(study):
    runs, planned = study
    found, along = token_drop.drop_runs(runs.frame, planned)
    assert list(found.columns) == token_drop.RUNS
    assert len(found) == len(planned)
    for config, row in zip((edit(run, seed=0) for run in RUNS), found.itertuples(), strict=False):
        steps = steps_of(config)
        assert (row.dropped, row.images) == (config.packing.token_drop.words, 32 * steps)
        assert row.flops == cumulated_flops(config, steps)[-1]
        assert row.seconds == steps / 10  # without the evaluation at the end
    whole = found[(found["dropped"] == "none") & (found["sizes"] == "16")]
    assert (whole["tokens_kept"] == 100).all()
    assert (found.drop(whole.index)["tokens_kept"] == 55).all()
    # 40 steps in 32 windows: the jump is shared with at most one other step, and the next windows fall
    first = along[(along["seed"] == 0) & (along["dropped"] == "none") & (along["sizes"] == "16")]
    assert first["train_loss"].diff().max() == whole["rise"].iloc[0]
    assert 0.15 < whole["rise"].iloc[0] < 0.4


def test_dropping_is_compared_with_none_on_images_of_the_same_sizes(study):
    runs, planned = study
    table = token_drop.comparisons(token_drop.drop_runs(runs.frame, planned)[0])
    assert table["sizes"].value_counts().to_dict() == {"16": 12, "8-16": 4}
    assert table["equal"].value_counts().to_dict() == {"images": 8, "FLOPs": 8}
    for row in table.itertuples():
        assert row.change == pytest.approx(WORSE.get(row.dropped, 1.0) - 1, abs=0.01)
        assert row.verdict == ("undecided" if row.dropped not in WORSE else "worse" if row.change > 0 else "better")
        assert row.low < row.change < row.high


def test_without_runs_on_all_tokens_nothing_is_compared(tmp_path):
    runs, planned = made(tmp_path, (0,), RUNS[1:5])
    found, _ = token_drop.drop_runs(runs.frame, planned)
    assert len(found) == 4
    assert token_drop.comparisons(found).empty


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_report_fits_a_terminal_and_writes_what_it_shows(study, tmp_path, capsys, seeds):
    runs, planned = study[0], study[1][: seeds * len(RUNS)]
    paths = report(runs, "shapes.token_drop", planned, tmp_path / "out")
    assert [path.name for path in paths] == [
        *(f"shapes_token_drop{end}.csv" for end in ("", "_along", "_compared")),
        "shapes_token_drop.png",
        "shapes_token_drop.pdf",
    ]
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= max(80, max(len(f"wrote {path}") for path in paths))
    assert "trained at 8-16 px" in text
    assert ("better" in text) == (seeds == 3)
    compared = pd.read_csv(tmp_path / "out" / "shapes_token_drop_compared.csv")
    assert set(compared["verdict"]) == ({"undecided", "better", "worse"} if seeds == 3 else {"untested"})


def test_the_figure_shows_every_run_and_nothing_is_cut_off(study):
    runs, planned = study
    found, along = token_drop.drop_runs(runs.frame, planned)
    figure = drop_figure(found, along, "Training on a part of the tokens")
    assert len(figure.axes) == 4
    marks = [line for axes in figure.axes[::2] for line in axes.lines if line.get_marker() not in ("None", None, "")]
    assert sum(len(line.get_xdata()) for line in marks) == len(found)
    assert not cut_off(figure)
    assert not overlapping(figure)
    colours = [(handle.get_color(), handle.get_marker()) for handle in figure.legends[0].legend_handles]
    assert len(set(colours)) == len(colours) == 8
