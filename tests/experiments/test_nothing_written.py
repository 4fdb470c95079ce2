"""What cannot begin is said in a line, and leaves nothing behind."""

import builtins
from dataclasses import replace

import pytest
import torch

from experiments import run as run_py
from experiments import sweep as sweep_py
from experiments.launch.worker import run_quietly
from scaling.config.edit import edit
from scaling.config.initialization import FromRun
from scaling.config.runtime import RuntimeConfig
from scaling.engine.train import train
from scaling.errors import ConfigError
from scaling.runs.record import RECORD, WEIGHTS

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0)


def refused(config, results, **settings):
    with pytest.raises(ConfigError) as caught:
        train(config, results, replace(CPU, **settings))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_that_cannot_be_read_or_do_not_fit_leave_no_folder(tmp_path, tiny):
    path, results = tmp_path / "bad.pth", tmp_path / "results"
    for held in (b"<html>", b"PK"):
        path.write_bytes(held)
        assert str(path) in refused(edit(tiny, initial_checkpoint=str(path)), results)
    torch.save({"model": {"other": torch.zeros(3)}}, path)
    assert "not weights of a plain ViT" in refused(edit(tiny, initial_checkpoint=str(path)), results)
    assert not results.exists()


def test_devices_that_are_not_there_leave_no_folder(tmp_path, tiny):
    if torch.cuda.is_available():
        pytest.skip("they are there")
    assert "accelerator gpu" in refused(tiny, tmp_path / "results", accelerator="gpu", devices="1")
    assert not (tmp_path / "results").exists()


def test_damaged_weights_of_the_run_that_it_starts_from_leave_no_folder(tmp_path, tiny):
    first = edit(tiny, epochs=1, num_train=16, stage="pretrain")
    train(first, tmp_path, CPU)
    (tmp_path / first.run_id / WEIGHTS).write_bytes(b"")
    second = edit(first, stage="finetune", init=FromRun(config=first))
    said = refused(second, tmp_path)
    assert f"{tmp_path / first.run_id / WEIGHTS} is damaged (File is not a zip file)" in said
    assert RECORD in said
    assert not (tmp_path / second.run_id).exists()


@pytest.mark.parametrize("main", [run_py.main, sweep_py.main], ids=["run", "sweep"])
def test_a_results_folder_whose_name_is_too_long_is_refused(tmp_path, monkeypatch, main):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"results folder a{80}: File name too long; name another: --results"):
        main(["shapes.deit_nano", "--results", "a" * 300])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [ImportError("failed to map segment"), MemoryError(), OSError(12, "no memory")])
def test_a_torch_that_cannot_be_loaded_is_said_in_a_line(tmp_path, tiny, monkeypatch, error):
    real = builtins.__import__

    def failing(name, *rest):
        if name == "scaling.engine.train":
            raise error
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", failing)
    outcome = run_quietly(tiny, tmp_path, {}, lambda event: None)
    assert outcome.status == 1
    assert outcome.text.startswith("torch and lightning cannot be loaded (")
    assert "\n" not in outcome.text
    assert not list(tmp_path.iterdir())
