"""The harness from Python: the example of docs/python.md, as it is there."""

import multiprocessing
import re

import pytest

from analysis import fit, load
from experiments.api import recipe, sweep, train
from scaling.config.edit import edit
from scaling.config.initialization import FromRun
from scaling.config.runtime import RuntimeConfig
from scaling.errors import ConfigError
from scaling.runs.record import RunRecord
from tests.conftest import ROOT
from tests.plugins import without_pictures

EXAMPLE = re.search(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)[1]


def test_the_example_of_the_docs_runs_and_its_laws_are_per_learning_rate(call, tmp_path):
    """In a process of its own, as a notebook is one: it trains a run and six of a sweep."""
    assert len([line for line in EXAMPLE.splitlines() if line]) <= 10
    script = tmp_path / "example.py"
    body = EXAMPLE.replace('"results"', repr(str(tmp_path / "results")))
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    script.write_text(f'if __name__ == "__main__":\n{indented}\n')
    done = call(script, before=without_pictures)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("classify-shapes-deit_nano-16px-p8-s0-")
    laws = [line for line in lines if "{'A'" in line or "'alpha'" in line]
    assert ["lr 0.001" in line for line in laws] == [True, False]
    assert len(list((tmp_path / "results").glob("classify-*"))) == 6  # the first run is one of the sweep's


def test_a_recipe_takes_the_options_of_the_command_line():
    config = recipe("shapes.deit_nano", patch=2, lr=1e-4, pos_embed="learned", max_steps=None)
    assert (config.model.patch_size, config.optim.lr, config.model.pos_embed.kind) == (2, 1e-4, "learned")
    with pytest.raises(ConfigError, match="unknown option --lrr; did you mean --lr"):
        recipe("shapes.deit_nano", lrr=1)


def test_stages_are_trained_one_after_the_other(tmp_path):
    options = {"num_train": 32, "num_val": 8, "global_batch_size": 16, "epochs": 1, "patch": 16}
    config = recipe("shapes.deit_nano", **options)
    later = edit(config, init=FromRun(config=config), stage="finetune")
    record = train(later, tmp_path, RuntimeConfig(accelerator="cpu", threads=1, num_workers=0))
    assert record.status == RunRecord.load(tmp_path / config.run_id).status == "finished"


def test_what_is_wrong_is_raised(tmp_path):
    with pytest.raises(ConfigError, match="unknown recipe or study"):
        sweep("shapes.nothing", tmp_path / "results")
    with pytest.raises(ConfigError, match="no results folder"):
        load(tmp_path / "results")
    assert not (tmp_path / "results").exists()
    assert not multiprocessing.active_children()


def test_an_unknown_law_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown form 'powr'; did you mean power"):
        fit(None, "powr")
