"""Commands that would decide a claim exist."""

import shlex

import pytest

from analysis import representations
from analysis.claims.ledger import load
from analysis.report.patch_option import patch_sizes
from experiments import benchmark, positions, run, sweep
from experiments.planning import recommend
from tests.conftest import ROOT

COMMANDS = {row.command for row in [*load().studies, *load().claims] if row.command}


def test_there_are_commands():
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_parses(command, tmp_path):
    python, script, *words = shlex.split(command)
    assert python == "python"
    assert (ROOT / script).is_file()
    if script in ("experiments/run.py", "experiments/sweep.py"):
        runs, _ = (run if script.endswith("run.py") else sweep).arguments(words)
        assert runs
    elif script == "experiments/benchmark.py":
        assert set(words) <= set(benchmark._benchmarks())
    elif script == "experiments/plan.py":
        assert recommend._parser().parse_args(words).task == "classify"
    elif script == "experiments/positions.py":
        assert positions.finished(tmp_path) == []
    else:
        assert script == "analysis/representations.py"
        assert patch_sizes(representations._parser().parse_args(words).patch) == [16, 8, 4]
