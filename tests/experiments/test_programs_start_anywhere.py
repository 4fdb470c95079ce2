"""The programs run from any folder, and only with the code beside them."""

import importlib
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPTS = dict(re.findall(r'^(patch-\w+) = "([\w.]+:\w+)"$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE))


def python(*words, cwd, **environment):
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    "program", ["experiments/run.py", "experiments/sweep.py", "experiments/plan.py", "experiments/benchmark.py"]
)
def test_a_program_starts_in_any_folder(program, tmp_path):
    done = python(ROOT / program, "--help", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not done.stderr


def test_a_program_does_not_run_with_the_code_of_another_checkout(tmp_path):
    """As in a git worktree, in an environment into which the first checkout is installed."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "scaling").mkdir()
    shutil.copy(ROOT / "experiments" / "run.py", tmp_path / "experiments")
    done = python(tmp_path / "experiments" / "run.py", "--help", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 2
    assert not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path / 'experiments' / 'run.py'} would run the code of {ROOT}")
    assert f"PYTHONPATH={tmp_path}" in line


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_console_script_is_the_program(name, capsys, monkeypatch):
    module, function = SCRIPTS[name].split(":")
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        getattr(importlib.import_module(module), function)()
    assert not ended.value.code
    assert capsys.readouterr().out


def test_there_is_a_console_script_for_each_program():
    assert SCRIPTS.keys() >= {"patch-run", "patch-sweep", "patch-plan", "patch-bench", "patch-laws"}
