"""The command lines that users and scripts rely on: frozen. A change here is a change for all of them."""

import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import pytest
import yaml

from experiments import run, sweep
from experiments.cli import arguments
from experiments.cli.options import field_rows, machine_rows
from experiments.cli.resolve import recipes, resolve
from experiments.stages import chain_of
from scaling.config.edit import make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.fields import config_field
from scaling.config.objectives import OBJECTIVES, Supervised
from scaling.errors import ConfigError
from scaling.runs.run_folder import open_run
from tests.conftest import ROOT


def options(module, capsys) -> set[str]:
    with pytest.raises(SystemExit):
        module.main(["--help"])
    text = capsys.readouterr().out
    return {word.split()[0].rstrip(",") for word in text.split("\n  ") if word.startswith("--")}


def test_recipes_by_name():
    assert {
        "shapes.deit_nano",
        "shapes.adventurer_nano",
        "cifar10.deit_nano",
        "cifar10.adventurer_nano",
        "imagenet.deit_base",
        "imagenet.adventurer_base",
    } <= set(recipes())


def test_every_recipe_builds_at_every_patch_size_and_says_how_to_run_it():
    for name, recipe_of in recipes().items():
        assert f"python experiments/run.py {name}" in recipe_of.__doc__
        for patch in (16, 8, 4, 2, 1):
            assert {config.model.patch_size for config in chain_of(recipe_of(patch))} == {patch}, name


def test_run_takes_every_field_with_its_type():
    (config,), args = run.arguments(
        ["shapes.deit_nano", "--patch", "4", "--epochs", "1", "--lr", "3e-4", "--results", "x"]
    )
    assert (config.model.patch_size, config.schedule.epochs, config.optim.lr, args.results) == (4, 1, 3e-4, "x")
    assert run.arguments(["shapes.deit_nano", "--train-images", "64"])[0][0].data.num_train == 64
    assert run.arguments(["shapes.deit_nano", "--train_images", "64"])[0][0].data.num_train == 64


def test_sweep_takes_lists():
    runs, args = sweep.arguments(
        [
            "shapes.deit_nano,shapes.adventurer_nano",
            "--patch",
            "16,8,4,2,1",
            "--seeds",
            "0,1",
            "--results",
            "DIR",
            "--dry-run",
        ]
    )
    assert len(runs) == 2 * 5 * 2
    assert [(r.model.backbone, r.model.patch_size, r.seed) for r in runs[:3]] == [
        ("deit_nano", 16, 0),
        ("adventurer_nano", 16, 0),
        ("deit_nano", 8, 0),
    ]
    assert args.dry_run
    assert len({r.run_id for r in runs}) == len(runs)


def test_a_sweep_changes_nothing_but_the_patch():
    runs, _ = sweep.arguments(["shapes.deit_nano", "--patch", "16,8,4,2,1"])
    assert len({r.group for r in runs}) == 1


def test_a_field_can_come_from_yaml_and_the_command_line_wins(tmp_path):
    (tmp_path / "c.yaml").write_text("epochs: 7\nlr: 0.01\n")
    (config,), _ = run.arguments(["shapes.deit_nano", "--config", str(tmp_path / "c.yaml"), "--lr", "0.02"])
    assert (config.schedule.epochs, config.optim.lr) == (7, 0.02)


def test_print_recipe_prints_what_config_reads(tmp_path, capsys):
    assert run.main(["shapes.deit_nano", "--patch", "2", "--print-recipe"]) == 0
    text = capsys.readouterr().out
    assert ExperimentConfig.from_dict(yaml.safe_load(text)) == resolve("shapes.deit_nano", 2, {})[0]
    (tmp_path / "c.yaml").write_text(text)
    (again,), _ = run.arguments(["cifar10.deit_nano", "--config", str(tmp_path / "c.yaml")])
    assert again == ExperimentConfig.from_dict(yaml.safe_load(text))


def test_an_image_that_fits_the_patch_may_come_with_it():
    (config,), _ = run.arguments(["shapes.deit_nano", "--image", "96", "--patch", "32"])
    assert (config.model.img_size, config.model.patch_size) == (96, 32)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("shapes.deit_nan --patch 4", "did you mean shapes.deit_nano?"),
        ("shapes.deit_nano --patch 5", "nearest that do: 4, 8"),
        ("shapes.deit_nano --patch 0", "patch 0"),
        ("shapes.deit_nano --patch -2", "patch -2"),
        ("shapes.deit_nano --patch four", "patch"),
        ("shapes.deit_nano --epoch 3", "did you mean --epochs?"),
        ("shapes.deit_nano --epochs 1.5", "epochs"),
        ("shapes.deit_nano --lr fast", "lr"),
        ("shapes.deit_nano --backbone deit_nono", "did you mean deit_nano?"),
        ("shapes.deit_nano --data shape", "did you mean shapes?"),
        ("shapes.deit_nano --task detekt", "unknown task"),
        ("shapes.deit_nano --config nowhere.yaml", "nowhere.yaml"),
        ("", "recipe"),
    ],
)
@pytest.mark.parametrize("program", [run, sweep])
def test_bad_words_are_refused_in_one_line(program, words, says):
    with pytest.raises(ConfigError) as e:
        program.arguments(words.split())
    assert says in str(e.value)
    assert "\n" not in str(e.value)


def test_a_yaml_file_with_an_unknown_field_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_text("epoch: 7\n")
    with pytest.raises(ConfigError, match="did you mean --epochs"):
        run.arguments(["shapes.deit_nano", "--config", str(tmp_path / "c.yaml")])


def test_exit_status_and_one_line_and_nothing_written(call, call_afresh, tmp_path):
    results = tmp_path / "results"
    for script, words in (
        ("experiments/run.py", ["shapes.deit_nano", "--patch", "5"]),
        ("experiments/sweep.py", ["shapes.deit_nano", "--patch", "16,5"]),
        ("experiments/run.py", ["cifar10.deit_nano", "--data-root", str(tmp_path / "nowhere")]),
        ("experiments/sweep.py", ["cifar10.deit_nano", "--data-root", str(tmp_path / "nowhere")]),
        ("experiments/run.py", ["shapes.deit_nano", "--num-classes", "7"]),
        ("experiments/run.py", ["shapes.deit_nano", "--accelerator", "tpu"]),
    ):
        for start in (call_afresh, call) if "5" in words else (call,):  # an interpreter of its own says no more
            done = start(script, *words, "--results", results)
            assert done.returncode == 2, (words, done)
            assert done.stderr.startswith("error: ")
            assert len(done.stderr.strip().splitlines()) == 1, done.stderr
            assert not results.exists()


def test_a_results_path_that_cannot_be_a_folder_is_refused(call, tmp_path):
    (tmp_path / "file").write_text("mine")
    done = call("experiments/sweep.py", "shapes.deit_nano", "--results", tmp_path / "file" / "below")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "is a file" in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("program", ["run", "sweep"])
def test_help_explains_every_field_without_torch(program):
    code = (
        "import sys; sys.argv = ['x', '--help-all']\n"
        f"import experiments.{program} as m\n"
        "try: m.main()\n"
        "except SystemExit as e: assert not e.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    own = ("patch_size", "seed") if program == "sweep" else ()
    for leaf in {**field_rows(), **machine_rows()}:
        assert (f"  --{leaf.replace('_', '-')}" in done.stdout) or leaf in own
    for unit in ("[px]", "[1/step]", "[epochs]"):
        assert unit in done.stdout


def test_the_options_are_frozen(capsys):
    """Those of version 1 are in tests/golden/test_options.py."""
    usual = {
        "--patch-size",
        "--img-size",
        "--backbone",
        "--lr",
        "--epochs",
        "--global-batch-size",
        "--head",
        "--augment",
    }
    machine = {"--accelerator", "--devices", "--threads", "--num-workers", "--micro-batch-size"}
    both = machine | {"--config", "--results", "--print-config", "--help-all"}
    assert options(run, capsys) >= usual | both | {"--seed", "--stage"}
    assert options(sweep, capsys) >= (usual - {"--patch-size"}) | both | {"--patch", "--seeds", "--dry-run"}


@pytest.mark.parametrize("program", [run, sweep])
def test_help_fits_a_terminal_and_hides_the_names_of_version_1(program, capsys):
    with pytest.raises(SystemExit):
        program.main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 80
    assert not {"--image", "--batch", "--workers", "--print-recipe"} & {word for line in lines for word in line.split()}


def test_a_field_has_its_dotted_name_too():
    words = ["--model.patch_embed.patch_size=8", "--task.smoothing", "0.1", "--optim.lr=0.1"]
    (config,), _ = run.arguments(["shapes.deit_nano", *words])
    assert (config.model.patch_size, config.classification.smoothing, config.optim.lr) == (8, 0.1, 0.1)
    with pytest.raises(ConfigError, match=r"unknown option --model\.smoothing"):
        run.arguments(["shapes.deit_nano", "--model.smoothing=0.1"])


def test_a_field_of_another_task_is_refused_with_the_fields_of_this_one():
    with pytest.raises(ConfigError, match="max_long is not an option of the task classify, which has: aug_repeats"):
        run.arguments(["shapes.deit_nano", "--max-long", "32"])


def test_a_field_in_the_wrong_part_of_a_file_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_text("optim:\n  img_size: 32\n")
    with pytest.raises(ConfigError, match=r"unknown option optim\.img_size"):
        run.arguments(["shapes.deit_nano", "--config", str(tmp_path / "c.yaml")])


def test_a_sweep_reads_what_a_run_has_printed(tmp_path, capsys):
    run.main(["shapes.deit_nano", "--patch", "2", "--lr", "0.1", "--print-config"])
    text = capsys.readouterr().out
    (tmp_path / "c.yaml").write_text("\n".join(line for line in text.splitlines() if not line.startswith("seed:")))
    (config,), _ = sweep.arguments(["shapes.deit_nano", "--config", str(tmp_path / "c.yaml")])
    assert (config.model.patch_size, config.optim.lr) == (2, 0.1)


def test_a_nested_file_is_read_and_none_is_not_set(tmp_path):
    (tmp_path / "c.yaml").write_text("model:\n  img_size: 32\n  patch_embed: {kind: extended, embed_patch_size: 8}\n")
    words = ["shapes.deit_nano", "--patch", "4", "--config", str(tmp_path / "c.yaml"), "--max-grad-norm", "none"]
    (config,), _ = run.arguments(words)
    assert (config.model.img_size, config.model.embed_patch_size, config.optim.max_grad_norm) == (32, 8, None)


@pytest.mark.parametrize(
    ("words", "on"),
    [
        ([], False),
        (["--compile"], True),
        (["--compile=false"], False),
        (["--compile", "no"], False),
        (["--compile", "--lr", "0.1"], True),
        (["--recompute", "--compile=True"], True),
    ],
)
def test_a_switch_is_an_option_alone_or_with_a_word(words, on):
    _, args = run.arguments(["shapes.deit_nano", *words])
    assert arguments.runtime(args).compile is on


def test_a_runs_folder_stands_for_its_recipe(tmp_path):
    (config,), _ = run.arguments(["shapes.adventurer_nano", "--patch", "2", "--ema", "0.9", "--seed", "3"])
    folder = open_run(config, tmp_path)
    assert run.arguments([str(folder)])[0] == [config]
    with pytest.raises(ConfigError, match="whose configuration is settled; leave out epochs, patch_size"):
        run.arguments([str(folder), "--patch", "4", "--epochs", "2"])
    (folder / "config.json").unlink()
    (folder / "recipe.json").write_text('{"epochs": -1}')
    with pytest.raises(ConfigError, match=r"recipe.json cannot be read as a configuration \(epochs -1"):
        run.arguments([str(folder)])


def test_a_chain_prints_every_stage(call):
    done = call("experiments/run.py", "imagenet.adventurer_base", "--patch", "8", "--print-recipe")
    assert done.returncode == 0
    stages = list(yaml.safe_load_all(done.stdout))
    assert [s["stage"] for s in stages] == ["pretrain", "intermediate", "finetune"]
    assert [s["model"]["img_size"] for s in stages] == [128, 224, 224]


def test_a_later_stage_alone_says_what_to_do_first_and_writes_nothing(call, tmp_path):
    words = ["cifar10.adventurer_stages", "--stage", "finetune", "--patch", "8", "--results", tmp_path / "r"]
    done = call("experiments/run.py", *words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "error: stage intermediate, run classify-cifar10-intermediate-adventurer_nano-64px-p8-s0-" in done.stderr
    assert "is not finished in" in done.stderr
    assert not (tmp_path / "r").exists()


@dataclass(frozen=True, kw_only=True)
class Imitation:
    """A second term of the loss."""

    kind: ClassVar[str] = "imitation"
    weight: float = config_field("weight of the term", 1.0)


def test_a_printed_configuration_keeps_the_values_of_objectives_and_any_class_name(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(OBJECTIVES, Imitation.kind, Imitation)
    config = make_config(objectives=(Supervised(), Imitation(weight=0.25)), class_names=("cat, big", "1", "c"))
    arguments.print_configs([config])
    (tmp_path / "c.yaml").write_text(capsys.readouterr().out)
    (again,), _ = run.arguments(["shapes.deit_nano", "--config", str(tmp_path / "c.yaml")])
    assert (again, again.run_id) == (config, config.run_id)
    (plain,), _ = run.arguments(
        ["shapes.deit_nano", "--config", str(tmp_path / "c.yaml"), "--objectives", "supervised"]
    )
    assert plain.objectives == (Supervised(),)


def test_a_recipe_behind_a_switch_is_no_value_of_it():
    (config,), args = run.arguments(["--compile", "shapes.deit_nano", "--patch", "8"])
    assert (config.model.patch_size, arguments.runtime(args).compile) == (8, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--init run", "--init run has no name of a run: .* --initial-checkpoint FOLDER"),
        ("--initial-checkpoint timm:vit", "not of a file: use --pretrained vit$"),
        ("--objectives supervised,supervised", "objectives has supervised 2 times"),
        ("--config FILE", "objectives is empty"),
    ],
)
def test_what_cannot_be_chosen_by_an_option_is_refused_with_what_can(words, message, tmp_path):
    (tmp_path / "c.yaml").write_text("objectives: []\n")
    with pytest.raises(ConfigError, match=message):
        run.arguments(["shapes.deit_nano", *words.replace("FILE", str(tmp_path / "c.yaml")).split()])
