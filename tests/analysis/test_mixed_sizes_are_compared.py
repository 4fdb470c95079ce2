"""Runs on mixed image sizes are compared with runs at the full size, at every size that models are evaluated at."""

import numpy as np
import pytest

from analysis.plots.mixed_sizes import mixed_sizes_figure
from analysis.records.run_set import load
from analysis.studies import mixed_sizes
from analysis.studies.study_report import report
from analysis.studies.study_table import StudyRun
from experiments.recipes import cifar10
from experiments.studies.mixed_sizes import at_mixed_sizes
from scaling.config.edit import edit
from scaling.costs.run_flops import recipe_training_flops
from scaling.runs.evaluations import evaluation
from tests.analysis.test_runs import save
from tests.drawn import cut_off, overlapping

RUNS = at_mixed_sizes(cifar10.deit_nano, 4)


def loss_at(config, size):
    """Models of mixed sizes are 10 % better at 16 px, and all models equal at 32 px."""
    better = 0.9 if "-" in config.packing.image_sizes and size == 16 else 1.0
    return (1 + 0.1 * config.seed) * better * (16 / size) ** 0.5


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    results, planned, draw = tmp_path_factory.mktemp("study"), [], np.random.default_rng(0)
    for config in (edit(run, seed=seed) for seed in (0, 1, 2) for run in RUNS):
        noise = 1 + 1e-3 * draw.normal(size=3)
        losses = {size: loss_at(config, size) * noise[n] for n, size in enumerate((32, 16, 24))}
        rows = [evaluation(4, size, "raw", {"test_loss": loss, "top1": 50.0}) for size, loss in losses.items()]
        save(results, config, losses[32], evaluations=rows)
        planned.append(StudyRun(config.run_id, "deit_nano", 4))
    return load(results), planned


def test_runs_differ_in_sizes_and_number_of_images_alone():
    plain = {edit(run, image_sizes="32", image_sizes_per="image", num_train=10_000).run_id for run in RUNS}
    assert len(plain) == 1
    assert [run.packing.sizes_words for run in RUNS] == [
        "32 px",
        "24 px",
        "16 px",
        "16-32 px",
        "16-32 px",
        "16-32 px, per step",
    ]
    assert len({run.run_id for run in RUNS}) == 6


def test_one_mixed_run_has_as_many_images_as_the_full_size_and_one_as_many_flops():
    full, mixed, longer = RUNS[0], RUNS[3], RUNS[4]
    flops = [recipe_training_flops(run, run.data.num_train) for run in (full, mixed, longer)]
    assert mixed.data.num_train == full.data.num_train
    assert flops[2] == pytest.approx(flops[0], rel=0.005)
    assert flops[1] < 0.7 * flops[0]


def test_every_size_is_compared_with_the_full_size_alone(study):
    found = mixed_sizes.losses(*study, mixed_sizes.sizes_of)
    assert len(found) == 3 * 6 * 3
    table = mixed_sizes.comparisons(found).set_index(["trained", "images", "size"])
    assert mixed_sizes.full_size(found) == "32 px"
    at_small = table.loc[("16-32 px", 30_000, 16)]
    assert at_small["change"] == pytest.approx(-0.1, abs=0.005)
    assert at_small["low"] < at_small["change"] < at_small["high"] < 0
    assert at_small["verdict"] == "better"
    assert table.loc[("16-32 px", 30_000, 32), "verdict"] == "undecided"
    assert len(table) == 5 * 3


def test_the_report_is_printed_within_80_columns_and_written(study, tmp_path, capsys):
    runs, planned = study
    paths = report(runs, "cifar10.navit", planned, tmp_path)
    assert [path.name for path in paths] == [f"cifar10_navit{end}" for end in (".csv", "_compared.csv", ".png", ".pdf")]
    text = capsys.readouterr().out
    assert max(map(len, text.replace(str(tmp_path), "").splitlines())) <= 80
    assert "16-32 px, per step" in text
    assert "better" in text


def test_nothing_in_the_figure_overlaps_or_is_cut_off(study):
    figure = mixed_sizes_figure(
        mixed_sizes.losses(*study, mixed_sizes.sizes_of), "Mixed and fixed sizes of training images"
    )
    assert not cut_off(figure)
    assert not overlapping(figure)
