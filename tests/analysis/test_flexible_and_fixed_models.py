"""The study flexivit: what it shows of a flexible model, a model per patch size, and these at other patch sizes."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.plots.flexivit import flexivit_figure
from analysis.records.run_set import RunSet, load
from analysis.report.law_report import law_input
from analysis.studies import flexivit
from analysis.studies.study_report import report
from analysis.studies.study_table import StudyRun
from experiments.stages import last_stages
from experiments.studies.flexivit import PATCHES
from experiments.studies.resolve import resolve
from scaling.config.patch_embeds import RESIZE_METHODS
from scaling.runs.evaluations import evaluation
from tests.analysis.test_runs import save

NAME = "shapes.flexivit"
FACTOR = {"pi": 1.1, "area": 1.2, "norm": 1.3, "vanilla": 2.0}  # of the loss per halving away from a model's own patch


def own_loss(patch: int, seed: int) -> float:
    return 0.1 * patch**0.5 * (1 + 0.01 * seed)


def loss_of(run, patch: int) -> float:
    """Of a model of one patch size: its own, times a factor for every halving or doubling; of the flexible one: 20 %
    above the own ones at 16 px, with a spread of 1 % about none elsewhere."""
    if run.model.any_patch and run.schedule.epochs:
        return own_loss(patch, run.seed) * (1.2 + 0.001 * run.seed if patch == 16 else 1 + 0.01 * (run.seed - 1))
    halvings = abs(math.log2(patch / run.model.patch_size))
    return own_loss(run.model.patch_size, run.seed) * FACTOR[run.model.resize or "pi"] ** halvings


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[RunSet, list[StudyRun]]:
    """The runs of deit_nano with three seeds, as if they had finished."""
    results, planned = tmp_path_factory.mktemp("results"), []
    for seed in range(3):
        runs = resolve(NAME, [], {"seed": seed, "backbone": "deit_nano"})
        last = last_stages(runs)
        for run in runs:
            own = run.model.patch_size
            patches = PATCHES if run in last else (own,)
            rows = [evaluation(p, 16, "raw", {"test_loss": loss_of(run, p), "top1": 50.0}) for p in patches]
            rows.sort(key=lambda row, own=own: row["patch_size"] != own)
            save(results, run, rows[0]["test_loss"], evaluations=rows)
        planned += [
            StudyRun(run.run_id, "deit_nano", run.model.patch_size, "" if run.schedule.epochs else run.model.resize)
            for run in last
        ]
    return load(results), planned


def test_every_model_has_a_row_for_each_way_patch_and_seed(study):
    found = flexivit.losses(*study)
    assert len(found) == 3 * (4 + 4 * 4 * 4)
    assert not found.duplicated(["model_patch", "resize", "patch", "seed"]).any()
    (row,) = found.query("model_patch == 4 and resize == 'area' and patch == 16 and seed == 2").to_dict("records")
    assert row["test_loss"] == pytest.approx(own_loss(4, 2) * 1.2**2)
    own = flexivit.own_losses(found)
    assert len(own) == 4 * 3
    assert own["test_loss"].tolist() == pytest.approx([own_loss(row.patch, row.seed) for row in own.itertuples()])


def test_seeds_are_paired_in_the_comparison_and_what_they_do_not_decide_is_undecided(study):
    table = flexivit.compared(flexivit.losses(*study)).set_index("patch")
    ratios = np.log([1.2, 1.201, 1.202])
    low, high = stats.ttest_1samp(ratios, 0).confidence_interval(0.95)
    expected = 100 * np.expm1([ratios.mean(), low, high])
    assert table.loc[16, ["change", "low", "high"]].tolist() == pytest.approx(list(expected))
    assert (table["seeds"] == 3).all()
    verdicts = flexivit.printed_comparison(table.reset_index())["by the interval"]
    assert verdicts.tolist() == ["flexible is worse", *["undecided"] * 3]


def test_one_seed_has_no_interval(study):
    found = flexivit.losses(*study)
    table = flexivit.compared(found[found["seed"] == 0])
    assert table[["low", "high"]].isna().all(axis=None)
    assert set(flexivit.printed_comparison(table)["by the interval"]) == {"undecided"}


def test_sentences_count_the_pairs_of_a_model_and_another_patch(study):
    best, better = flexivit.sentences(flexivit.losses(*study))
    assert best.endswith("of 12 pairs of a model and another patch size the lowest mean loss is by pi at 12")
    away = [(m, p) for m in PATCHES for p in PATCHES if m != p]
    own = {p: np.mean([own_loss(p, seed) for seed in range(3)]) for p in PATCHES}
    lower = sum(own[m] * 1.1 ** abs(math.log2(p / m)) > own[p] * (1.2 if p == 16 else 1) for m, p in away)
    assert better.endswith(f"at {lower} of 12")


def test_a_report_fits_a_terminal_and_writes_table_comparison_and_figure(study, tmp_path, capsys):
    paths = report(study[0], NAME, study[1], tmp_path)
    said = capsys.readouterr().out.replace(str(tmp_path), "")
    assert max(map(len, said.splitlines())) <= 80
    endings = (".csv", "_compared.csv", ".png", ".pdf")
    assert [p.name for p in paths] == [f"shapes_flexivit{end}" for end in endings]
    kept = pd.read_csv(paths[0], keep_default_na=False)
    assert len(kept) == len(flexivit.losses(*study))
    assert said.count(" vanilla ") == len(PATCHES)


def test_the_figure_has_a_panel_for_each_way_with_both_curves_and_a_line_for_each_model(study):
    found = flexivit.losses(*study)
    figure = flexivit_figure(*flexivit.drawn(found), "title")
    assert len(figure.axes) == len(RESIZE_METHODS)
    for axes in figure.axes:
        way = axes.get_title(loc="left").split()[-1]
        drawn = {line.get_label(): dict(zip(*line.get_data(), strict=True)) for line in axes.lines}
        assert drawn["model of 2 px"][4] == pytest.approx(own_loss(2, 1) * FACTOR[way])
        assert drawn["a model per patch size, at its own"][8] == pytest.approx(own_loss(8, 1))
        assert drawn["one flexible model"][16] == pytest.approx(
            np.mean([own_loss(16, s) * (1.2 + 0.001 * s) for s in range(3)])
        )


def test_laws_have_the_flexible_run_under_its_own_group_and_no_run_of_no_epochs(study):
    groups = law_input(study[0]).own
    assert sorted((group.name, group.patches) for group in groups) == [("deit_nano", 4), ("deit_nano flexible", 4)]
