"""The recipes on ImageNet are what the paper prints and its release does; what departs is named, and refused alike."""

from itertools import pairwise

import pytest
import torch

from experiments import run, sweep
from experiments.documentation.recipe_table import REASONS, departures, reason_of, recipes_page
from experiments.recipes import coco, imagenet
from experiments.stages import chain_of
from scaling.config.canonical import canonical
from scaling.config.edit import make_config
from scaling.costs.token_limit import LIMIT, check_tokens
from scaling.engine.train import TASKS
from scaling.errors import ConfigError
from scaling.runs.outputs import EXPORTED, PICTURED
from scaling.tasks.base import TaskModule
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.optim import lr_factor, lr_share
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "recipes.md"


def test_every_departure_has_a_reason_and_every_reason_a_departure():
    found = departures()
    assert found
    assert [one for one in found if not reason_of(one[0], one[2])] == []
    for stage, field in REASONS:
        assert any(field == one[2] and stage in ("all", one[0]) for one in found), (stage, field)


def test_the_page_of_recipes_is_what_the_code_makes_today():
    assert PAGE.read_text() == recipes_page()


def test_finetuning_of_small_and_base_ends_at_a_constant_rate_and_larges_at_half_of_its_peak():
    """Released: min_lr 1e-5, which is Small's and Base's peak."""
    for size, ends in (("small", 1.0), ("base", 1.0), ("large", 0.5), ("huge", 0.5)):
        last = getattr(imagenet, f"adventurer_{size}")(16)[-1]
        assert lr_share(last, 999, 1000) == pytest.approx(ends, rel=1e-4)
        assert last.schedule.min_lr == 1e-5


def test_a_rate_falls_to_min_lr_by_every_schedule_that_falls_to_a_rate():
    base = imagenet.deit_base(16)
    for config in (base, chain_of(imagenet.adventurer_base(16, 64))[0]):
        shares = [lr_share(config, step, 3000) for step in range(3000)]
        assert max(shares) == pytest.approx(1, abs=1e-3)
        assert shares[-1] * config.optim.peak_lr == pytest.approx(1e-5, rel=1e-3)
        assert shares[100:] == sorted(shares[100:], reverse=True)


def test_a_lower_layer_ends_at_its_own_share_of_the_least_rate():
    """timm #2532, facebookresearch/deit #144: layer-wise decay scales the least rate, the batch size does not."""
    fields = {"epochs": 10, "warmup_epochs": 2.0, "layer_decay": 0.5, "lr": 1e-3, "lr_base_size": 32, "min_lr": 1e-4}
    task = ClassificationTask(
        make_config(backbone="adventurer_nano", img_size=16, patch_size=4, global_batch_size=64, **fields), 400
    )
    found = task.configure_optimizers()
    optimiser, schedule = found["optimizer"], found["lr_scheduler"]["scheduler"]
    for _ in range(399):
        optimiser.step()
        schedule.step()
    for group in optimiser.param_groups:
        assert group["lr"] == pytest.approx(1e-4 * group["initial_lr"] / 2e-3, rel=1e-3)


def test_a_cosine_with_a_least_rate_is_never_flat():
    """gpt-neox #1008: cut off at the least rate instead of led to it."""
    shares = [lr_factor(step, 10, 200, "cosine", 0.3) for step in range(10, 200)]
    assert all(later < earlier for earlier, later in pairwise(shares))


@pytest.mark.parametrize(("mixup", "cutmix", "smoothing"), [(0.8, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 1.0, 0.1)])
def test_mixed_labels_have_the_recipes_smoothing_and_no_other(mixup, cutmix, smoothing):
    """deit #91, nvSubquadratic #141: CutMix alone mixes labels, and timm's own smoothing of 0.1 is not taken."""
    task = ClassificationTask(
        make_config(img_size=16, patch_size=4, mixup=mixup, cutmix=cutmix, smoothing=smoothing), 10
    )
    assert task.mixing is not None
    _, target_BK = task.mixing(torch.zeros(4, 3, 16, 16), torch.arange(4) % 3)
    assert target_BK.sum(1).tolist() == pytest.approx([1.0] * 4)
    assert float(target_BK.min()) == pytest.approx(smoothing / 3)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--min-lr 1", "min_lr 1.0 is above the peak learning rate, 0.002"),
        ("--min-lr -1", "min_lr -1.0 must be 0 or more"),
        ("--min-lr 1e-5 --schedule steps --milestones 1", "min_lr does not apply to lr_schedule multistep"),
    ],
)
def test_a_least_rate_that_cannot_be_is_refused(words, says):
    with pytest.raises(ConfigError) as e:
        run.arguments(["shapes.deit_nano", "--patch", "4", *words.split()])
    assert says in str(e.value)
    assert "\n" not in str(e.value)


def test_recipes_without_a_least_rate_keep_their_names():
    assert "min_lr" not in canonical(imagenet.deit_large(16))


def test_a_dry_run_refuses_the_tokens_that_a_run_refuses(tmp_path):
    said = "patch 2 makes 268,800 tokens of an image of 800 x 1333 px, more than 262,144"
    for words in ([], ["--dry-run"]):
        with pytest.raises(ConfigError, match=said):
            sweep.main(["coco.adventurer_tiny", "--patch", "4,2", *words, "--results", str(tmp_path / "r")])
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("shapes.deit_nano --export-coco", "task classify has no detections to export"),
        ("shapes.seg_nano --patch 8 --export-coco", "task segment has no detections to export"),
        ("shapes.deit_nano --save-predictions 2", "task classify has no pictures of predictions"),
    ],
)
def test_a_dry_run_refuses_what_a_task_cannot_leave(tmp_path, words, says):
    for more in ([], ["--dry-run"]):
        with pytest.raises(ConfigError, match=says):
            sweep.main([*words.split(), *more, "--results", str(tmp_path / "r")])
    assert not (tmp_path / "r").exists()


def test_outputs_are_those_that_the_tasks_can_make():
    base = TaskModule.draw_predictions
    assert {task for task, its in TASKS.items() if its.draw_predictions is not base} == set(PICTURED)
    assert {task for task, its in TASKS.items() if hasattr(its, "to_coco_results")} == set(EXPORTED)


def test_a_plan_says_what_will_be_refused_and_a_higher_limit_allows_it(capsys, tmp_path, monkeypatch):
    from experiments import plan

    words = ["coco.adventurer_tiny", "--patch", "2", "--gpu", "a100", "--results", str(tmp_path)]
    plan.main(words)
    assert "refused: patch 2 makes 268,800 tokens" in " ".join(capsys.readouterr().out.split())
    monkeypatch.setenv(LIMIT, "268800")
    plan.main(words)
    assert "refused" not in capsys.readouterr().out
    assert sweep.main([*words[:3], "--dry-run", "--results", str(tmp_path)]) == 0


@pytest.mark.parametrize("text", ["many", "-1", "0", "1e6", ""])
def test_a_limit_that_is_no_number_is_one_line(monkeypatch, text):
    monkeypatch.setenv(LIMIT, text)
    with pytest.raises(ConfigError, match=f"{LIMIT} is '{text}'"):
        check_tokens(coco.adventurer_tiny(16))
