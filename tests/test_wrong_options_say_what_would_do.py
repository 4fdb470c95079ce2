"""What is typed wrong is answered by one line that says what would do; a pipe that is closed is no error."""

import os
import signal
import subprocess
import sys

import pytest

from analysis.output import until_closed
from experiments import run, sweep
from scaling.recipe import BadInput
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("program", "words", "said"),
    [
        (run, "deit_nano", "did you mean cifar10.deit_nano or folder.deit_nano or shapes.deit_nano?"),
        (run, "shapes.deit_nan", "did you mean shapes.deit_nano?"),
        (run, "resnet50", "`python experiments/run.py --help` lists all"),
        (sweep, "shapes.tabel5", "did you mean shapes.table5? `python experiments/sweep.py --help` lists all"),
        (run, "", "name one, such as shapes.deit_nano, or in --config's file, in a line `recipe: NAME`"),
        (run, "shapes.deit_nano --resume", "--resume; resuming is automatic: repeat the command"),
        (sweep, "shapes.deit_nano --ckpt-path=x", "--ckpt-path; resuming is automatic: repeat the command"),
        (run, "shapes.deit_nano --lr 1e-3,3e-3", "give the command once for each, with the same --results"),
        (sweep, "shapes.deit_nano --batch 32,64", "lists of --patch and --seeds alone"),
        (run, "shapes.deit_nano --patch 8,4", "sweep.py takes several: --patch 8,4"),
        (run, "shapes.deit_nano --seed 0,1", "sweep.py takes several: --seeds 0,1"),
        (sweep, "shapes.deit_nano --seed 0", "unknown option --seed; did you mean --seeds?"),
        (run, "shapes.deit_nano --epochs two", "--epochs two is not a whole number"),
        (run, "shapes.deit_nano --lr fast", "--lr fast is not a number"),
        (run, "shapes.deit_nano --compile=perhaps", "--compile 'perhaps' is neither true nor false"),
    ],
)
def test_a_wrong_word_is_answered_by_what_would_do(program, words, said):
    with pytest.raises(BadInput) as caught:
        program.arguments(words.split())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 240


def test_a_config_file_may_name_its_recipe(tmp_path):
    (tmp_path / "c.yaml").write_text("recipe: shapes.adventurer_nano\nepochs: 3\n")
    for program in (run, sweep):
        recipes, _ = program.arguments(["--config", str(tmp_path / "c.yaml")])
        assert {(recipe.backbone, recipe.epochs) for recipe in recipes} == {("adventurer_nano", 3)}


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
