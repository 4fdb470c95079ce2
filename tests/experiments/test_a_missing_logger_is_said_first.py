"""A logger whose package is not installed is refused by the command line itself."""

import importlib.util

import pytest

from experiments import run, sweep
from scaling.errors import ConfigError

find_spec = importlib.util.find_spec


@pytest.mark.parametrize("program", [run, sweep])
def test_a_missing_package_is_said_before_data_are_read_or_a_plan_is_made(program, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "wandb" else find_spec(name))
    monkeypatch.setattr("experiments.sweep.print_plan", None)
    monkeypatch.setattr("experiments.sweep.train_all", None)
    words = ["shapes.deit_nano", "--patch", "16", "--logger", "csv,wandb", "--results", str(tmp_path / "results")]
    with pytest.raises(ConfigError, match="logger wandb needs a package that is not installed: pip install wandb"):
        program.main(words)
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "results").exists()
