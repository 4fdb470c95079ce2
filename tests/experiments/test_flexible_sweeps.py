"""A recipe that draws its patches: one run per seed in a sweep, mean FLOPs in its plan, bad lists refused in a line."""

import pytest

from experiments import plan, run, sweep
from experiments.cli.resolve import recipes
from experiments.launch.progress_display import told_apart
from scaling import costs
from scaling.config.at_shape import evaluated_patches
from scaling.config.edit import edit

NAMES = "shapes.flexi_deit_nano,shapes.flexi_adventurer_nano"
DENSE = [("shapes.flexi_seg_nano", 2, [16, 8, 4, 2]), ("shapes.flexi_det_nano", 4, [16, 8, 4])]


@pytest.mark.parametrize(
    ("name", "patch", "drawn"),
    [*((name, 1, [16, 8, 4, 2, 1]) for name in NAMES.split(",")), *DENSE],
)
def test_a_flexible_recipe_is_the_fixed_one_with_one_set_of_weights(name, patch, drawn):
    flexible, fixed = (recipes()[each](patch) for each in (name, name.replace("flexi_", "")))
    assert edit(flexible, step_shapes="fixed", patch_embed="conv") == fixed
    assert sorted(evaluated_patches(flexible), reverse=True) == drawn
    # The head of detection costs the same at every patch size, and most of all.
    most = {"classify": 0.3, "segment": 0.4, "detect": 1.0}[fixed.task.kind]
    assert costs.recipe_step_flops(flexible) < most * costs.recipe_step_flops(fixed)
    assert f"python experiments/run.py {name} --patch {patch}" in recipes()[name].__doc__


def test_a_sweep_has_one_flexible_run_per_seed_whose_finest_patch_is_the_smallest():
    runs, _ = sweep.arguments([f"shapes.deit_nano,{NAMES}", "--patch", "16,8,2", "--seeds", "0,1"])
    flexible = [one for one in runs if one.model.any_patch]
    assert len(runs) == 2 * 3 + 2 * 2
    assert [(one.model.patch_size, one.seed) for one in flexible] == [(2, 0), (2, 0), (2, 1), (2, 1)]
    names = told_apart(runs)
    assert names[flexible[0].run_id] == "deit_nano p2 s0 flexible"
    assert len(set(names.values())) == len(runs)
    runs, _ = sweep.arguments([NAMES, "--patch", "8,2", "--patch-schedule", "16..2", "--progress-in", "flops"])
    assert list(told_apart(runs).values()) == ["deit_nano p2 s0 16..2", "adventurer_nano p2 s0 16..2"]


def test_a_plan_shows_flexible_runs_in_a_table_of_their_own(capsys):
    assert plan.main([f"shapes.deit_nano,{NAMES}"]) == 0
    shown = capsys.readouterr().out
    assert "deit_nano, shapes, flexible: batch" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--patches", ""], "error: patches '': '' is not a patch size; write 16,8,4 or 16:1,8:2"),
        (["--patches", "5,1"], "error: patch 5 does not divide a 16 px image; nearest that do: 4, 8"),
        (["--patches", "16,2"], "error: patches 16,2 has 2 as its finest, and patch_size is 1"),
        (
            ["--patch-schedule", "16@0.5,1@0.9"],
            "error: patch_schedule '16@0.5,1@0.9' ends at 0.9; the last stretch ends",
        ),
        (["--patch-schedule", "16..2"], "error: patch_schedule 16..2 has 2 as its finest, and patch_size is 1"),
        (["--patch-schedule", "16@0.3,1@0.3"], "error: patch_schedule '16@0.3,1@0.3': 1 px ends at 0.3, which is not"),
        (["--patch-schedule", "16,1", "--image-schedule", "8@0.5,16@0.5"], "error: patch 16 does not divide a 8 px"),
        (
            ["--patch", "2", "--image-schedule", "12@0.5,16@0.5", "--batch-in", "tokens"],
            "error: batch_in tokens: 32 images of 64 tokens are 2048 per step, which images of 36 tokens",
        ),
        (["--patch-embed", "conv"], "error: step_shapes random_patch needs a kernel that is resized"),
        (["--eval-patches", "32"], "error: patch 32 does not divide a 16 px image"),
        (["--compile", "true"], "error: compile is for steps of one shape, and this run has 5"),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_writes_nothing(options, why, tmp_path, capsys):
    with pytest.raises(SystemExit) as e:
        guarded_run(["shapes.flexi_deit_nano", "--patch", "1", "--results", str(tmp_path / "results"), *options])
    assert e.value.code == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith(why)
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "results").exists()


def guarded_run(options):
    from experiments.cli.arguments import guarded

    guarded(lambda: run.main(options))
