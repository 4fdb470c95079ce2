"""Adaptive patches are compared with uniform ones at equal tokens, and with trees at other places."""

import numpy as np
import pytest

from analysis.records.run_set import load
from analysis.studies import adaptive
from analysis.studies.study_report import report
from analysis.studies.study_table import StudyRun
from experiments.recipes import shapes
from experiments.studies.adaptive import against_uniform
from scaling import costs
from scaling.config.edit import edit
from tests.analysis.test_runs import save
from tests.drawn import cut_off, overlapping

RUNS = against_uniform(shapes.deit_nano, 32)
FACTOR = {"variance": 0.8, "edges": 0.8, "turned": 1.0}  # of the loss of uniform patches


def made(results, seeds=(0, 1, 2), runs=RUNS):
    planned, draw = [], np.random.default_rng(0)
    for config in (edit(run, seed=seed) for seed in seeds for run in runs):
        embed, tokens = config.model.patch_embed, costs.recipe_tokens(config)
        loss = tokens**-0.3 * FACTOR.get(getattr(embed, "split_by", ""), 1.0) * (1 + 0.1 * config.seed)
        leaves = {"leaves": tokens - 0.5} if embed.kind == "adaptive" else {}
        facts = {"tokens": tokens, "flops_per_image": float(costs.recipe_flops(config)), "images_per_second": 100.0}
        metrics = {"top1": 70.0, **leaves}
        save(results, config, loss * (1 + 1e-3 * draw.normal()), metrics=metrics, **facts)
        planned.append(StudyRun(config.run_id, config.model.backbone, config.model.patch_size))
    return load(results), planned


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return made(tmp_path_factory.mktemp("study"))


def test_runs_that_are_compared_have_equal_tokens_flops_and_images():
    assert len({run.run_id for run in RUNS}) == len(RUNS) == 15
    for first in range(0, 15, 5):
        uniform, *others = RUNS[first : first + 5]
        assert {costs.recipe_tokens(run) for run in others} == {costs.recipe_tokens(uniform)}
        assert {costs.recipe_flops(run) for run in others} == {costs.recipe_flops(uniform)}
        assert {(run.data, run.schedule, run.optim, run.model.pos_embed) for run in others} == {
            (uniform.data, uniform.schedule, uniform.optim, uniform.model.pos_embed)
        }
        assert [run.model.patch_embed.kind for run in others] == ["flexible", "adaptive", "adaptive", "adaptive"]
    assert [costs.recipe_tokens(run) for run in RUNS[::5]] == [16, 64, 256]


def test_a_row_has_the_kind_of_patches_and_its_leaves(study):
    runs, planned = study
    table = adaptive.adaptive_table(runs.frame, planned)
    assert len(table) == 45
    assert list(table["patches"].unique()) == list(adaptive.WORDS.values())
    assert list(table["tokens"].unique()) == [16, 64, 256]
    of_trees = table["patches"].str.startswith("by")
    assert (table["leaves"][of_trees] == table["tokens"][of_trees] - 0.5).all()
    assert table["leaves"][~of_trees].isna().all()


def test_what_was_put_in_is_found(study):
    runs, planned = study
    found = adaptive.comparisons(adaptive.adaptive_table(runs.frame, planned))
    assert len(found) == 3 * 6
    by_pair = found.groupby(["patches", "against"])
    for name, against in (("by variance", "uniform"), ("by edges", "by turned tree")):
        its = by_pair.get_group((name, against))
        assert set(its["verdict"]) == {"better"}
        assert its["change"].to_numpy() == pytest.approx([-0.2] * 3, abs=0.01)
    assert set(by_pair.get_group(("uniform, resized", "uniform"))["verdict"]) == {"undecided"}
    (sentence, content) = adaptive.sentences(found)
    assert sentence.startswith("deit_nano, against uniform with as many tokens: uniform, resized: undecided at 16")
    assert "by edges: better at 16, 64, 256 tokens" in content


def test_the_report_fits_a_terminal_and_its_figure_has_no_text_on_text(study, tmp_path, capsys):
    runs, planned = study
    files = report(runs, "shapes.adaptive", planned, tmp_path)
    assert {path.name for path in files} == {
        "shapes_adaptive.csv", "shapes_adaptive_compared.csv", "shapes_adaptive.png", "shapes_adaptive.pdf"
    }  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, [line for line in lines if not line.startswith("wrote")])) <= 80


def test_the_figure_of_a_study_is_readable(study):
    runs, planned = study
    table = adaptive.adaptive_table(runs.frame, planned)
    from analysis.plots.studies import study_figure

    figure = study_figure(adaptive.drawn(table), "tokens of an image, log scale", "Adaptive and uniform patches")
    assert overlapping(figure) == []
    assert cut_off(figure) == []


def test_one_seed_and_a_part_of_the_runs_are_shown_without_a_test(tmp_path):
    runs, planned = made(tmp_path, seeds=(0,), runs=RUNS[2:4])
    table = adaptive.adaptive_table(runs.frame, planned)
    assert adaptive.comparisons(table).empty
    assert list(adaptive.sentences(adaptive.comparisons(table))) == []
    assert list(adaptive.printed(table)["leaves"]) == ["15.5", "15.5"]
