"""Signals stop a run with a checkpoint, under SLURM too; and the run's folder alone says what is resumed."""

import os
import shutil
import signal
import threading

import pytest
import torch

from scaling.engine.trainer import hush
from scaling.errors import TrainingInterrupted
from scaling.runs import stop_signals as signals
from scaling.runs.record import CHECKPOINT, LOG, WEIGHTS
from scaling.runs.stop_signals import SIGNALS
from tests.toy_task import run, toy_recipe, toy_runs

RECIPE = toy_recipe(epochs=2, steps_per_epoch=3, eval_every=1)
SLURM = {
    "SLURM_JOB_ID": "1", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
    "SLURM_JOB_NAME": "x", "SLURM_NODELIST": "localhost", "SLURM_JOB_NODELIST": "localhost",
    "SLURM_NTASKS_PER_NODE": "1",
}  # fmt: skip


@pytest.fixture
def toy():
    with toy_runs() as found:
        yield found


@pytest.fixture
def slurm(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def no_nohup():
    """SIGHUP as a terminal has it: a suite that runs under nohup begins with it ignored, and so it stays in a run."""
    if not hasattr(signal, "SIGHUP"):  # Windows
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def left(results):
    return torch.load(results / RECIPE.run_id / WEIGHTS, weights_only=True)["model"]["head.weight"]


@pytest.mark.parametrize("wanted", SIGNALS, ids=lambda wanted: wanted.name)
@pytest.mark.parametrize("step", [2, 3])
def test_every_signal_stops_a_run_with_a_checkpoint_and_leaves_handlers_as_they_were(toy, tmp_path, wanted, step):
    before = {one: signal.signal(one, lambda *_: None) for one in SIGNALS}
    try:
        mine = {one: signal.getsignal(one) for one in SIGNALS}
        assert run(RECIPE, tmp_path, cut=step, by=wanted) is None
        assert {one: signal.getsignal(one) for one in SIGNALS} == mine
        held = torch.load(tmp_path / RECIPE.run_id / CHECKPOINT, weights_only=True)
        assert held["global_step"] == step
        assert run(RECIPE, tmp_path) is not None
        assert {one: signal.getsignal(one) for one in SIGNALS} == mine
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@pytest.mark.parametrize("wanted", SIGNALS, ids=lambda wanted: wanted.name)
@pytest.mark.parametrize("when", ["open", "evaluate"])
def test_a_signal_before_training_and_after_it_stops_at_once(toy, tmp_path, no_nohup, wanted, when):
    def report(event):
        if event.kind == when:
            signal.raise_signal(wanted)

    assert run(RECIPE, tmp_path, report=report) is None
    steps = []
    assert run(RECIPE, tmp_path, report=lambda e: steps.append(e.progress.step) if e.kind == "train" else None)
    assert steps[:1] == ([0] if when == "open" else [])


@pytest.mark.parametrize("cut", [0, 2])
def test_under_slurm_a_foreign_checkpoint_in_the_working_folder_changes_nothing(toy, tmp_path, monkeypatch, cut):
    other = toy_recipe(epochs=2, steps_per_epoch=3, eval_every=1, seed=6)
    run(other, tmp_path)
    plain = run(RECIPE, tmp_path / "plain")
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    shutil.copy(tmp_path / other.run_id / CHECKPOINT, tmp_path / "hpc_ckpt_1.ckpt")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "slurm" / RECIPE.run_id
    folder.mkdir(parents=True)
    shutil.copy("hpc_ckpt_1.ckpt", folder)  # nor there
    if cut:
        assert run(RECIPE, tmp_path / "slurm", cut=cut) is None
    assert run(RECIPE, tmp_path / "slurm").test_loss == plain.test_loss
    assert torch.equal(left(tmp_path / "slurm"), left(tmp_path / "plain"))


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows")
def test_under_slurm_the_signal_to_requeue_stops_with_the_runs_checkpoint_and_requeues_nothing(
    toy, tmp_path, monkeypatch, slurm
):
    called = []
    monkeypatch.setattr("lightning.pytorch.trainer.connectors.signal_connector.call", called.append)
    monkeypatch.chdir(tmp_path)
    assert run(RECIPE, tmp_path / "results", cut=2, by=signal.SIGUSR1) is None
    assert (tmp_path / "results" / RECIPE.run_id / CHECKPOINT).exists()
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    assert not called
    assert run(RECIPE, tmp_path / "results").status == "finished"


def test_lightnings_hint_about_srun_is_hushed(toy, tmp_path, monkeypatch, recwarn):
    (tmp_path / "srun").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    hush()
    run(RECIPE, tmp_path)
    assert not [warning for warning in recwarn if "srun" in str(warning.message)]


def test_a_line_for_every_epoch_and_evaluation_is_in_the_log(toy, tmp_path):
    run(RECIPE, tmp_path)
    lines = [line[20:] for line in (tmp_path / RECIPE.run_id / LOG).read_text().splitlines()]
    assert [line.split(":")[0] for line in lines] == [
        "epoch 1 of 2, step 3 of 6",
        "epoch 1 of 2, step 3 of 6",
        "epoch 2 of 2, step 6 of 6",
    ]
    assert ["training loss" in line and line.endswith("images/s") for line in lines] == [True, False, True]
    assert "test loss" in lines[1]


def test_a_terminal_that_closes_stops_nothing_under_nohup():
    if not hasattr(signal, "SIGHUP"):
        pytest.skip("Windows")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.at_once():
            signal.raise_signal(signal.SIGHUP)
        with pytest.raises(TrainingInterrupted, match="SIGTERM"), signals.at_once():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_signals_are_left_alone():
    caught = []
    thread = threading.Thread(target=lambda: caught.append(signals.catch(lambda wanted: None)))
    thread.start()
    thread.join()
    assert caught == [{}]
