"""A student is trained on the logits of a fixed teacher, which leaves no trace in what is saved."""

import re
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from analysis.planning.pareto import training_flops
from analysis.records.run_set import load
from experiments.planning.cost_estimate import device, forecast
from experiments.planning.plan_report import teacher_lines
from scaling import inference
from scaling.config.edit import edit, make_config
from scaling.config.runtime import RuntimeConfig
from scaling.costs import flops, recipe_flops
from scaling.data.batch import normalise
from scaling.data.datamodule import ImageDataModule
from scaling.data.fingerprints import with_fingerprints
from scaling.engine import teachers
from scaling.engine.teachers import load_teacher, set_teacher
from scaling.engine.train import train
from scaling.errors import ConfigError, TrainingInterrupted
from scaling.runs.record import WEIGHTS
from scaling.runs.teacher import check_names
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.distillation import divergence

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, micro_batch_size=8)
SHORT = {"num_train": 16, "epochs": 1, "num_val": 2, "drop_path": 0.0}


def reference(student_BK, teacher_BK, t):
    """The formula of the paper, one image and one class at a time."""
    total = 0.0
    for student_K, teacher_K in zip(student_BK, teacher_BK, strict=True):
        log_s, log_t = log_softmax(student_K / t), log_softmax(teacher_K / t)
        total += sum(np.exp(a) * (a - b) for a, b in zip(log_t, log_s, strict=True))
    return t**2 * total / len(student_BK)


def batch_of(config):
    data = ImageDataModule(config)
    data.setup()
    return next(iter(data.train_dataloader()))


@pytest.fixture
def teacher(tiny, trained):
    """A finished run and its folder."""
    config = edit(tiny, **SHORT)
    return config, str(trained(config) / config.run_id)


def taught(config, folder, **given):
    task = ClassificationTask(edit(config, teacher=folder, **given), 10)
    set_teacher(task)
    return task


@pytest.mark.parametrize("t", [0.5, 1.0, 4.0])
def test_the_divergence_is_that_of_the_formula_and_not_its_reverse(t):
    z = np.random.default_rng(0).normal(size=(2, 5, 7))
    student, teacher = map(torch.tensor, z)
    assert divergence(student, teacher, t).item() == pytest.approx(reference(*z, t), rel=1e-12)
    assert divergence(student, teacher, t).item() != pytest.approx(reference(*z[::-1], t), rel=1e-3)
    assert divergence(student, student, t).item() == 0


def test_the_gradient_of_small_logits_hardly_depends_on_the_temperature():
    gradients = []
    for t in (1.0, 2.0):
        student, teacher = 0.01 * torch.randn(2, 8, 10, generator=torch.Generator().manual_seed(0)).double()
        divergence(student.requires_grad_(), teacher, t).backward()
        gradients.append(student.grad)
    assert torch.allclose(*gradients, rtol=0.05, atol=1e-6)


@pytest.mark.parametrize("backbone", ["deit_nano", "adventurer_nano"])
@pytest.mark.parametrize("mixed", [{}, {"mixup": 0.8, "cutmix": 1.0}])
def test_a_student_that_starts_from_its_teacher_has_a_loss_of_exactly_0(tiny, trained, backbone, mixed):
    config = edit(tiny, **SHORT, backbone=backbone)
    task = taught(edit(config, **mixed), str(trained(config) / config.run_id), init="teacher", seed=1)
    assert task.training_step(batch_of(task.config), 0).item() == 0
    other = taught(edit(config, **mixed), str(trained(config) / config.run_id), seed=1)
    assert other.training_step(batch_of(task.config), 0).item() > 0


@pytest.mark.parametrize("backbone", ["deit_nano", "adventurer_nano"])
def test_a_student_of_another_patch_starts_from_the_resampled_teacher(tiny, trained, backbone):
    config = edit(tiny, **SHORT, backbone=backbone)
    folder = trained(config) / config.run_id
    student = taught(edit(config, patch_size=4, seed=1), str(folder), init="teacher")
    loaded = ClassificationTask(edit(config, patch_size=4, initial_checkpoint=str(folder)), 1)
    for name, tensor in loaded.backbone.state_dict().items():
        assert torch.equal(student.backbone.state_dict()[name], tensor)
    assert torch.equal(student.head.weight, load_teacher(str(folder), config).state["head.weight"])


def test_micro_batches_change_nothing_but_rounding(teacher, tmp_path, doubles):
    config, folder = teacher
    student = edit(config, teacher=folder, seed=1, mixup=0.8, distil_weight=0.5)
    sizes = {n: train(student, tmp_path / str(n), replace(CPU, micro_batch_size=n)).test_loss for n in (4, 8, 16)}
    assert sizes[4] == pytest.approx(sizes[16], rel=1e-9)
    assert sizes[8] == pytest.approx(sizes[16], rel=1e-9)


def test_the_supervised_loss_has_the_weight_that_is_left(teacher):
    config, folder = teacher
    task = taught(config, folder, distil_weight=0.25, temperature=2.0, seed=1)
    batch = batch_of(config)
    loss = task.training_step(batch, 0)
    terms = task.objective_losses
    assert loss.item() == pytest.approx(0.75 * terms["supervised"].item() + 0.25 * terms["distillation"].item())
    alone = ClassificationTask(edit(config, seed=1), 10).training_step(batch, 0)
    assert torch.equal(terms["supervised"], alone)


def test_the_teacher_sees_the_mixed_view_with_its_own_normalisation_and_size(teacher, monkeypatch):
    config, folder = teacher
    task = taught(edit(config, mixup=0.8, img_size=32), folder, seed=1)
    task.backbone.mean, task.backbone.std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    seen = []
    own = task.objectives["distillation"].teacher
    own.logits.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    batch = batch_of(task.config)
    task.training_step(batch, 0)
    assert seen[0].shape[-2:] == (16, 16)
    mixed = task.training_batch(batch).pixels  # the same random numbers: of the same step
    std, mean = (torch.tensor(v).view(1, 3, 1, 1) for v in (task.backbone.std, task.backbone.mean))
    shown = torch.nn.functional.interpolate(255 * (mixed * std + mean), (16, 16), mode="bicubic", antialias=True)
    assert torch.allclose(seen[0], normalise(shown, own.mean, own.std), atol=1e-4)


def test_training_leaves_the_teacher_as_it_was_and_no_trace_of_it(teacher, tmp_path):
    config, folder = teacher
    student = edit(config, teacher=folder, seed=1, epochs=2, drop_path=0.2, patch_size=4, model_ema_decay=0.9)
    plain = ClassificationTask(edit(config, patch_size=4), 10)
    task = ClassificationTask(student, 10)
    before = {name: t.clone() for name, t in load_teacher(folder, student).state.items()}
    set_teacher(task)
    own = task.objectives["distillation"].teacher
    assert not own.logits.training
    for group in task.configure_optimizers()["optimizer"].param_groups:
        assert not {id(p) for p in group["params"]} & {id(p) for p in own.logits.parameters()}
    for _ in range(10):
        task.training_step(batch_of(student), 0).backward()
    assert all(torch.equal(t, own.state[name]) for name, t in before.items())
    assert all(p.grad is None for p in own.logits.parameters())
    assert task.state_dict().keys() == plain.state_dict().keys()
    record = train(student, tmp_path, CPU)
    saved = torch.load(tmp_path / record.run_id / WEIGHTS, weights_only=True)
    names = {name for name in plain.state_dict() if "top" not in name}
    assert len(saved["model"]) == len(saved["model_ema"]) <= len(names)
    assert record.parameters == sum(p.numel() for p in plain.parameters() if p.requires_grad)
    assert record.teacher_flops_per_image == load_teacher(folder, student).flops > 0


def test_a_run_that_was_interrupted_ends_with_the_same_bits(teacher, tmp_path):
    config, folder = teacher
    student = edit(config, teacher=folder, seed=1, num_train=32, epochs=2, mixup=0.8)
    whole = train(student, tmp_path / "whole", CPU)

    def interrupt(event):
        if event.kind == "train" and event.progress.step == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingInterrupted):
        train(student, tmp_path / "cut", CPU, interrupt)
    assert train(student, tmp_path / "cut", CPU).test_loss == whole.test_loss


def test_a_file_is_a_teacher_at_its_own_patch_and_image_size(teacher):
    config, folder = teacher
    student = edit(config, img_size=32, patch_size=4)
    pixels = torch.randn(2, 3, 32, 32)
    by_run, by_file = load_teacher(folder, student), load_teacher(f"{folder}/{WEIGHTS}", student)
    assert by_file.img_size == by_run.img_size == 16
    assert torch.equal(by_file(pixels, by_run.mean, by_run.std), by_run(pixels, by_run.mean, by_run.std))


def test_a_model_of_timm_is_a_teacher(tiny, monkeypatch):
    import timm

    real = timm.create_model
    made = real("vit_tiny_patch16_224", num_classes=3)
    monkeypatch.setattr("timm.create_model", lambda name, pretrained: made)
    student = edit(tiny, teacher="timm:vit_tiny_patch16_224")
    found = load_teacher("timm:vit_tiny_patch16_224", student)
    assert (found.img_size, found.mean) == (224, (0.5, 0.5, 0.5))
    pixels = torch.randn(1, 3, 224, 224)
    assert torch.equal(found(pixels, found.mean, found.std), made(pixels))
    assert found.flops == flops("deit_tiny", 224, 16, 3)
    task = taught(edit(tiny, backbone="deit_tiny"), "timm:vit_tiny_patch16_224", init="teacher")
    assert torch.equal(task.head.weight, made.head.weight)
    assert torch.equal(task.backbone.checkpoint_module.blocks[3].mlp.fc1.weight, made.blocks[3].mlp.fc1.weight)
    assert student.run_id != edit(student, teacher="timm:vit_small_patch16_224").run_id


def test_the_identity_of_a_teacher_is_its_contents(teacher, tmp_path):
    config, folder = teacher
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    configs = [edit(config, teacher=str(path)) for path in (folder, moved)]
    assert configs[0].run_id != configs[1].run_id  # before the contents are known
    here, there = with_fingerprints(configs, tmp_path).values()
    assert here.run_id == there.run_id != config.run_id
    assert here.from_dict(here.to_dict()).run_id == here.run_id
    assert edit(here, patch_size=4).group == here.group
    other = tmp_path / "other.pt"
    other.write_bytes(b"other")
    (changed,) = with_fingerprints([edit(config, teacher=str(other))], tmp_path).values()
    assert changed.run_id != here.run_id


def test_a_run_is_not_resumed_with_a_teacher_whose_contents_have_changed(teacher, tmp_path):
    config, folder = teacher
    shutil.copytree(folder, tmp_path / "teacher")
    (student,) = with_fingerprints([edit(config, teacher=str(tmp_path / "teacher"))], tmp_path).values()
    other = torch.load(tmp_path / "teacher" / WEIGHTS, weights_only=True)
    other["model"]["head.bias"] += 1
    torch.save(other, tmp_path / "teacher" / WEIGHTS)
    with pytest.raises(ConfigError, match="has other contents than when this run was configured"):
        train(student, tmp_path / "results", CPU)
    assert not (tmp_path / "results").exists()


def test_a_finished_run_needs_no_teacher_any_more_and_a_moved_one_changes_nothing(teacher, tmp_path):
    config, folder = teacher
    shutil.copytree(folder, tmp_path / "here")
    student = edit(config, teacher=str(tmp_path / "here"), seed=1)
    record = train(student, tmp_path / "results", CPU)
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert train(student, tmp_path / "results", CPU).ended == record.ended
    assert train(edit(student, teacher=str(tmp_path / "there")), tmp_path / "results", CPU).ended == record.ended
    shutil.rmtree(tmp_path / "there")
    used = inference.load(tmp_path / "results" / record.run_id)
    assert used.module(torch.zeros(1, 3, 16, 16, dtype=torch.uint8)).shape == (1, 3)


def test_a_run_and_its_file_are_different_teachers_as_a_run_may_report_averaged_weights(tiny, trained):
    config = edit(tiny, **{**SHORT, "epochs": 3}, model_ema_decay=0.5, eval_weights="ema")
    folder = trained(config) / config.run_id
    sources = [str(folder), str(folder / WEIGHTS)]
    run, file = (load_teacher(source, config).state["norm.weight"] for source in sources)
    assert not torch.equal(run, file)
    found = with_fingerprints([edit(config, teacher=source) for source in sources], folder.parent).values()
    assert len({one.run_id for one in found}) == 2


def test_a_teacher_with_stochastic_depth_has_none(tiny, trained):
    config = edit(tiny, **{**SHORT, "drop_path": 0.5})
    task = taught(edit(config, drop_path=0.0), str(trained(config) / config.run_id), init="teacher", seed=1)
    assert task.training_step(batch_of(config), 0).item() == 0


def test_a_file_from_timm_has_the_normalisation_of_timm(tiny, monkeypatch, tmp_path):
    task = ClassificationTask(edit(tiny, **SHORT), 1)
    state = dict(task.backbone.checkpoint_module.state_dict())
    state |= {f"head.{name}": tensor for name, tensor in task.head.state_dict().items()}
    torch.save(state, tmp_path / "held.pth")
    source = "hf:timm/vit_base_patch16_224.augreg_in1k/held.pth"
    monkeypatch.setattr("scaling.backbones.checkpoint_io.fetched", lambda address: tmp_path / "held.pth")
    assert load_teacher(source, edit(tiny, **SHORT)).mean == (0.5, 0.5, 0.5)


def test_what_cannot_teach_is_refused_in_a_line_and_nothing_is_written(teacher, tmp_path):
    config, folder = teacher
    empty = tmp_path / "unfinished"
    empty.mkdir()
    cases = {
        "no such file or folder; give a run": {"teacher": str(tmp_path / "none.pth")},
        "is no finished run": {"teacher": str(empty)},
        "init teacher: these weights are 48 channels": {"teacher": folder, "init": "teacher", "backbone": "deit_tiny"},
    }
    for said, given in cases.items():
        with pytest.raises(ConfigError, match=said) as caught:
            train(edit(config, **given), tmp_path / "results", CPU)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "results").exists()
    for source in (folder, f"{folder}/{WEIGHTS}"):
        with pytest.raises(ConfigError, match="has 3 classes, the student 10: choose a teacher of its classes"):
            load_teacher(source, edit(config, num_classes=10))


def test_classes_in_another_order_are_refused():
    check_names("t", ["cat", "dog"], ["Katze", "dog"])
    check_names("t", ["cat", "dog"], ["0", "1"])  # the student's have no names
    with pytest.raises(ConfigError, match="class dog is number 1 for the teacher t and 0 for the student"):
        check_names("t", ["ant", "dog"], ["dog", "ewe"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"task": "segment", "teacher": "t", "num_classes": 13}, "distillation is of class logits: the task segment"),
        ({"init": "teacher"}, "init teacher needs a teacher"),
        ({"objectives": "distillation"}, "distillation needs teacher: set --teacher"),
        ({"temperature": 2.0}, "temperature does not apply to objectives supervised"),
        ({"teacher": ""}, "teacher '' is empty"),
        ({"teacher": "t", "temperature": 0.0}, "temperature 0.0 must be above 0"),
        ({"teacher": "t", "distil_weight": 1.5}, r"distil_weight 1.5 must be in \(0, 1\]"),
        ({"teacher": "t", "objectives": "distillation", "distil_weight": 0.5}, "add supervised, or set 1"),
    ],
)
def test_a_configuration_that_does_not_fit_together_is_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        make_config(**given)


def test_a_teacher_adds_distillation_to_the_objectives():
    config = make_config(teacher="t", temperature=2.0)
    assert [one.kind for one in config.objectives] == ["supervised", "distillation"]
    assert edit(config, distil_weight=0.5).distillation.temperature == 2.0
    assert edit(config, teacher="other").distillation.teacher == "other"
    assert edit(config, objectives="supervised") == make_config()
    assert re.match("[0-9a-f]{8}$", config.run_id[-8:])
    assert teachers.set_teacher(ClassificationTask(make_config(patch_size=8), 1)) == 0


def test_plans_records_and_training_flops_count_the_teacher(teacher, tmp_path):
    config, folder = teacher
    student = edit(config, teacher=folder, seed=1, patch_size=16)
    own, teachers_own = recipe_flops(student), recipe_flops(config)
    record = train(student, tmp_path, CPU)
    assert (record.flops_per_image, record.teacher_flops_per_image) == (own, teachers_own)
    assert training_flops(load(tmp_path).frame).item() == (3 * own + teachers_own) * 16
    on = device("", 1, tmp_path / "none")
    plain, taught = forecast(edit(student, objectives="supervised"), on), forecast(student, on)
    assert taught.epoch_flops == (3 * own + teachers_own) * 16
    assert taught.hours / plain.hours == pytest.approx(1 + teachers_own / (3 * own))
    by_file = edit(student, teacher=f"{folder}/{WEIGHTS}")
    assert forecast(by_file, on).epoch_flops == plain.epoch_flops
    lines = teacher_lines([forecast(by_file, on), taught])
    assert "unknown before training; FLOPs, memory and hours are without it" in lines[0]
    assert "GFLOPs per image, in FLOPs, memory and hours" in lines[1]
