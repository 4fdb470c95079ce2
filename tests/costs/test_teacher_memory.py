"""Memory of a teacher by arithmetic beside what torch holds, and its costs in plans, micro-batches and progress."""

import pytest
import torch

from experiments.launch.eta import weight
from experiments.planning.cost_estimate import device, forecast
from scaling import costs
from scaling.config.edit import edit, make_config
from scaling.costs.base import MemoryPolicy
from scaling.costs.training_memory import forward_bytes
from scaling.engine.micro_batch import needed
from scaling.engine.teachers import set_teacher
from scaling.engine.warm_start import save_weights
from scaling.tasks.classification import ClassificationTask
from tests.analysis.test_runs import save
from tests.costs.test_costs_memory import Held, held, noise

IMAGES = 4


@pytest.mark.parametrize(
    ("name", "image", "patch", "images"),
    [
        ("deit_micro", 32, 2, 2),
        ("deit_tiny", 64, 8, 4),
        ("adventurer_nano", 64, 1, 2),  # so many numbers that the mixer computes its own again
        ("adventurer_micro", 32, 2, 8),
    ],
)
def test_a_forward_pass_holds_no_more_than_planned_and_more_than_half(name, image, patch, images):
    config = make_config(backbone=name, img_size=image, patch_size=patch, global_batch_size=images)
    task, batch = ClassificationTask(config, 1).eval(), noise(config, images)
    with Held() as watch, torch.no_grad():
        task.head(task.features(task.normalised(batch.pixels)))
    assert 0.5 < (watch.most + batch.pixels.numel()) / forward_bytes(config, images) <= 1


@pytest.fixture
def teacher(tmp_path):
    """A large teacher, as a run folder, and a small student of it."""
    config = make_config(backbone="deit_micro", img_size=32, patch_size=2, global_batch_size=IMAGES)
    name = save(tmp_path, config)
    net = ClassificationTask(config, 1)
    head = {f"head.{name}": tensor for name, tensor in net.head.state_dict().items()}
    save_weights({"model": {**net.backbone.checkpoint_module.state_dict(), **head}}, tmp_path / name)
    return config, edit(config, backbone="deit_nano", patch_size=8, teacher=str(tmp_path / name))


def test_a_step_with_a_large_teacher_holds_no_more_than_planned(teacher):
    config, student = teacher
    task, alone = ClassificationTask(student, 1), ClassificationTask(edit(student, objectives="supervised"), 1)
    set_teacher(task)
    with Held() as watch:
        task.training_step(noise(student, IMAGES), 0).backward()
    planned = costs.step_bytes(student, IMAGES, teacher=config)
    assert 0.5 < watch.most / planned <= 1
    assert planned > 3 * costs.step_bytes(student, IMAGES) > 2 * held(alone, noise(student, IMAGES))[1]


def test_weights_and_images_of_a_teacher_are_in_plan_micro_batch_and_remaining_time(teacher, tmp_path):
    config, student = teacher
    plain = edit(student, objectives="supervised")
    assert needed(student, IMAGES, False) - needed(plain, IMAGES, False) == (
        4 * costs.recipe_parameters(config)
        + costs.step_bytes(student, IMAGES, teacher=config)
        - costs.step_bytes(student, IMAGES)
    )
    on = device("a100", 1, tmp_path / "none")
    least = [forecast(run, on).least_bytes for run in (student, plain)]
    bf16 = MemoryPolicy(number=2)
    more = costs.step_bytes(student, 1, bf16, config) - costs.step_bytes(plain, 1, bf16)
    assert least[0] - least[1] == 4 * costs.recipe_parameters(config) + more
    taught = 1 + costs.recipe_flops(config) / costs.recipe_step_flops(plain)
    assert weight(student) == pytest.approx(taught * weight(plain))
    assert weight(edit(student, teacher="unknown.pth")) == weight(plain)
