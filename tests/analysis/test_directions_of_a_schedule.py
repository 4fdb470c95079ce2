"""Small patches first against large ones first: the pairs that are compared, their difference over seeds, and what a
change of shape does to the loss."""

import numpy as np
import pytest

from analysis.records.run_set import load
from analysis.studies import changes, directions, order_by_patch, patch_order, training_steps
from analysis.studies.study_report import report
from analysis.studies.study_table import StudyRun
from experiments.recipes import shapes
from experiments.studies.curricula import curricula
from experiments.studies.patch_order import budget_of
from scaling.config.at_shape import evaluated_patches
from scaling.config.edit import edit
from scaling.costs.run_flops import seen_images
from scaling.runs.evaluations import evaluation
from scaling.runs.phases import PhaseRow
from tests.analysis.test_runs import save


def small(patch):
    return edit(shapes.deit_nano(patch), num_train=1280)


SMALL_FIRST, LARGE_FIRST = "4@0.4,8@0.7,16@1", "16@0.3,8@0.6,4@1"
RUNS = curricula(small, (16, 8, 4), LARGE_FIRST)
GAPS = {SMALL_FIRST: 0.1, "2@0.5,4@1": 0.001}  # nats above all others
PHASE = PhaseRow(
    first_step=0, steps=40, patch_sizes=[8], img_sizes=[16], crops=[1.0], images=1280, flops=1.0, seconds=1.0,
    train_loss=1.0, loss_before=None, loss_after=None, spike=None, spike_steps=None,
)  # fmt: skip


CLIPPED = {"clipped_steps": 10.0, "loss_spikes": 0.5}


def phases_of(seed):
    after = {"loss_before": 1.0, "loss_after": 1.5, "spike": 0.1 * seed, "spike_steps": 2 if seed < 2 else None}
    unmeasured = {**PHASE, "first_step": 80, "patch_sizes": [4]}
    read = {**CLIPPED, "clipped_steps": 30.0 + seed}
    return [{**PHASE, "instruments": read}, {**PHASE, "first_step": 40, "patch_sizes": [16, 8], **after}, unmeasured]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three seeds."""
    results, planned = tmp_path_factory.mktemp("study"), []
    for seed in range(3):
        for config in (edit(run, seed=seed) for run in RUNS):
            name = patch_order.order_of(config)
            loss = 0.5 + 0.01 * seed + GAPS.get(name, 0.0) + 1e-4 * np.random.default_rng(len(planned)).normal()
            metrics = {"top1": 70.0, "train_loss": 1.0, **CLIPPED}
            rows = [
                evaluation(patch, 16, "raw", {"test_loss": loss + 0.1 * (patch == 8), "top1": 70.0})
                for patch in evaluated_patches(config)
            ]
            has = phases_of(seed) if name == LARGE_FIRST else []
            folder = save(results, config, loss, metrics=metrics, tokens=16, evaluations=rows, phases=has)
            steps = config.data.num_train // config.optim.global_batch_size
            (results / folder / "curve.csv").write_text(
                f"step,test_loss,seconds\n{steps},,{steps}\n{steps},{loss},{steps + 9}\n"
            )
            planned.append(StudyRun(config.run_id, "deit_nano", config.model.patch_size))
    return load(results), planned


def test_a_study_has_equal_flops_and_the_orders_of_the_same_stretches_equal_images():
    of_name = {patch_order.order_of(run): run for run in RUNS[:-1]}
    fixed, *_, more = RUNS
    budget = budget_of(fixed)
    longer = {RUNS[4].run_id, more.run_id}  # patch 4 alone
    assert all(budget_of(run) == pytest.approx(budget, rel=0.03) for run in RUNS if run.run_id not in longer)
    same = [LARGE_FIRST, SMALL_FIRST, f"4 x {LARGE_FIRST}", "16:3,8:3,4:4"]
    alike = {seen_images(of_name[name], of_name[name].data.num_train // 32) for name in same}
    assert len(alike) == 1
    assert {"8@0.5,4@1", "2@0.5,4@1", "image 8@0.5,16@1"} <= set(of_name)
    for run in RUNS:
        assert {16, 8, 4} <= set(evaluated_patches(run))
        assert {name: getattr(run.optim, name) for name in ("lr", "global_batch_size")} == {
            name: getattr(fixed.optim, name) for name in ("lr", "global_batch_size")
        }


def test_a_direction_is_compared_with_its_reverse_and_with_the_same_end_at_every_patch(study):
    runs, planned = study
    losses = order_by_patch.losses_by_patch(runs.frame, planned)
    table = directions.directions(losses).set_index(["comparison", "patch"])
    assert set(table.index) == {(name, patch) for name in ("reversed", "same end") for patch in (16, 8, 4)}
    for patch in (16, 8, 4):
        assert table.loc[("reversed", patch), "difference"] == pytest.approx(0.1, abs=1e-3)
        assert table.loc[("reversed", patch), "verdict"] == "large first is better"
        assert table.loc[("same end", patch), "verdict"] == "no difference"
    assert table.loc[("reversed", 4), ["small_first", "large_first"]].tolist() == [SMALL_FIRST, LARGE_FIRST]
    one_seed = directions.directions(losses[losses["seed"] == 0])
    assert set(one_seed["verdict"]) == {"untested"}


@pytest.mark.parametrize(
    ("order", "alike"),
    [
        ("16@0.3,8@0.6,4@1", True),
        ("16..8..4", False),
        ("16,8,4", False),
        ("16:3,8:3,4:4", False),
        ("4 px alone", False),
        ("4 x 16@0.3,8@0.6,4@1", False),
        ("16@0.3,8@0.6,4@1, equal tokens", False),
        ("image 16@0.5,32@1", False),
        ("8@0.5,4@1, image 16@0.5,32@1", False),
    ],
)
def test_only_patch_sizes_one_after_another_have_a_direction(order, alike):
    assert bool(directions.ONCE.fullmatch(order)) is alike


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ((0.021, 0.1), "large first is better"),
        ((-0.1, -0.021), "small first is better"),
        ((-0.019, 0.019), "no difference"),
        ((-0.1, 0.1), "undecided"),
        ((float("nan"),) * 2, "untested"),
    ],
)
def test_a_verdict_is_by_the_interval_and_the_margin(ends, verdict):
    assert directions.verdict(*ends) == verdict


def test_losses_are_those_at_the_patch_that_the_study_is_about(study):
    runs, planned = study
    curves = patch_order.order_curves(runs.frame, planned)
    finer = curves[curves["order"] == "2@0.5,4@1"]
    assert finer["test_loss"].to_numpy() == pytest.approx([0.501, 0.511, 0.521], abs=1e-3)  # not at 2 px
    by_images = patch_order.comparisons(curves, patch_order.IMAGES)
    assert set(by_images["cost"]) == {"images"}
    assert by_images.set_index("order").loc[SMALL_FIRST, "change"] == pytest.approx(0.1 / 0.5, abs=0.02)


def test_every_order_has_its_losses_at_every_patch(study):
    table = order_by_patch.losses_by_patch(study[0].frame, study[1])
    shown = order_by_patch.printed_by_patch(table).set_index("schedule")
    assert list(shown.columns) == ["images", *(f"{patch} px [nats]" for patch in (16, 8, 4, 2))]
    assert shown.loc[SMALL_FIRST, "8 px [nats]"].startswith("0.710\n± 0.01")
    assert shown.loc[SMALL_FIRST, "2 px [nats]"] == ""  # where it was not evaluated


def test_changes_of_shape_are_a_row_each_and_their_table_a_row_per_schedule(study):
    table = changes.changes(study[0].frame, study[1])
    assert table["change"].tolist() == ["16 px of 16 to 8 px of 16"] * 3
    shown = changes.printed_changes(table)
    assert shown.loc[0, ["gap [nats]", "spike [nats]", "steps"]].tolist() == ["0.500 ± 0.000", "0.100 ± 0.100", ">32"]
    assert changes.printed_changes(table[table["seed"] < 2]).loc[0, "steps"] == "2"


def test_clipped_steps_are_shown_of_a_run_and_of_its_phases(study):
    table = training_steps.training_steps(study[0].frame, study[1])
    assert (table["phase"] == training_steps.WHOLE).sum() == 3 * len(RUNS)
    shown = training_steps.printed_training_steps(table).set_index("schedule")
    columns = ["clipped steps [%]", "by phase [%]", "spikes a run"]
    assert shown.loc[LARGE_FIRST, columns].tolist() == ["10.0 ± 0.0", "31", "0.50"]
    assert shown.loc[SMALL_FIRST, "by phase [%]"] == "-"


def test_the_report_fits_a_terminal_and_has_a_table_for_each_question(study, tmp_path, capsys):
    paths = report(*study[:1], "shapes.curricula", study[1], tmp_path / "analysis")
    said = capsys.readouterr().out.replace(str(tmp_path), "")
    assert max(map(len, said.splitlines())) <= 80, max(said.splitlines(), key=len)
    names = {path.name.removeprefix("shapes_curricula").removesuffix(".csv") for path in paths}
    assert {"", "_by_patch", "_compared", "_equal_images", "_directions", "_changes", "_steps"} <= names
    assert "large first is better" in " ".join(said.split())
