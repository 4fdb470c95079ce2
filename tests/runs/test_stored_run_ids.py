"""A run keeps the run_id that is stored in its folder, whatever a later version would compute of its configuration."""

import dataclasses
import json
import signal

import pytest

from analysis.records.run_set import load
from scaling.config import identity
from scaling.config.edit import edit
from scaling.config.runtime import RuntimeConfig
from scaling.engine.train import train
from scaling.errors import TrainingInterrupted
from scaling.runs.config_file import CONFIG
from scaling.runs.identity import folder_of, recorded_id, renamed
from scaling.runs.run_folder import open_run

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, micro_batch_size=8)


@pytest.fixture
def later_version(monkeypatch):
    """Makes a configuration one of a version that computes other run IDs."""
    compute = identity.run_id

    def later(config):
        monkeypatch.setattr(identity, "run_id", lambda config: "v9-" + compute(config))
        return dataclasses.replace(config)

    return later


def test_an_interrupted_run_is_resumed_in_its_folder_and_recorded_under_its_id(tiny, tmp_path, later_version):
    config = edit(tiny, num_train=32, num_val=8, epochs=2)
    steps = []

    def interrupt(event):
        if event.kind == "train" and event.progress.step == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingInterrupted):
        train(config, tmp_path, CPU, interrupt)
    later = later_version(config)
    assert later.run_id == "v9-" + config.run_id
    assert not renamed(later, tmp_path)
    record = train(later, tmp_path, CPU, lambda event: steps.append(event.progress.step if event.progress else 0))
    assert record.run_id == config.run_id
    assert min(step for step in steps if step) >= 2
    assert {folder.name for folder in tmp_path.iterdir() if (folder / CONFIG).is_file()} == {config.run_id}
    assert json.loads((tmp_path / config.run_id / CONFIG).read_text())["run_id"] == config.run_id
    assert recorded_id(later, tmp_path) == config.run_id
    assert train(later, tmp_path, CPU).run_id == config.run_id
    (tmp_path / config.run_id).rename(tmp_path / "mine")
    assert list(load(tmp_path).frame["run_id"]) == [config.run_id]


def test_a_folder_that_the_user_renamed_is_not_taken_for_one_of_an_earlier_version(tiny, tmp_path):
    folder = open_run(tiny, tmp_path)
    folder.rename(tmp_path / "mine")
    assert folder_of(tiny, tmp_path) == folder
