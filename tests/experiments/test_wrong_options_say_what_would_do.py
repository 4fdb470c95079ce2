"""What is typed wrong is answered by one line that says what would do; a pipe that is closed is no error."""

import os
import signal
import subprocess
import sys

import pytest

from analysis import fit_laws
from analysis.report.output import until_closed
from experiments import run, sweep
from scaling.errors import ConfigError
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("program", "words", "said"),
    [
        (run, "deit_nano", "did you mean cifar10.deit_nano or folder.deit_nano or shapes.deit_nano?"),
        (run, "shapes.deit_nan", "did you mean shapes.deit_nano?"),
        (run, "resnet50", "`python experiments/run.py --help` lists all"),
        (sweep, "shapes.tabel5", "did you mean shapes.table5? `python experiments/sweep.py --help` lists all"),
        (run, "", "name one, such as shapes.deit_nano, or in --config's file, in a line `recipe: NAME`"),
        (run, "shapes.deit_nano --resume", "--resume; resuming is automatic: repeat the interrupted command"),
        (sweep, "shapes.deit_nano --ckpt-path=x", "--ckpt-path; resuming is automatic: repeat the interrupted command"),
        (run, "shapes.deit_nano --lr 1e-3,3e-3", "sweep.py trains each: --vary lr=1e-3,3e-3"),
        (sweep, "shapes.deit_nano --batch 32,64", "sweep.py trains each: --vary batch=32,64"),
        (run, "shapes.deit_nano --patch 8,4", "sweep.py takes several: --patch 8,4"),
        (run, "shapes.deit_nano --seed 0,1", "sweep.py takes several: --seeds 0,1"),
        (sweep, "shapes.deit_nano --seed 0", "unknown option --seed; did you mean --seeds?"),
        (run, "shapes.deit_nano --epochs two", "--epochs two is not a whole number"),
        (run, "shapes.deit_nano --lr fast", "--lr fast is not a number"),
        (run, "shapes.deit_nano --compile=perhaps", "--compile perhaps is not true or false"),
    ],
)
def test_a_wrong_word_is_answered_by_what_would_do(program, words, said):
    with pytest.raises(ConfigError) as caught:
        program.arguments(words.split())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 240


def test_a_config_file_may_name_its_recipe(tmp_path):
    (tmp_path / "c.yaml").write_text("recipe: shapes.adventurer_nano\nepochs: 3\n")
    for program in (run, sweep):
        recipes, _ = program.arguments(["--config", str(tmp_path / "c.yaml")])
        assert {(config.model.backbone, config.schedule.epochs) for config in recipes} == {("adventurer_nano", 3)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recipe: shapes.deit_nano\nepochs: 1\nlr: 1e-3\nepochs: 2\n", "has epochs twice, in lines 2 and 4"),
        ("recipe: shapes.deit_nano\ntrain-images: 64\ntrain_images: 32\n", "has train_images twice, in lines 2 and 3"),
        ("", "is empty, or holds something else than lines `option: value`"),
        ("- 1\n- 2\n", "is empty, or holds something else"),
        ("recipe: shapes.deit_nano\nlr: [1e-3, 3e-3]\n", "sweep.py trains each: --vary lr="),
        ("recipe: shapes.deit_nano\nmodel:\n  patch: 4\n", "unknown option model.patch"),
        ("recipe: shapes.deit_nano\n lr: : 3", "is not YAML: mapping values are not allowed here"),
    ],
)
def test_a_config_file_that_cannot_be_meant_is_refused(tmp_path, text, said):
    """YAML takes the last of two (PyYAML #165)."""
    (tmp_path / "c.yaml").write_text(text)
    for words in (["--config", str(tmp_path / "c.yaml")], [f"--config={tmp_path / 'c.yaml'}"]):
        with pytest.raises(ConfigError) as caught:
            run.arguments(words)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_numbers_in_a_config_file_are_numbers_however_they_are_written(tmp_path):
    """YAML 1.1 reads 1e-3 as text (yacs #46, LLaMA-Factory #4014)."""
    for n, lr in enumerate(("1e-3", "1.0e-3", "0.001", ".001")):
        (tmp_path / "c.yaml").write_text(f"\ufeffrecipe: shapes.deit_nano\r\nlr: {lr}\r\n", "utf-8")
        (config,), _ = run.arguments(["--config", str(tmp_path / "c.yaml")])
        assert config.optim.lr == 1e-3, n


def test_a_home_is_found_where_no_shell_puts_it(monkeypatch, tmp_path):
    """bash leaves --results=~/runs as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for program in (run, sweep):
        recipes, args = program.arguments(["shapes.deit_nano", "--results=~/runs", "--weights=~/w.pth"])
        assert args.results == str(tmp_path / "runs")
        assert {(config.init.source or "") for config in recipes} == {str(tmp_path / "w.pth")}
    assert fit_laws.main(["--results=~/runs"]) == 2
    assert not (tmp_path / "runs").exists()


def test_output_that_nobody_reads_ends_a_program_quietly():
    """In a process of its own: its stdout is a pipe whose other end is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "experiments/sweep.py", "shapes.deit_nano", "--print-recipe"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, cwd=ROOT, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_other_endings_are_what_they_were(capsys):
    assert until_closed(lambda: 2) == 2
    with pytest.raises(SystemExit, match="0"):
        until_closed(lambda: sys.exit(0))
