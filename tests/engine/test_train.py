import shutil
import signal
from dataclasses import replace

import pytest
import torch

from scaling.config.edit import edit
from scaling.config.runtime import RuntimeConfig
from scaling.engine.train import train
from scaling.engine.trainer import hush, useful_threads
from scaling.errors import RunLockedError as HeldElsewhere
from scaling.errors import TrainingInterrupted
from scaling.runs.config_file import read_config
from scaling.runs.record import CHECKPOINT, RunRecord
from scaling.runs.run_folder import hold
from tests.conftest import TINY
from tests.instrument_names import without_instruments

GROUPS = ("", "_embedding", "_positions", "_block_1", "_block_2", "_block_3", "_head", "_other")
INSTRUMENTS = [f"{name}{group}" for name in ("grad_norm", "grad_norm_var") for group in GROUPS] + [
    *("clipped_steps", "grad_signal", "grad_noise", "noise_scale", "update_ratio", "embedding_rms", "loss_spikes")
]
CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0)


def weights(results, config):
    state = torch.load(results / config.run_id / CHECKPOINT, weights_only=True)
    assert state["global_step"] == 12
    return state["state_dict"], state["optimizer_states"]


def at_step(step, act):
    """A report that calls act() once, at the first event from `step` on."""
    done = []

    def report(event):
        if event.kind == "train" and event.progress.step >= step and not done:
            done.append(1)
            act()

    return report


def assert_equal_state(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


hush()


@pytest.fixture
def every_step(monkeypatch):
    """Every step is reported, so that a run can be cut at any of them."""
    monkeypatch.setattr("scaling.engine.callbacks.step.REPORT_SECONDS", 0.0)


@pytest.fixture
def whole(trained, tiny):
    """The results folder of tiny, trained in one go."""
    return trained(tiny)


@pytest.fixture
def copied(whole, tmp_path):
    """A copy of it to do anything with."""
    return shutil.copytree(whole, tmp_path / "copy")


def curve(results, config):
    """Rows without their seconds."""
    return [row.split(",")[:5] for row in (results / config.run_id / "curve.csv").read_text().splitlines()]


def test_a_run_leaves_its_record_its_curve_and_its_checkpoint(tmp_path, tiny):
    record = train(tiny, tmp_path, CPU)
    folder = tmp_path / tiny.run_id
    assert RunRecord.load(folder) == record
    assert record.status == "finished"
    assert 0.8 < record.test_loss < 1.6
    assert without_instruments(record.metrics).keys() == {"top1", "top5", "train_loss"}
    assert record.tokens == 4
    assert (record.machine["devices"], record.machine["micro_batch"]) == (1, tiny.optim.global_batch_size)
    assert record.images_per_second > 0
    assert record.wall_time > 0
    assert {"torch", "lightning", "timm"} <= record.versions.keys()
    rows = (folder / "curve.csv").read_text().splitlines()
    first = "step,epoch,lr,train_loss,test_loss,seconds,test_images,test_loss_se,top1"
    assert rows[0] == ",".join([first, *INSTRUMENTS])
    assert len(rows) == 1 + 12 + 1
    assert float(rows[-1].split(",")[4]) == record.test_loss
    assert read_config(folder / "config.json") == tiny


def test_the_same_recipe_gives_the_same_run(tmp_path, tiny, whole):
    again = train(tiny, tmp_path, CPU)
    assert again.test_loss == RunRecord.load(whole / tiny.run_id).test_loss
    assert_equal_state(weights(tmp_path, tiny)[0], weights(whole, tiny)[0])
    assert curve(tmp_path, tiny) == curve(whole, tiny)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_steps_do_not_look_for_a_gpu_by_loading_a_library(tmp_path, tiny, monkeypatch):
    """torch's optimizers ask at every step whether there is one; 12 steps, and some questions before them."""
    asked = []
    monkeypatch.setattr(torch.cuda, "_device_count_nvml", lambda: asked.append(1) or 0)
    train(tiny, tmp_path, CPU)
    assert len(asked) < 12


def test_another_seed_gives_another_run(tmp_path, tiny, whole):
    other = train(edit(tiny, seed=1), tmp_path, CPU)
    assert other.test_loss != RunRecord.load(whole / tiny.run_id).test_loss


def test_a_row_of_the_curve_is_the_mean_of_the_steps_since_the_row_before(tmp_path, tiny, whole, monkeypatch):
    monkeypatch.setattr(
        "scaling.engine.callbacks.curve_logger.CURVE_ROWS", 4
    )  # a row every third step, and at the ends of epochs
    train(tiny, tmp_path / "coarse", CPU)
    fine, coarse = (
        {int(row[0]): row[3] for row in curve(results, tiny)[1:] if row[3]} for results in (whole, tmp_path / "coarse")
    )
    assert list(coarse) == [3, 4, 6, 8, 9, 12]
    assert float(coarse[3]) == pytest.approx(sum(float(fine[step]) for step in (1, 2, 3)) / 3, rel=1e-6)
    assert float(coarse[12]) == pytest.approx(sum(float(fine[step]) for step in (10, 11, 12)) / 3, rel=1e-6)


def test_the_test_loss_is_the_mean_over_images_not_over_batches(tiny, whole):
    """40 test images in batches of 16, 16 and 8: a mean of batch means would weigh the last eight double."""
    record = RunRecord.load(whole / tiny.run_id)
    other = edit(tiny, global_batch_size=16)
    from scaling.data.datamodule import ImageDataModule
    from scaling.tasks.classification import ClassificationTask

    data = ImageDataModule(other)
    data.setup()
    module = ClassificationTask(other, data.total_steps).eval()
    module.load_state_dict(weights(whole, tiny)[0])
    with torch.no_grad():
        logits = module(data.test_set.image_NCHW).double()
    loss = torch.nn.functional.cross_entropy(logits, data.test_set.label_N).item()
    assert abs(loss - record.test_loss) < 1e-5
    top1 = (logits.argmax(1) == data.test_set.label_N).sum().item()
    assert abs(top1 - record.metrics["top1"] * 40 / 100) < 1.01  # two classes of an image may be a tie


@pytest.mark.parametrize("step", [1, 3, 4, 7, 11])
def test_a_stopped_run_resumes_to_the_same_bits(tmp_path, tiny, whole, every_step, step):
    """Ctrl-C in the middle of an epoch, at its end, and before the last step; drop path is on."""
    state, optimiser = weights(whole, tiny)
    cut = at_step(step, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(TrainingInterrupted):
        train(tiny, tmp_path / "cut", CPU, cut)
    assert not (tmp_path / "cut" / tiny.run_id / "record.json").exists()
    resumed = train(tiny, tmp_path / "cut", CPU)
    again, its_optimiser = weights(tmp_path / "cut", tiny)
    assert_equal_state(again, state)
    for i, values in optimiser[0]["state"].items():
        assert_equal_state(values, its_optimiser[0]["state"][i])
    assert resumed.test_loss == RunRecord.load(whole / tiny.run_id).test_loss
    assert curve(tmp_path / "cut", tiny) == curve(whole, tiny)


def test_adventurer_on_two_threads_resumes_to_the_same_bits_too(tmp_path, tiny, every_step):
    config, two = edit(tiny, backbone="adventurer_nano", patch_size=2), replace(CPU, threads=2)
    whole = train(config, tmp_path / "whole", two)
    with pytest.raises(TrainingInterrupted):
        train(config, tmp_path / "cut", two, at_step(6, lambda: signal.raise_signal(signal.SIGINT)))
    assert train(config, tmp_path / "cut", two).test_loss == whole.test_loss
    assert_equal_state(*(weights(tmp_path / where, config)[0] for where in ("whole", "cut")))


@pytest.mark.parametrize("minutes", [0.0, 10.0])
def test_a_run_that_dies_resumes_from_its_last_checkpoint_to_the_same_bits(tmp_path, tiny, whole, every_step, minutes):
    """Dies without a chance to save: goes on from the last step (0 minutes) or the last end of an epoch."""

    def die():
        raise MemoryError("simulated")

    settings = replace(CPU, checkpoint_minutes=minutes)
    with pytest.raises(MemoryError):
        train(tiny, tmp_path / "cut", settings, at_step(7, die))
    begun = []
    train(tiny, tmp_path / "cut", settings, lambda e: begun.append(e.progress.step) if e.kind == "train" else None)
    assert begun[0] == (6 if minutes == 0 else 4)
    assert_equal_state(weights(tmp_path / "cut", tiny)[0], weights(whole, tiny)[0])
    assert curve(tmp_path / "cut", tiny) == curve(whole, tiny)


@pytest.mark.parametrize("step", [4, 6, 8])
def test_evaluation_on_the_way_changes_no_weight_and_resumes_too(tmp_path, tiny, trained, every_step, step):
    watched = edit(tiny, val_interval=1)
    seen = trained(watched)
    assert_equal_state(weights(trained(tiny), tiny)[0], weights(seen, watched)[0])
    with pytest.raises(TrainingInterrupted):
        train(watched, tmp_path / "cut", CPU, at_step(step, lambda: signal.raise_signal(signal.SIGTERM)))
    train(watched, tmp_path / "cut", CPU)
    assert_equal_state(weights(seen, watched)[0], weights(tmp_path / "cut", watched)[0])
    assert [row[0] for row in curve(seen, watched)[1:] if row[4]] == ["4", "8", "12"]
    assert curve(tmp_path / "cut", watched) == curve(seen, watched)


def test_a_run_cut_during_its_last_evaluation_is_only_evaluated(tmp_path, tiny, whole, every_step):
    def die(event):
        if event.kind == "evaluate":
            raise MemoryError("simulated")

    with pytest.raises(MemoryError):
        train(tiny, tmp_path / "cut", CPU, die)
    steps = []
    record = train(tiny, tmp_path / "cut", CPU, lambda e: steps.append(e.progress.step) if e.kind == "train" else None)
    assert set(steps) <= {12}
    assert record.test_loss == RunRecord.load(whole / tiny.run_id).test_loss


def test_a_finished_run_is_returned_and_not_trained_again(tiny, copied):
    said = []
    assert train(tiny, copied, CPU, said.append) == RunRecord.load(copied / tiny.run_id)
    assert not said


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory):
    """The results folder of tiny, stopped after some of its steps."""
    results = tmp_path_factory.mktemp("cut")
    with pytest.raises(TrainingInterrupted):
        train(TINY, results, CPU, at_step(1, lambda: signal.raise_signal(signal.SIGINT)))
    return results


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\x80\x04cos\nsystem\n(S'false'\ntR."]
)
def test_a_damaged_checkpoint_is_said_and_the_run_starts_anew(tmp_path, tiny, whole, cut_off, damage):
    results = shutil.copytree(cut_off, tmp_path / "cut")
    path = results / tiny.run_id / CHECKPOINT
    path.write_bytes(damage(path.read_bytes()))
    said = []
    train(tiny, results, CPU, said.append)
    assert any(e.kind == "note" and "cannot be used" in e.text for e in said)
    assert_equal_state(weights(results, tiny)[0], weights(whole, tiny)[0])


def test_a_checkpoint_with_code_in_it_runs_none_of_it(tmp_path, tiny):
    """torch.load without weights_only would call what the pickle names."""
    import pickle

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    folder = tmp_path / tiny.run_id
    folder.mkdir()
    torch.save({"run_id": tiny.run_id, "x": Trap()}, folder / CHECKPOINT, pickle_module=pickle)
    train(tiny, tmp_path, CPU)
    assert not (tmp_path / "sprung").exists()


def test_a_damaged_record_is_done_again(tiny, copied):
    path = copied / tiny.run_id / "record.json"
    path.write_text(path.read_text()[:100])
    assert train(tiny, copied, CPU).status == "finished"
    assert RunRecord.load(path.parent).status == "finished"


def test_a_loss_that_is_not_finite_ends_the_run_as_failed_at_that_step(tmp_path, tiny, every_step):
    wild = edit(tiny, lr=1e30, max_grad_norm=None, warmup_epochs=0.0)
    record = train(wild, tmp_path, CPU)
    assert record.status == "failed"
    assert record.test_loss is None
    rows = (tmp_path / wild.run_id / "curve.csv").read_text().splitlines()
    assert record.failure["step"] == len(rows)  # the header, and a row for each step before
    assert record.failure["lr"] > 1e29
    assert RunRecord.load(tmp_path / wild.run_id) == record


def test_a_folder_that_is_held_is_left_alone(tmp_path, tiny):
    folder = tmp_path / tiny.run_id
    folder.mkdir(parents=True)
    with hold(folder), pytest.raises(HeldElsewhere):
        train(tiny, tmp_path, CPU)
    assert not (folder / "record.json").exists()
    assert train(tiny, tmp_path, CPU).status == "finished"


def test_the_callers_signals_are_as_they_were(tmp_path, tiny):
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    train(tiny, tmp_path, CPU)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_small_steps_take_one_thread_and_large_ones_all_cores(tiny, monkeypatch):
    monkeypatch.setattr("scaling.engine.trainer.usable_cores", lambda: 8)
    assert useful_threads(edit(tiny, patch_size=16)) == 1
    assert useful_threads(edit(tiny, patch_size=1, global_batch_size=64)) == 8
    assert 1 < useful_threads(edit(tiny, patch_size=2, global_batch_size=32)) < 8


def test_seeding_a_step_queues_nothing_for_devices_that_are_not_there(tmp_path, tiny, whole):
    if torch.cuda.is_available():
        pytest.skip("CUDA is initialised: nothing is queued")
    queued = len(torch.cuda._queued_calls)  # after the first run of this process
    train(edit(tiny, seed=1), tmp_path, CPU)
    assert len(torch.cuda._queued_calls) == queued
