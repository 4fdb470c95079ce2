"""plan.py --recommend: patch, model and image for a task, a budget and the smallest object, from the command line."""

import math
import re
import shlex

import pytest

from analysis.planning.predicted_error import published_models
from analysis.records.published import load_published
from experiments import plan
from experiments.planning.candidates import published_candidates
from experiments.planning.choice import Limits
from experiments.planning.cost_estimate import device, forecast
from experiments.planning.plan_report import number
from experiments.planning.recommend import choice
from scaling import costs
from scaling.errors import ConfigError
from tests.conftest import ROOT

ISSUE = "--recommend --task segment --image 512 --object 12px --memory 24 --hours 100 --gpu 4090"
NONE = ("--results", "nothing_here")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr("analysis.planning.predicted_error.DRAWS", 40)


def said(capsys, words):
    """The answer's lines, with wrapped ones joined, and the exit status."""
    status = plan.main([*words.split(), *NONE])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    return re.sub(r"\n +(?=\S)", " ", text).splitlines(), status


def numbers(line):
    return [float(word.replace(",", "")) for word in re.findall(r"(?<![\w.])\d[\d,]*\.?\d*", line)]


def test_the_answer_has_its_reasons_and_costs_what_the_plan_prints_for_it(capsys):
    lines, status = said(capsys, ISSUE)
    assert status == 0
    assert len(lines) <= 40
    text = "\n".join(lines)
    assert "Adventurer-Base, patch 8, image 512 px 4,096 tokens" in text
    for reason in ("Patch: ", "Model: ", "Image: ", "Object: 12 px span 1.5 patches", "Decided? ", "Prior: "):
        assert reason in text
    (command,) = (line for line in lines if line.startswith("Costs in full: "))
    words = shlex.split(command.removeprefix("Costs in full: python experiments/plan.py "))
    assert plan.main([*words, *NONE]) == 0
    planned = capsys.readouterr().out
    (row,) = (line.split() for line in planned.splitlines() if re.match(r"\s+8 512 px", line))
    patch, _, _, tokens, parameters, _, _, micro, _, _, hours = row
    (answer,) = (line for line in lines if "tokens," in line)
    assert f"{tokens} tokens, {parameters} parameters; micro-batch {micro}, " in answer
    assert f"; {hours} h" in answer
    assert patch == "8"


@pytest.mark.parametrize(("task", "image"), [("classify", 64), ("segment", 256), ("detect", 256)])
def test_every_candidate_has_the_costs_of_scaling_costs_and_of_the_plan(task, image):
    on = device("a100", 1, ROOT / "nothing_here")
    found = list(published_candidates(task, published_models(task), image, on, None))
    assert len(found) > 10
    for one in found:
        run = one.last.run
        assert (run.model.patch_size, one.last.tokens) == (one.patch, costs.recipe_tokens(run))
        assert one.last.parameters == costs.recipe_parameters(run)
        assert one.fits == (one.need_bytes <= on.card.memory)
        if one.fits:
            its = on._replace(grad_checkpointing=one.grad_checkpointing)
            again = [forecast(stage.run, its) for stage in one.stages]
            assert one.hours == sum(stage.hours for stage in again)
            assert again[-1].least_bytes <= one.peak_bytes <= on.card.memory


def test_predictions_of_the_dense_tasks_are_close_to_the_published_numbers():
    on = device("a100", 1, ROOT / "nothing_here")
    for task, table, column in (("segment", "table2_ade20k", "miou"), ("detect", "table3_coco", "ap_box")):
        image = {"segment": 512, "detect": 800}[task]
        found = choice(task, Limits(math.inf, 1e15, 0.0, image), on, ROOT / "nothing_here", None)
        rows = load_published(table)
        rows = rows[rows["decoder"] == "None"] if task == "segment" else rows
        assert set(rows["model"]) == {one.model[:12] for one in found.candidates}
        checked = 0
        for row in rows.to_dict("records"):
            for n, one in enumerate(found.candidates):
                if (one.model[:12], one.patch, one.image) == (row["model"], row["patch"], image):
                    assert abs(found.predicted.value_M[n] - (100 - row[column])) < 0.4
                    checked += 1
        assert checked >= 7


def test_a_small_object_excludes_large_patches_and_a_small_card_large_models(capsys):
    fine, _ = said(capsys, "--recommend --task detect --image 512 --object 8 --gpu a100 --hours 500")
    (answer,) = (line for line in fine if "tokens," in line)
    assert int(re.search(r"patch (\d+)", answer).group(1)) <= 4
    small, _ = said(capsys, "--recommend --task segment --image 512 --gpu 4090 --memory 2")
    (answer,) = (line for line in small if "tokens," in line)
    assert numbers(answer.split("micro-batch")[1])[1] <= 2


def test_a_budget_that_nothing_fits_has_status_1_and_what_would_do(capsys):
    lines, status = said(capsys, "--recommend --task segment --image 1024 --object 4px --gpu 4090 --hours 100")
    assert status == 1
    (line,) = lines
    assert line.startswith("nothing fits 24.0 GB of rtx4090 in 100 h and resolves an object of 4 px; the nearest is ")
    assert "--images and --epochs of your data" in line
    lines, status = said(capsys, "--recommend --task segment --image 64 --object 0.5px --gpu 4090")
    assert status == 1
    assert lines[0].startswith("nothing resolves an object of 0.5 px in an image of 64 px")


@pytest.mark.parametrize("task", ["classify", "segment", "detect"])
def test_data_of_your_own_take_the_time_of_their_images(task, capsys):
    on = device("a100", 1, ROOT / "nothing_here")
    first = next(published_candidates(task, published_models(task), 64, on, (400, 10)))
    assert plan.main([*shlex.split(first.command), "--gpu", "a100", *NONE]) == 0
    minutes = re.search(r"total: 1 run, ([<\d.]+) GPU-min", capsys.readouterr().out).group(1)
    assert minutes == number(60 * first.hours)
    (stage,) = first.stages
    assert stage.run.data.num_train == 400
    seen = (stage.run.schedule.max_steps or 0) * 16 or 400 * stage.run.schedule.epochs
    assert seen == 4000
    assert first.hours < 0.1


def test_laws_of_your_runs_replace_the_published_one(capsys):
    records = str(ROOT / "notebooks" / "records")
    assert plan.main(f"--recommend --task classify --image 16 --gpu a100 --results {records}".split()) == 0
    text = capsys.readouterr().out
    assert "\ndeit_nano, patch 1, image 16 px\n" in text
    assert "predicted test loss" in text
    assert "adventurer_nano" in text
    assert plan.main(f"--recommend --task classify --image 64 --gpu a100 --results {records}".split()) == 0
    assert "predicted top-1 error" in capsys.readouterr().out  # of other image sizes: not used


def test_the_prior_is_named_and_overruled_by_the_object(capsys):
    words = "--recommend --task detect --image 512 --object 8px --gpu a100 --hours 500 --application satellite"
    lines, _ = said(capsys, words)
    (prior,) = (line for line in lines if line.startswith("Prior: "))
    assert "source text B, lines 424-467" in prior
    assert "has 32 px for satellite; differs: law, budget and object size decide here" in prior


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--task draw --image 512", "invalid choice: 'draw'"),
        ("--task segment", "required: --image"),
        ("--task segment --image 0", "--image 0 must be a side of 8 to 65,536 px"),
        (
            "--task segment --image 512 --object 513px",
            "--object 513px is larger than the image; --image 512 is its side",
        ),
        ("--task segment --image 509", "no patch size divides an image of 509 px; try 512"),
        ("--task segment --image 512 --object big", "--object 'big' must be the side of the smallest object in pixels"),
        ("--task segment --image 512 --object 0px", "--object '0px' must be the side of the smallest object in pixels"),
        ("--task segment --image 512 --devices 0", "--devices 0 must be 1 or more"),
        ("--task segment --image 512 --results Makefile", "--results Makefile is a file, not a results folder"),
        ("--task segment --image 512 --recipes gone.py", "--recipes gone.py: no such file"),
        ("--task segment --image 512 --hours 0", "--hours 0 must be above 0"),
        ("--task segment --image 512 --memory nan", "--memory nan must be above 0"),
        ("--task segment --image 512 --images 5", "--images and --epochs go together"),
        ("--task segment --image 512 --images 0 --epochs 1", "must be 1 or more"),
        ("--task segment --image 512 --gpu z80", "unknown GPU 'z80'"),
        ("--task segment --image 512 --application moon", "unknown application 'moon'"),
        ("--task segment --image 512 --patch 8", "unrecognized arguments: --patch 8"),
    ],
)
def test_bad_input_is_refused_in_one_line(capsys, words, why):
    with pytest.raises(ConfigError, match=re.escape(why)) as refused:
        plan.main(["--recommend", *words.split()])
    assert "\n" not in str(refused.value)
    assert capsys.readouterr().out == ""
