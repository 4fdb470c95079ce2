"""A launcher of another kind, from this file: runs one after the other in the sweep's own process, newest first."""

from dataclasses import replace

import pytest

from experiments import sweep
from experiments.launch.launcher import Job, submit_all
from experiments.launch.outcome import Outcome, recorded
from experiments.launch.registry import LAUNCHERS
from experiments.launch.worker import run_quietly
from experiments.stages import linked
from scaling.config.edit import edit
from scaling.errors import ConfigError
from scaling.runs.events import Event
from scaling.runs.record import RunRecord
from scaling.runs.run_folder import State, hold, state
from tests.toy_task import toy_recipe, toy_runs


class OneByOne:
    """begun: run_ids in the order in which they were trained."""

    outlives = False
    begun: list[str] = []  # noqa: RUF012  of the one instance that a test makes

    def __init__(self, parallel, watch):
        self.watch, self.jobs, self.outcomes = watch, [], {}

    def submit(self, job, after=()):
        self.jobs.append((job, tuple(after)))
        return len(self.jobs) - 1

    def outcome(self, handle):
        return self.outcomes.get(handle)

    def cancel(self, handle):
        self.outcomes[handle] = Outcome(130, "not begun")

    def wait(self, seconds):
        for handle, (job, after) in reversed(list(enumerate(self.jobs))):
            if handle not in self.outcomes and all(before in self.outcomes for before in after):
                self.outcomes[handle] = recorded(job.results / job.run.run_id) or self._train(job)
                return

    def _train(self, job):
        self.begun.append(job.run.run_id)
        self.watch(job, Event("begin"))
        return run_quietly(job.run, job.results, job.settings, lambda event: self.watch(job, event))


@pytest.fixture
def toy(monkeypatch):
    """OneByOne is a launcher, and task classify is a toy."""
    OneByOne.begun = []
    with monkeypatch.context() as patch, toy_runs():
        patch.setitem(LAUNCHERS, "one-by-one", OneByOne)
        yield
    assert set(LAUNCHERS) == {"local", "slurm"}


SMALL = [
    "--image",
    "1",
    "--num-classes",
    "2",
    "--epochs",
    "1",
    "--batch",
    "4",
    "--train-images",
    "8",
    "--test-images",
    "2",
]
WORDS = ["shapes.deit_nano", "--patch", "1", "--seeds", "0,1,2", *SMALL, "--warmup-epochs", "0", "--accelerator", "cpu"]


def test_a_sweep_is_run_by_a_launcher_that_is_added_from_a_test(toy, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("experiments.sweep.report", lambda *_: None)  # laws of one patch
    words = [*WORDS, "--launcher", "one-by-one", "--results", str(tmp_path)]
    assert sweep.main(words) == 0
    printed = capsys.readouterr().out
    runs, _ = sweep.arguments(words)
    assert OneByOne.begun == [run.run_id for run in reversed(runs)]
    assert all(RunRecord.load(tmp_path / run.run_id).status == "finished" for run in runs)
    assert printed.count("ok   deit_nano p1") == 3
    assert "sweep: 2 of 3 runs" in printed
    assert sweep.main(words) == 0
    assert len(OneByOne.begun) == 3
    assert capsys.readouterr().out.count("have deit_nano p1") == 3


def test_a_launcher_that_there_is_not_is_refused_with_the_names(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown launcher 'slurmm'; .*local"):
        sweep.main([*WORDS, "--launcher", "slurmm", "--results", str(tmp_path / "r")])
    assert not (tmp_path / "r").exists()


def test_a_stage_is_submitted_after_the_one_that_it_starts_from(toy, tmp_path):
    first, second = linked(
        [toy_recipe(epochs=1, steps_per_epoch=1, eval_every=0, stage=name) for name in ("pretrain", "finetune")]
    )
    launcher = OneByOne(1, lambda job, event: None)
    handles = submit_all(launcher, [Job(run, tmp_path, {}) for run in (second, first, edit(first, seed=1))])
    assert [(job.run.stage or "", job.run.seed, after) for job, after in launcher.jobs] == [
        ("pretrain", 0, ()),
        ("finetune", 0, (0,)),
        ("pretrain", 1, ()),
    ]
    assert handles == {second.run_id: 1, first.run_id: 0, edit(first, seed=1).run_id: 2}


def test_the_state_of_a_run_is_that_of_its_folder(toy, tmp_path):
    from tests.toy_task import run

    config = toy_recipe(epochs=2, steps_per_epoch=2, eval_every=0)
    folder = tmp_path / config.run_id
    assert state(folder) is State.NOT_BEGUN
    run(config, tmp_path, cut=1)
    assert state(folder) is State.INTERRUPTED
    with hold(folder):
        assert state(folder) is State.RUNNING
    assert state(folder) is State.INTERRUPTED
    run(config, tmp_path)
    assert state(folder) is State.FINISHED
    replace(RunRecord.load(folder), status="failed", test_loss=None, metrics={}, evaluations=[]).save(folder)
    assert state(folder) is State.FAILED
    (folder / "record.json").write_text("{")
    assert state(folder) is State.INTERRUPTED
