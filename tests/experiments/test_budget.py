"""plan.py --budget: what FLOPs or hours buy, from the command line."""

import re

import pandas as pd
import pytest

from experiments import plan
from experiments.planning.budget import stages, training_flops
from scaling import costs
from scaling.errors import ConfigError


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr("experiments.planning.budget.DRAWS", 40)


def test_the_frontier_of_the_published_tables_is_printed_and_written(tmp_path, capsys):
    assert plan.main(["--budget", "1e19,1e20", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    picks = [line.split() for line in said.splitlines() if line.strip().startswith("1e+")]
    assert [row[0] for row in picks] == ["1e+19", "1e+20"]
    assert picks[0][1:4] == ["Adventurer-Tiny", "16", "224"]
    listed = said[said.index("The law's frontier") :]
    rows = [line.split() for line in listed.splitlines() if line.startswith("Adventurer-")]
    assert {"model", "pair"} <= {row[-1] for row in rows}  # where it extrapolates
    frontier = pd.read_csv(tmp_path / "out" / "frontier.csv")
    assert frontier["training_flops"].between(1e17, 1e22).all()
    assert len(frontier) == len(rows)
    assert (tmp_path / "out" / "optimal.png").read_bytes().startswith(b"\x89PNG")
    bought = pd.read_csv(tmp_path / "out" / "budget.csv")
    assert (bought["training_flops"] <= bought["budget"]).all()
    assert (bought["low"] < bought["predicted"]).all()


def test_a_configuration_costs_all_its_stages():
    runs = stages("Adventurer-Base", 224, 8)
    assert [(run.stage or "") for run in runs] == ["pretrain", "intermediate", "finetune"]
    assert {run.model.patch_size for run in runs} == {8}
    wanted = sum(3 * costs.recipe_flops(run) * costs.IMAGENET_IMAGES * run.schedule.epochs for run in runs)
    assert training_flops("Adventurer-Base", 224, 8) == wanted


def test_hours_are_those_of_the_card(tmp_path, capsys):
    found = {}
    for card in ("a100", "h100"):
        assert plan.main(["--budget-hours", "300", "--gpu", card, "--out", str(tmp_path / card)]) == 0
        found[card] = pd.read_csv(tmp_path / card / "budget.csv").iloc[0]
        assert f"GPU-h on {card}" in capsys.readouterr().out
        assert found[card]["gpu_hours"] <= 300
    assert found["h100"]["predicted"] <= found["a100"]["predicted"]  # a faster card buys as much or more


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--budget", "1e16"], "below the smallest configuration: Adventurer-Tiny at patch 16 on 64 px takes 5.03e+17"),
        (["--budget-hours", "0.01"], "below the smallest configuration"),
        (["--budget", "much"], "--budget 'much' must be one or more numbers above 0"),
        (["--budget", "-1"], "must be one or more numbers above 0"),
        (["--budget", "1e20", "--gpu", "z80"], "unknown GPU 'z80'; known: a100"),
        (["--budget", "1e20", "--budget-hours", "3"], "not allowed with argument"),
        (["--budget", "1e20", "--patch", "4"], "unrecognized arguments: --patch 4"),
    ],
)
def test_a_budget_that_buys_nothing_is_refused_in_one_line(capsys, tmp_path, words, says):
    with pytest.raises(ConfigError, match=re.escape(says)) as refused:
        plan.main([*words, "--out", str(tmp_path / "out")])
    assert "\n" not in str(refused.value)
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "out").exists()


def test_the_script_ends_with_status_2_and_that_line(call, tmp_path):
    done = call("experiments/plan.py", "--budget", "much", "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --budget 'much' must be one or more numbers above 0")
    assert done.stderr.count("\n") == 1
