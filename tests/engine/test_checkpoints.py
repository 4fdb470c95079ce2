"""A run's checkpoints outlast a power cut, and a damaged one is never resumed from."""

import os
import tempfile
import zipfile

import pytest
import torch

from scaling.engine import checkpoint_files
from scaling.engine.warm_start import restore
from scaling.errors import ConfigError
from scaling.runs import atomic_files
from scaling.runs.record import CHECKPOINT, RECORD, WEIGHTS, RunRecord
from scaling.runs.run_folder import PREVIOUS
from tests.toy_task import Toy, run, toy_recipe, toy_runs

RECIPE = toy_recipe(epochs=6, steps_per_epoch=1, eval_every=0)


@pytest.fixture
def toy():
    with toy_runs() as found:
        yield found


@pytest.fixture
def cut(toy, tmp_path):
    """The folder of a run that was cut after its third step."""
    run(RECIPE, tmp_path, cut=3)
    return tmp_path / RECIPE.run_id


def resumed(folder):
    """Where the run goes on, and the notes that it gives."""
    steps, notes = [], []

    def report(event):
        steps.extend([event.progress.step] if event.kind == "train" else [])
        notes.extend([event.text] if event.kind == "note" else [])

    record = run(RECIPE, folder.parent, report=report)
    assert record.status == "finished"
    return steps[0], notes


def loss_of_one_that_was_not_cut(tmp_path):
    return run(RECIPE, tmp_path / "whole").test_loss


def zeroed(start, length):
    return lambda data: data[:start] + b"\0" * length + data[start + length :]


def tensor_bytes(data):
    """Zeros over the largest tensor in the file."""
    with tempfile.TemporaryFile() as f:
        f.write(data)
        tensors = [member for member in zipfile.ZipFile(f).infolist() if "/data/" in member.filename]
    largest = max(tensors, key=lambda member: member.file_size)
    return zeroed(largest.header_offset + 64, largest.file_size + 64)(data)


DAMAGES = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "tensor bytes zeroed": tensor_bytes,
    "zip header zeroed": zeroed(0, 30),
    "directory zeroed": lambda data: data[:-200] + b"\0" * 200,
    "a pickle": lambda data: b"\x80\x04cos\nsystem\n(S'false'\ntR.",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_set_aside_and_the_one_before_taken(cut, tmp_path, damage):
    last = cut / CHECKPOINT
    last.write_bytes(DAMAGES[damage](last.read_bytes()))
    step, (note,) = resumed(cut)
    assert step == 2
    assert note.startswith(f"checkpoint of {RECIPE.run_id} cannot be used (last.ckpt: ")
    assert note.endswith("resuming from the one before")
    assert "\n" not in note
    assert (cut / "last.damaged").exists()
    assert RunRecord.load(cut).test_loss == loss_of_one_that_was_not_cut(tmp_path)


@pytest.mark.parametrize("held", [{"run_id": RECIPE.run_id}, None], ids=["only a run_id", "another run's"])
def test_a_checkpoint_that_is_not_the_runs_own_is_not_taken(cut, tmp_path, held):
    if held is None:
        held = torch.load(cut / CHECKPOINT, weights_only=True) | {"run_id": "another"}
    torch.save(held, cut / CHECKPOINT)
    step, (note,) = resumed(cut)
    assert step == 2
    assert ("it belongs to another" if held["run_id"] == "another" else "it has no state_dict") in note


def test_where_both_are_damaged_the_run_starts_anew_and_says_so_in_one_line(cut, tmp_path):
    for name in (CHECKPOINT, PREVIOUS):
        (cut / name).write_bytes(b"")
    step, (note,) = resumed(cut)
    assert step == 0
    damaged = "last.ckpt: File is not a zip file; previous.ckpt: File is not a zip file"
    assert f"{damaged}); starting from the beginning" in note
    assert RunRecord.load(cut).test_loss == loss_of_one_that_was_not_cut(tmp_path)


def test_a_power_cut_between_the_two_renamings_loses_one_checkpoint_and_no_more(cut, tmp_path):
    os.replace(cut / CHECKPOINT, cut / PREVIOUS)
    assert resumed(cut) == (3, [])


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


def test_zeros_anywhere_in_a_file_are_found_or_change_nothing_that_is_read(tmp_path):
    """The check is the CRC of each member; between members there are bytes that nobody reads."""
    values = {"weights": {"a": torch.arange(1, 400.0), "b": torch.full((50,), 7)}, "step": 3, "name": "x" * 30}
    path = tmp_path / "file.pt"
    torch.save(values, path)
    data = path.read_bytes()
    assert not atomic_files.damage_of(path)
    found = 0
    for start in range(0, len(data), 24):
        path.write_bytes(zeroed(start, min(24, len(data) - start))(data))
        if atomic_files.damage_of(path):
            found += 1
            continue
        try:
            assert same(torch.load(path, weights_only=True), values)
        except RuntimeError:
            found += 1  # torch itself refuses it
    assert found > len(data) // 24 // 2


def calls_of(monkeypatch):
    """What is done to files, in order."""
    done = []

    def watched(what, before, name):
        def call(*arguments, **options):
            done.append((what, name(*arguments)))
            return before(*arguments, **options)

        return call

    opened = lambda handle: os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))  # noqa: E731
    monkeypatch.setattr("os.fsync", watched("fsync", os.fsync, opened))
    monkeypatch.setattr("os.replace", watched("replace", os.replace, lambda a, b: os.path.basename(b)))
    return done


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="names of open files are Linux's")
def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_is_after(tmp_path, monkeypatch):
    (tmp_path / CHECKPOINT).write_bytes(b"old")
    done = calls_of(monkeypatch)
    checkpoint_files.CheckpointFiles().save_checkpoint({"a": 1}, tmp_path / CHECKPOINT)
    temporary = done[0][1]
    assert temporary.startswith(".last.ckpt.")
    assert done == [
        ("fsync", temporary),
        ("replace", PREVIOUS),
        ("replace", CHECKPOINT),
        ("fsync", tmp_path.name),
    ]
    assert (tmp_path / PREVIOUS).read_bytes() == b"old"
    done.clear()
    atomic_files.write_atomically(tmp_path / "record.json", "{}")
    temporary = done[0][1]
    assert temporary.startswith(".record.json.")
    assert done == [("fsync", temporary), ("replace", "record.json"), ("fsync", tmp_path.name)]


def test_all_that_is_written_is_written_in_the_runs_folder(toy, tmp_path, monkeypatch):
    nowhere = tmp_path / "a file, no folder"
    nowhere.touch()
    monkeypatch.setattr(tempfile, "tempdir", str(nowhere))
    assert run(RECIPE, tmp_path).status == "finished"
    names = {path.name for path in (tmp_path / RECIPE.run_id).iterdir()}
    assert names == {
        ".lock", "config.json", RECORD, "curve.csv", CHECKPOINT, PREVIOUS, WEIGHTS, "log.txt"
    }  # fmt: skip


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk is Linux's to imitate")
def test_a_full_disk_is_named_with_the_file_and_nothing_half_written_is_left(tmp_path, monkeypatch):
    """torch makes a RuntimeError of its own of the disk's."""
    temporary = tmp_path / ".last.ckpt.full"
    temporary.symlink_to("/dev/full")
    made = lambda **_: (os.open(temporary, os.O_WRONLY), str(temporary))  # noqa: E731
    monkeypatch.setattr(atomic_files.tempfile, "mkstemp", made)
    with pytest.raises(OSError, match="No space left on device") as caught:
        checkpoint_files.CheckpointFiles().save_checkpoint({"a": torch.zeros(10**6)}, tmp_path / CHECKPOINT)
    assert caught.value.filename == str(tmp_path / CHECKPOINT)
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_names_the_file(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        atomic_files.write_atomically(tmp_path / "curve.csv", "step\n")
    assert caught.value.filename == str(tmp_path / "curve.csv")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_for_which_there_is_no_memory_is_not_called_damaged(cut, monkeypatch):
    def failing(*_, **__):
        raise RuntimeError("unable to mmap 8 bytes from file: Cannot allocate memory (12)")

    monkeypatch.setattr(torch, "load", failing)
    with pytest.raises(RuntimeError, match="allocate memory"):
        checkpoint_files.newest(cut, lambda text: None)
    assert (cut / CHECKPOINT).exists()


def test_what_dead_processes_have_left_is_removed_at_the_next_start(cut):
    left = [
        ".weights.pt.4711",
        ".curve.csv.abc",
        ".record.json.xyz",
        ".last.ckpt.0",
        "last.writing",
        ".weights.pt.writing",
    ]
    for name in left:
        (cut / name).touch()
    resumed(cut)
    assert not [name for name in left if (cut / name).exists()]
    assert (cut / RECORD).exists()


def test_damaged_weights_of_a_finished_run_are_named_in_a_line(toy, tmp_path):
    run(RECIPE, tmp_path)
    path = tmp_path / RECIPE.run_id / WEIGHTS
    path.write_bytes(tensor_bytes(path.read_bytes()))
    with pytest.raises(ConfigError, match=r"weights\.pt is damaged \(.* checksum\); delete .*record\.json") as caught:
        restore(Toy(RECIPE, 6), RECIPE, path.parent)
    assert "\n" not in str(caught.value)
    (tmp_path / RECIPE.run_id / RECORD).unlink()  # as it says
    run(RECIPE, tmp_path)
    assert not atomic_files.damage_of(path)
