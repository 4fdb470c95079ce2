"""Plug-ins on the command line: the examples of docs/extending.md, as they are there, and what must not be executed."""

import csv
import json
import math
import signal

import pytest
import torch
from PIL import Image

from experiments import run, sweep
from experiments.cli import arguments as cli
from experiments.launch import slurm_task
from experiments.launch.outcome import Outcome
from scaling.config.edit import edit, make_config
from scaling.config.plugin_files import load_plugin
from scaling.config.runtime import RuntimeConfig
from scaling.engine.train import train
from scaling.errors import ConfigError, TrainingInterrupted
from scaling.runs.record import RunRecord
from tests.analysis.test_fit_laws import save
from tests.plugins import documented, no_plugin, without_pictures, written

RECIPES = {
    "my_recipes.py": "small",
    "my_backbone.py": "conv",
    "my_data.py": "on_stripes",
    "my_head.py": "with_max",
    "my_task.py": "focal",
}
FAST = ("--num-train", 64, "--num-val", 32, "--epochs", 1, "--accelerator", "cpu", "--threads", 1)


@pytest.fixture(autouse=True)
def fresh():
    with no_plugin():
        yield


def test_every_example_is_tested():
    assert set(documented()) == {*RECIPES, "my_law.py"}


@pytest.mark.parametrize("name", RECIPES)
def test_an_example_of_the_docs_trains(call, tmp_path, name):
    recipe, results = f"{written(tmp_path, name)}:{RECIPES[name]}", tmp_path / "results"
    done = call("experiments/run.py", "--recipes", recipe, "--patch", 8, "--results", results, *FAST)
    assert done.returncode == 0, done.stderr
    (folder,) = results.glob("*-s0-*")
    values = json.loads((folder / "record.json").read_text())
    assert values["status"] == "finished"
    assert values["config"]["plugin"]["recipes"] == str(tmp_path / name)
    assert len(values["config"]["plugin"]["recipes_digest"]) == 16


def test_the_law_of_the_docs_is_a_name_for_form_and_has_intervals(call, tmp_path):
    results, path, noise = tmp_path / "results", written(tmp_path, "my_law.py"), (0.01, -0.015, 0.0, 0.012, -0.008)
    for patch, off in zip((16, 8, 4, 2, 1), noise, strict=True):
        save(results, make_config(backbone="deit_nano", patch_size=patch), (0.5 + 0.3 * math.log(patch)) * (1 + off))
    words = ("--results", results, "--form", "power,logarithmic")
    refused = call("analysis/fit_laws.py", *words)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    done = call("analysis/fit_laws.py", *words, "--recipes", path, before=without_pictures)
    assert done.returncode == 0, done.stderr
    with open(results / "analysis" / "laws.csv") as file:
        power, own = (row for row in csv.DictReader(file) if row["x"] == "patch")
    assert (power["form"], own["form"], own["name"]) == ("power", "logarithmic", "deit_nano")
    for name, truth in (("c", 0.5), ("k", 0.3)):
        assert float(own[f"{name}_low"]) < truth < float(own[f"{name}_high"])
        assert float(own[name]) == pytest.approx(truth, abs=0.05)
    assert float(own["r2"]) > float(power["r2"])


def test_a_sweep_in_workers_with_its_plan_and_the_use_of_its_models(call, tmp_path):
    """An own backbone: counted for the plan, trained in two processes at a time, found again, predicted, exported, and
    read by fit_laws; without --recipes each refuses in a line."""
    path, results = written(tmp_path, "my_backbone.py"), tmp_path / "results"
    words = ("--recipes", f"{path}:conv", "--patch", "8,4,2", "--results", results, *FAST, "--max-parallel-runs", 2)
    done = call("experiments/sweep.py", *words, before=without_pictures)
    assert done.returncode == 0, done.stderr
    assert "counted by torch" in done.stdout
    assert done.stdout.count("ok   plain_conv_tiny") == 3
    again = call("experiments/sweep.py", *words, "--dry-run")
    assert again.stdout.count("test loss") == 3

    (folder,) = results.glob("*-p4-s0-*")
    Image.new("RGB", (20, 20), (200, 30, 30)).save(tmp_path / "red.png")
    uses = {
        "experiments/predict.py": (folder, tmp_path / "red.png"),
        "experiments/export.py": (folder, "--export", "safetensors", tmp_path / "model.safetensors"),
        "experiments/run.py": (folder, "--results", results),
        "analysis/fit_laws.py": ("--results", results),
    }
    for script, given in uses.items():
        refused = call(script, *given)
        assert refused.returncode == 2, script
        (line,) = refused.stderr.splitlines()
        assert "my_backbone.py" in line or "no law can be fitted" in line or "none of" in line, line
        assert not (tmp_path / "model.safetensors").exists()
    for script, given in list(uses.items())[:3]:
        used = call(script, *given, "--recipes", path)
        assert used.returncode == 0, (script, used.stderr)
    for given, finished in (((), 0), (("--recipes", path), 3)):
        page = tmp_path / "page.html"
        reported = call("experiments/report.py", "--results", results, "--out", page, "--form", "power", *given)
        assert reported.returncode == 0, reported.stderr
        html = page.read_text()
        assert html.count("made with the plug-in") == 3 - finished
        assert (f"{3 - finished} runs; the same command" in html) == (finished == 0)
        assert ("No run has finished" in html) == (finished == 0)
    exported = call("experiments/predict.py", tmp_path / "model.safetensors", tmp_path / "red.png")
    assert (exported.returncode, len(exported.stderr.splitlines())) == (2, 1)
    path.write_text(path.read_text() + "\n# edited\n")
    other = call("experiments/predict.py", folder, tmp_path / "red.png", "--recipes", path)
    assert other.returncode == 2
    assert "restore the former" in other.stderr
    read = call("analysis/fit_laws.py", "--results", results, "--recipes", path, before=without_pictures)
    assert (read.returncode, "plain_conv_tiny" in read.stdout) == (0, True), read.stderr


def test_a_run_of_a_plugin_that_was_interrupted_ends_with_the_same_bits(tmp_path):
    plugin = load_plugin(str(written(tmp_path, "my_data.py")))
    config = plugin.module.on_stripes(8)
    config = edit(config, num_train=64, num_val=32, recipes=plugin.source, recipes_digest=plugin.digest)
    settings = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, micro_batch_size=32)
    record = train(config, tmp_path / "whole", settings)

    def interrupt(event):
        if event.kind == "train" and event.progress.step == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingInterrupted):
        train(config, tmp_path / "cut", settings, interrupt)
    assert train(config, tmp_path / "cut", settings).test_loss == record.test_loss
    whole, cut = (
        torch.load(tmp_path / part / config.run_id / "weights.pt", weights_only=True)["model"]
        for part in ("whole", "cut")
    )
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert RunRecord.load(tmp_path / "cut" / config.run_id).class_names == ["horizontal", "vertical"]


def test_all_options_and_recipes_work_beside_it(tmp_path):
    path = written(tmp_path, "my_head.py")
    (config,), _ = run.arguments(["shapes.deit_nano", "--recipes", str(path), "--head", "max", "--lr", "1e-4"])
    assert (config.task.head.kind, config.optim.lr, config.plugin.recipes) == ("max", 1e-4, str(path))
    both, _ = sweep.arguments(["my_head.with_max,shapes.deit_nano", "--recipes", str(path), "--patch", "8"])
    assert [one.model.backbone for one in both] == ["deit_pico", "deit_nano"]
    assert all(one.plugin == config.plugin for one in both)
    named, _ = run.arguments(["--recipes", f"{path}:with_max", "--patch", "8"])
    assert named == [both[0]]


def test_a_field_of_an_own_task_is_an_option(call, tmp_path):
    path = written(tmp_path, "my_task.py")
    done = call("experiments/run.py", "--recipes", f"{path}:focal", "--gamma", 1, "--print-config")
    assert "gamma: 1.0" in done.stdout
    shown = call("experiments/run.py", "--recipes", path, "--help-all").stdout
    assert "--gamma" in shown
    assert "  my_task: focal\n" in shown


def test_a_model_of_an_own_task_has_a_hub_repository(call, tmp_path):
    path, results = written(tmp_path, "my_task.py"), tmp_path / "results"
    words = ("--recipes", f"{path}:focal", "--patch", 8, "--gamma", 1, "--results", results)
    assert call("experiments/run.py", *words, *FAST).returncode == 0
    (folder,) = results.glob("*-s0-*")
    done = call("experiments/export.py", folder, "--recipes", path, "--hub", "me/it", "--out", tmp_path / "hub")
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "pipeline_tag: image-classification" in card  # of the task that it extends
    assert "for classification" in card


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    return 1 / 0", ", line 2: ZeroDivisionError: division by zero"),
        ("    return 3", "the recipe returned 3; make_config and edit of scaling.config.edit make recipes"),
        ("    return [None]", "the recipe returned None;"),
    ],
)
def test_a_recipe_with_an_error_is_a_line_with_its_place(tmp_path, body, said):
    path = tmp_path / "mine.py"
    path.write_text(f"def small(patch):\n{body}\n")
    for program in (run, sweep):
        with pytest.raises(ConfigError) as caught:
            program.arguments(["--recipes", f"{path}:small", "--patch", "8"])
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_without_recipes_says_what_a_recipe_is(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def build(size): ...\n")
    with pytest.raises(ConfigError, match="has no recipe, a public function whose first argument is patch"):
        run.arguments(["--recipes", f"{path}:small"])


def test_a_job_of_a_cluster_loads_it_and_refuses_another_content(tmp_path, monkeypatch):
    path, trained = written(tmp_path, "my_backbone.py"), []
    with no_plugin():
        (config,), _ = run.arguments(["--recipes", f"{path}:conv", "--patch", "8"])
    values = config.to_dict()
    monkeypatch.setattr(signal, "signal", lambda *given: None)  # the handlers of a job stay out of this process
    monkeypatch.setattr(slurm_task._Task, "train", lambda self, one: trained.append(one) or Outcome(0, ""))
    with no_plugin(), pytest.raises(SystemExit):
        slurm_task.run_task([values], str(tmp_path), RuntimeConfig())
    assert trained == [config]
    path.write_text("# edited\n")
    with pytest.raises(SystemExit, match=r"error: .*my_backbone\.py has changed since this run was handed over"):
        slurm_task.run_task([values], str(tmp_path), RuntimeConfig())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--recipes PATH:conf", "unknown recipe 'conf'; did you mean conv? there is: conv"),
        ("--recipes PATH:conv shapes.deit_nano", "--recipes names the recipe my_backbone.conv, and the command shapes"),
        ("my_backbone.cone --recipes PATH", "did you mean my_backbone.conv?"),
        ("my_backbone.conv", "unknown recipe 'my_backbone.conv'"),
        ("shapes.deit_nano --recipes gone.py", "--recipes gone.py: no such file"),
        ("shapes.deit_nano --recipes", "--recipes needs a value"),
    ],
)
def test_what_cannot_be_found_is_a_line(tmp_path, words, said):
    path = str(written(tmp_path, "my_backbone.py"))
    with pytest.raises(ConfigError) as caught:
        run.arguments([word.replace("PATH", path) for word in words.split()])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_recipes_of_here_are_not_replaced(tmp_path):
    path = tmp_path / "shapes.py"
    path.write_text("def deit_nano(patch):\n    return None\n")
    with pytest.raises(
        ConfigError, match=r"its recipes would be shapes\.NAME, as those that are there already; rename"
    ):
        run.arguments(["shapes.deit_nano", "--recipes", str(path)])


def test_only_functions_of_a_patch_are_recipes(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def build(size, config): ...\ndef _own(patch): ...\ndef recipe(patch): ...\n")
    with pytest.raises(ConfigError, match=r"there is: recipe$"):
        run.arguments(["--recipes", f"{path}:build"])


def test_a_file_of_options_executes_nothing(tmp_path, capsys):
    """The configuration that is printed names the plug-in: read again, it asks for it."""
    path, config = written(tmp_path, "my_backbone.py"), tmp_path / "c.yaml"
    with no_plugin():
        stages, _ = run.arguments(["--recipes", f"{path}:conv", "--patch", "8"])
        cli.print_configs(stages)
    config.write_text(capsys.readouterr().out)
    path.write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n" + path.read_text())
    with pytest.raises(ConfigError, match=r"the file of --config was made with the plug-in .*my_backbone\.py"):
        run.arguments(["shapes.deit_nano", "--config", str(config)])
    assert not (tmp_path / "executed").exists()
    (again,), _ = run.arguments(["--recipes", f"{path}:conv", "--config", str(config)])
    assert (tmp_path / "executed").exists()
    assert (again.model, again.data) == (stages[0].model, stages[0].data)
