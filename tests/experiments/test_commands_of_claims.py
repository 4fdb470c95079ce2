"""Commands that would decide a claim exist, unless the claim names the issue that builds them."""

import shlex

import pytest

from analysis import representations
from analysis.claims.ledger import load
from analysis.report.patch_option import patch_sizes
from experiments import benchmark, positions, run, sweep
from tests.conftest import ROOT

ROWS = {row.id: row for row in [*load().studies, *load().claims] if row.command}
READY = {row.command for row in ROWS.values() if not row.issue}


def test_there_are_commands():
    assert len(READY) >= 10


@pytest.mark.parametrize("command", sorted(READY))
def test_a_command_parses(command, tmp_path):
    python, script, *words = shlex.split(command)
    assert python == "python"
    assert (ROOT / script).is_file()
    if script in ("experiments/run.py", "experiments/sweep.py"):
        runs, _ = (run if script.endswith("run.py") else sweep).arguments(words)
        assert runs
    elif script == "experiments/benchmark.py":
        assert set(words) <= set(benchmark._benchmarks())
    elif script == "experiments/positions.py":
        assert positions.finished(tmp_path) == []
    else:
        assert script == "analysis/representations.py"
        assert patch_sizes(representations._parser().parse_args(words).patch) == [16, 8, 4]


@pytest.mark.parametrize("name", [row.id for row in ROWS.values() if row.issue])
def test_a_command_of_an_issue_is_a_command_of_this_project(name):
    python, script, *_ = shlex.split(ROWS[name].command)
    assert python == "python"
    assert (ROOT / script).is_file()
    assert 18 <= ROWS[name].issue <= 24
