"""--vary: a sweep over values of any field."""

import pytest

from experiments import plan, sweep
from experiments.launch.progress_display import told_apart
from scaling.errors import ConfigError

SWEEP = ["shapes.deit_nano", "--patch", "8,4"]


def runs(*words):
    return sweep.arguments([*SWEEP, *words])[0]


def test_every_value_is_trained_at_every_patch_and_is_a_group():
    found = runs("--vary", "lr=1e-3,2e-3", "--seeds", "0,1")
    assert len(found) == 2 * 2 * 2
    groups = {(run.optim.lr, run.group) for run in found}
    assert len(groups) == 2 == len({group for _, group in groups})
    assert found[0] == runs("--lr", "1e-3")[0]  # the run is that of the option


def test_several_fields_give_every_combination():
    found = runs("--vary", "lr=1e-3,2e-3", "--vary", "head=linear,avg", "--vary", "warmup-epochs=0,0.1")
    assert len({(run.optim.lr, run.task.head.kind, run.schedule.warmup_epochs) for run in found}) == 8
    assert len(found) == 16


def test_runs_are_named_by_what_is_varied():
    names = set(told_apart(runs("--vary", "lr=1e-3,2e-3")).values())
    assert names == {f"deit_nano p{p} s0 lr {lr}" for p in (8, 4) for lr in (0.001, 0.002)}


def test_a_field_of_a_file_is_varied_and_a_plan_takes_it_too(tmp_path):
    (tmp_path / "c.yaml").write_text("recipe: shapes.deit_nano\nvary: optim.weight_decay=0.05,0.3\npatch: 8\n")
    found, _ = plan.arguments(["--config", str(tmp_path / "c.yaml")])
    assert [run.optim.weight_decay for run in found] == [0.05, 0.3]


def test_equal_values_are_one_run():
    assert len(runs("--vary", "lr=1e-3,0.001,1e-3")) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("lrr=1,2", "unknown option lrr; did you mean --lr?"),
        ("lr", "--vary lr is not FIELD=VALUE,VALUE, as lr=1e-3,2e-3"),
        ("lr=", "is not FIELD=VALUE,VALUE"),
        ("lr=a,b", "--lr a is not a number"),
        ("lr=-1,1", "lr -1.0 must be"),
        ("patch=8,4", "a sweep has an option for it, --patch-size 8,4"),
        ("seed=0,1", "a sweep has an option for it, --seeds 0,1"),
        ("threads=1,2", "threads is of the machine, and changes no results"),
        ("milestones=1,2", "milestones has one value per sweep"),
        ("recipes=a.py,b.py", "recipes has one value per sweep"),
        ("lr=1e-3 --lr 1e-3", "lr is set twice"),
        ("lr=1e-3 --vary lr=2e-3", "lr is set twice"),
        ("max_long=8", "max_long is not an option of the task classify"),
    ],
)
def test_what_cannot_be_varied_is_a_line(words, said):
    with pytest.raises(ConfigError) as caught:
        runs("--vary", *words.split())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_study_is_not_varied():
    with pytest.raises(ConfigError, match=r"the study shapes\.table5 varies fields of its own"):
        sweep.arguments(["shapes.table5", "--vary", "lr=1,2"])
