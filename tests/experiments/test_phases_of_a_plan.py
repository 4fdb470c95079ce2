"""A plan of a run with a schedule has its phases: their FLOPs and hours are those of the run, and each has the memory
and the micro-batch of its own steps."""

import pytest

from experiments import plan
from experiments.cli.resolve import resolve
from experiments.planning import cost_estimate, phase_report
from experiments.planning.phase_costs import fit, phase_forecasts
from scaling import costs
from scaling.config.edit import edit
from scaling.costs.hardware import CARDS

A100 = cost_estimate.Device(CARDS["a100"], cards=8)
ONE = A100._replace(cards=1)
SCHEDULES = {
    "patch": {"patch_embed": "flexible", "patch_schedule": "32@0.5,16@0.25,8@0.25"},
    "tokens": {"patch_embed": "flexible", "patch_schedule": "32@0.5,16@0.25,8@0.25", "batch_in": "tokens"},
    "ramp, in FLOPs": {"patch_embed": "flexible", "patch_schedule": "32..16..8", "progress_in": "flops"},
    "image": {"image_schedule": "128@0.3,192@0.4,224@0.3"},
    "crop": {"crop_schedule": "0.5@0.5,1@0.5", "cycles": 2},
}


@pytest.fixture
def base():
    (run,) = resolve("imagenet.deit_base", 8, {})
    return edit(run, img_size=224, patch_size=8, epochs=10)


@pytest.mark.parametrize("name", SCHEDULES)
def test_phases_have_the_flops_and_the_hours_of_the_run(base, name):
    run = edit(base, **SCHEDULES[name])
    found, steps = cost_estimate.forecast(run, A100), costs.IMAGENET_IMAGES // 1024 * 10
    phases = phase_forecasts(run, A100, steps, 1.0)
    assert sum(its.phase.steps for its in phases) == steps
    images = steps * run.optim.global_batch_size
    assert sum(its.phase.flops for its in phases) == pytest.approx(costs.recipe_step_flops(run) * images, rel=1e-3)
    trained = found.epoch_hours * images / costs.IMAGENET_IMAGES
    assert sum(its.hours for its in phases) == pytest.approx(trained, rel=1e-3)
    assert trained < found.hours


def test_a_phase_has_the_memory_and_the_micro_batch_of_its_own_steps(base):
    run = edit(base, **SCHEDULES["patch"])
    coarse, middle, fine = phase_forecasts(run, ONE, 1000, 1.0)
    alone = [fit(edit(base, patch_size=patch), ONE) for patch in (32, 16, 8)]
    assert [its.micro_batch_size for its in (coarse, middle, fine)] == [its.micro_batch_size for its in alone]
    assert coarse.micro_batch_size > fine.micro_batch_size
    assert fine.peak_bytes == pytest.approx(alone[2].peak_bytes, rel=0.01)  # a larger kernel
    assert cost_estimate.forecast(run, ONE).micro_batch_size == fine.micro_batch_size


def test_the_plan_prints_them_within_80_columns_and_of_other_runs_none(capsys, tmp_path):
    words = ["shapes.deit_nano", "--patch", "2", "--results", str(tmp_path)]
    schedule = ["--patch-embed", "flexible", "--patch-schedule", "16@0.5,4@0.25,2@0.25", "--batch-in", "tokens"]
    assert plan.main([*words, *schedule]) == 0
    text = capsys.readouterr().out
    (header,) = [line for line in text.splitlines() if line.startswith("--patch phase")]
    assert header.split()[2:6] == ["steps", "patches", "image", "images"]
    rows = [line.split() for line in text.splitlines() if line.split()[:1] == ["2"] and len(line.split()) == 10]
    assert [(row[3], row[5]) for row in rows if row[1] in "123"] == [("16", "2,048"), ("4", "128"), ("2", "32")]
    assert max(map(len, text.replace(str(tmp_path), "results").splitlines())) <= 80
    assert plan.main(words) == 0
    assert phase_report.NOTE[:7] not in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
