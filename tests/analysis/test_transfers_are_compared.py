"""The studies of transfer: their runs, and what their reports show of models at other grids, at once and finetuned."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.records.position_text import transfer_rule
from analysis.records.run_set import load
from analysis.studies import finetuning, transfer
from analysis.studies.study_report import report
from analysis.studies.study_table import StudyRun
from experiments.stages import last_stages
from experiments.studies.resolve import resolve
from experiments.studies.transfer import BRIEF, GEOMETRIC, KERNELS
from tests.analysis.test_runs import save

SEEDS = 3


def results_of(name, patches, given, loss_of, folder):
    """The study's runs with these fields and SEEDS seeds, as if they had finished with these losses."""
    planned = []
    for seed in range(SEEDS):
        runs = resolve(name, patches, {"seed": seed, **given})
        for run in runs:
            save(folder, run, loss_of(run))
        planned += [StudyRun(run.run_id, run.model.backbone, run.model.patch_size) for run in last_stages(runs)]
    return load(folder), planned


def grid_loss(run):
    """Trained there 0.5; by a rule 0.1 more per doubling of the side (extrapolated: twice that), with a spread over
    seeds of its own; finetuning halves what is more."""
    if run.predecessor is None:
        return 0.5 + 0.01 * run.seed
    away = abs(math.log2(run.model.img_size / 32))
    more = 0.1 * away * (2 if transfer_rule(run) == "extrapolate" else 1) * (1 + 0.05 * run.seed)
    return 0.5 + 0.01 * run.seed + (more / 2 if run.schedule.max_steps else more)


@pytest.fixture(scope="module")
def rotary(tmp_path_factory):
    return results_of("shapes.transfer", [], {"pos_embed": "rope"}, grid_loss, tmp_path_factory.mktemp("results"))


def test_every_encoding_has_each_of_its_rules_and_every_rule_is_in_the_configuration():
    runs = resolve("shapes.transfer", [], {"backbone": "deit_nano"})
    moved = [run for run in runs if run.predecessor is not None]
    rules = {(run.model.pos_embed.kind, transfer_rule(run)) for run in moved if run.model.img_size == 96}
    assert rules == {
        *(("learned", rule) for rule in ("bicubic", "bilinear")),
        *(("sincos", rule) for rule in ("interpolate", "extrapolate")),
        *(("rope", rule) for rule in ("interpolate", "extrapolate", "ntk", "yarn")),
        ("relative", "bicubic"),
        ("relative_mlp", "continuous"),
    }
    assert {run.schedule.max_steps or 0 for run in moved} == set(BRIEF)
    assert {run.model.img_size for run in moved} == {16, 32, 64, 96}
    for run in moved:
        assert run.predecessor.model.img_size == 32
        assert run.predecessor.predecessor is None
        assert run.seed == run.predecessor.seed
    added = {run.model.pos_embed.kind for run in resolve("shapes.transfer", [], {"backbone": "adventurer_nano"})}
    assert added == {"learned", "sincos", "rope_scan"}


def test_options_reach_every_run_but_the_length_of_finetuning_stays():
    runs = resolve("shapes.patch_transfer", [2], {"backbone": "deit_nano", "seed": 1, "epochs": 2, "num_val": 64})
    assert {(run.seed, run.data.num_val) for run in runs} == {(1, 64)}
    for run in runs:
        if run.predecessor is None:
            assert run.schedule.epochs == 2
            assert run.schedule.max_steps is None
        else:
            assert run.predecessor.schedule.epochs == 2
            assert (run.schedule.max_steps or 0) in GEOMETRIC
            assert run.init.patch_embed_resampling in KERNELS
    assert {run.model.patch_size for run in last_stages(runs)} == {2}


def test_models_at_other_grids_are_compared_with_those_trained_there_paired_over_seeds(rotary):
    found = transfer.transfers(*rotary)
    assert sorted(found["side"].unique()) == [0.5, 1, 2, 3]
    table = transfer.comparisons(found)
    one = table.query("rule == 'ntk' and side == 3 and steps == 0 and against == 'trained there'").iloc[0]
    off = [0.1 * math.log2(3) * (1 + 0.05 * seed) for seed in range(SEEDS)]
    low, high = stats.ttest_1samp(off, 0).confidence_interval(0.95)
    assert [one["change"], one["low"], one["high"]] == pytest.approx([np.mean(off), low, high])
    assert one["verdict"] == "worse"
    against_first = table.query("side == 2 and steps == 0 and against == 'interpolate'").set_index("rule")
    assert against_first.loc["extrapolate", "change"] == pytest.approx(0.1 * 1.05)
    assert against_first.loc["extrapolate", "verdict"] == "worse"
    assert against_first.loc["ntk", "verdict"] == "untested"  # equal losses
    assert not table.duplicated(transfer.OF).any()


def test_at_its_own_grid_a_finetuned_model_is_compared_with_itself_before(rotary):
    found = transfer.transfers(*rotary)
    own = transfer.comparisons(found).query("side == 1")
    assert own[["rule", "steps", "against"]].values.tolist() == [["interpolate", 100, transfer.DIRECT]]
    assert own["change"].iloc[0] == 0
    at_own = found[found["side"] == 1]
    assert set(at_own["rule"]) == {transfer.DIRECT, "interpolate"}


def test_the_report_of_transfer_is_written_and_fits_a_terminal(rotary, tmp_path, capsys):
    paths = report(*(rotary[0], "shapes.transfer", rotary[1], tmp_path))
    assert [path.name for path in paths] == [
        "shapes_transfer.csv",
        "shapes_transfer_compared.csv",
        "shapes_transfer.png",
        "shapes_transfer.pdf",
    ]
    printed = capsys.readouterr().out
    assert max(map(len, printed.split("wrote")[0].splitlines())) <= 80
    assert "deit_nano, rope, extrapolate against interpolate: worse at 0.5 x with 0 steps" in " ".join(printed.split())


def patch_loss(run):
    """From 1 nat (kernel like an image: 1.5) to 0.5 at the most steps, linear in log(1 + steps)."""
    if run.predecessor is None:
        return 0.5 + 0.01 * run.seed
    once = (1.5 if run.init.patch_embed_resampling == "vanilla" else 1.0) + 0.01 * run.seed
    share = math.log1p(run.schedule.max_steps or 0) / math.log1p(GEOMETRIC[-1])
    if run.model.pos_embed.kind == "learned":
        share **= 2
    return once + share * (0.5 + 0.001 * run.seed - once)


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    given = {"backbone": "deit_nano"}
    return results_of("shapes.patch_transfer", [2], given, patch_loss, tmp_path_factory.mktemp("results"))


def test_steps_to_a_share_of_the_gap_are_where_the_curve_has_fallen_by_it(patches):
    found = transfer.transfers(*patches)
    table = finetuning.gaps(found).set_index(["encoding", "kernel", "patch", "seed"])
    assert len(table) == 4 * 2 * SEEDS
    steps = table.loc[("rope", "pi", 2, 0), "steps"]
    assert math.log1p(steps) == pytest.approx(0.9 * math.log1p(1000))
    compared = finetuning.comparisons(found, finetuning.gaps(found))
    kernel = compared.query("what == 'kernel' and encoding == 'rope' and patch == 2").set_index("steps")
    assert kernel.loc[0, "change"] == pytest.approx(0.5)
    assert kernel.loc[1000, "change"] == pytest.approx(0)
    later = compared.query("what == 'encoding' and patch == 2")
    assert sorted(later["encoding"]) == ["relative", "rope", "sincos"]
    assert (later["change"] < 0).all()  # learned positions, whose curve falls late, need more steps


def steps_by_search(steps, losses, share):
    """The first of many points between the steps at which the line has fallen by the share."""
    x = np.linspace(0, np.log1p(steps[-1]), 20001)
    line = np.interp(x, np.log1p(steps), losses)
    return np.expm1(x[line <= losses[0] - share * (losses[0] - losses[-1])][0])


@given(st.lists(st.floats(0.1, 2), min_size=len(GEOMETRIC), max_size=len(GEOMETRIC)), st.floats(0.1, 0.95))
def test_steps_to_a_share_are_those_of_a_search(losses, share):
    losses, steps = np.array(losses), np.array(GEOMETRIC, float)
    found = finetuning.steps_to_share(steps, losses, share)
    if losses[0] - losses[-1] <= 1e-6:
        assert losses[0] > losses[-1] or math.isnan(found)
    else:
        assert math.log1p(found) == pytest.approx(math.log1p(steps_by_search(steps, losses, share)), abs=1e-3)


def test_without_a_fall_there_are_no_steps_to_a_share_of_it():
    assert math.isnan(finetuning.steps_to_share(np.array([0.0, 10]), np.array([1.0, 1.5])))
    assert math.isnan(finetuning.steps_to_share(np.array([0.0]), np.array([1.0])))
    assert math.isnan(finetuning.steps_to_share(np.array([10.0, 100]), np.array([1.0, 0.5])))


def test_the_report_of_patch_transfer_is_written_and_fits_a_terminal(patches, tmp_path, capsys):
    paths = report(*(patches[0], "shapes.patch_transfer", patches[1], tmp_path))
    stem = "shapes_patch_transfer"
    assert [path.name for path in paths] == [
        *(f"{stem}{end}.csv" for end in ("", "_gaps", "_compared")),
        f"{stem}.png",
        f"{stem}.pdf",
    ]
    printed = capsys.readouterr().out
    assert max(map(len, printed.split("wrote")[0].splitlines())) <= 80
    words = " ".join(printed.split())
    assert "deit_nano, rope at 2 px, kernel vanilla against pi: untested after 0, 10" in words
    assert "deit_nano, rope at 2 px, steps to 90 % of the gap: 0.73 times those of learned" in words


def test_a_study_of_which_nothing_at_another_grid_has_finished_shows_nothing(tmp_path, capsys):
    runs = [run for run in resolve("shapes.transfer", [], {"pos_embed": "rope"}) if run.predecessor is None]
    for run in runs:
        save(tmp_path / "results", run, 1.0)
    planned = [StudyRun(run.run_id, run.model.backbone, run.model.patch_size) for run in runs]
    assert report(load(tmp_path / "results"), "shapes.transfer", planned, tmp_path) == []
    assert "no run at another grid has finished" in capsys.readouterr().out
    assert isinstance(transfer.comparisons(pd.DataFrame(columns=transfer.TRANSFERS)), pd.DataFrame)
