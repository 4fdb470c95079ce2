"""The teacher of distillation: a finished run, a file of weights of the student's own backbone, or a model of timm.

K classes.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, cast

import torch
from torch import Tensor, nn

from scaling import costs
from scaling.backbones.checkpoint_io import load_state, read_state_dict
from scaling.backbones.registry import state_for
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import FromFile, FromTeacher
from scaling.config.model import TIMM
from scaling.data.fingerprints import teacher_digest
from scaling.downloads import hub_or_cache
from scaling.engine.counted_flops import counted_flops, flops_of
from scaling.engine.warm_start import load_head, restore
from scaling.errors import ConfigError, first_line
from scaling.preprocessing import Preprocessing, initial_run, preprocessing_of
from scaling.runs.teacher import check_classes, check_names, finished_teacher
from scaling.tasks.base import TaskModule
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.distillation import Distillation, Teacher


class TimmConfig(TypedDict):
    """What is read of the pretrained_cfg of a model of timm."""

    input_size: tuple[int, int, int]  # channels, height, width [px]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def set_teacher(task: TaskModule) -> float:
    """Give the objective distillation of a task its teacher, and the student its weights where it starts from them.
    Returns the FLOPs of the teacher's forward pass of an image; 0: no teacher, or unknown. Raises ConfigError."""
    part = task.config.distillation
    if part is None:
        return 0.0
    objective = cast(Distillation, task.objectives[part.kind])  # BUILDERS made it of part
    if part.teacher_digest and teacher_digest(part.teacher) != part.teacher_digest:  # a run may be resumed much later
        changed = "has other contents than when this run was configured: bring those back, or begin a new run"
        raise ConfigError(f"teacher {part.teacher} {changed}")
    objective.teacher = teacher = load_teacher(part.teacher, task.config, task.names)
    if isinstance(task.config.init, FromTeacher):
        source = f"of the teacher {part.teacher}"
        trained = initial_run(task.config)
        try:
            state = state_for(task.backbone, teacher.state, trained) if trained else teacher.state
            load_state(task.backbone, state, source, task.config.init.pos_embed_resampling)
        except ConfigError as e:
            raise ConfigError(f"init teacher: {e}; use the teacher's backbone, or --init scratch") from e
        load_head(task, teacher.state, source)
    return teacher.flops


def load_teacher(source: str, student: ExperimentConfig, names: Sequence[str] = ()) -> Teacher:
    """source: as Distillation.teacher; names: of the student's classes, where they are known. Raises
    ConfigError where it cannot be read or has other classes."""
    if source.startswith(TIMM):
        return _of_timm(source.removeprefix(TIMM), student.data.num_classes)
    task = _of_run(Path(source)) if Path(source).is_dir() else _of_file(source, student)
    check_classes(source, task.config.data.num_classes, student.data.num_classes)
    check_names(source, task.names, names)
    preprocessing = preprocessing_of(task.config)
    state = dict(task.backbone.checkpoint_module.state_dict())
    state |= {f"head.{name}": tensor for name, tensor in task.head.state_dict().items()}
    flops = float(costs.recipe_flops(task.config) or counted_flops(task))
    return _teacher(_Logits(task), task.config.model.img_size, preprocessing, state, flops)


class _Logits(nn.Module):
    """A trained task as a function of normalised pixels."""

    def __init__(self, task: ClassificationTask) -> None:
        super().__init__()
        self.task = task

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.task.head(self.task.features(image_BCHW))


def _teacher(
    logits: nn.Module, img_size: int, preprocessing: Preprocessing, state: dict[str, Tensor], flops: float
) -> Teacher:
    logits.eval().requires_grad_(False)
    return Teacher(logits, img_size, preprocessing.mean, preprocessing.std, state, flops)


def _of_run(folder: Path) -> ClassificationTask:
    record = finished_teacher(folder)
    config = record.experiment()
    task = ClassificationTask(config, 1, record.class_names)
    restore(task, config, folder)
    return task


def _of_file(source: str, student: ExperimentConfig) -> ClassificationTask:
    """A classifier with the student's backbone, and the patch size, image size and classes of the file's tensors."""
    state = read_state_dict(source)
    kernel, head = state.get("patch_embed.proj.weight"), state.get("head.weight")
    if kernel is None or head is None:
        lacks = "patch_embed.proj.weight" if kernel is None else "head.weight"
        raise ConfigError(f"teacher {source} has no {lacks}: give a classifier, the folder of a run or timm:NAME")
    check_classes(source, len(head), student.data.num_classes)
    # Of another embedding than a convolution, the kernel is not the patch.
    patch = kernel.shape[-1] if student.model.patch_embed.kind == "conv" else student.model.patch_size
    side = student.model.img_size
    if (positions := state.get("pos_embed")) is not None:
        side = patch * math.isqrt(positions.shape[1])  # with or without the class token's
    config = edit(
        replace(student, init=FromFile(initial_checkpoint=source)),
        objectives="supervised",
        img_size=side,
        patch_size=patch,
        stage=None,
    )
    task = ClassificationTask(config, 1)  # with the file's backbone, and the pixels that its weights expect
    names = {f"head.{name}" for name in task.head.state_dict()}
    load_head(task, {name: state[name] for name in names & set(state)}, f"of the teacher {source}")
    return task


def _of_timm(name: str, classes: int) -> Teacher:
    import timm

    try:
        with hub_or_cache():
            model = timm.create_model(name, pretrained=True)
    except Exception as e:  # timm, the hub and safetensors raise many kinds
        raise ConfigError(f"teacher {TIMM}{name}: timm cannot provide it ({first_line(e, 200)})") from e
    cfg = cast(TimmConfig, model.pretrained_cfg)
    check_classes(TIMM + name, cast(int, model.num_classes), classes)
    side = cfg["input_size"][-1]
    flops = flops_of(model, torch.zeros(1, 3, side, side))
    found = Preprocessing(tuple(cfg["mean"]), tuple(cfg["std"]))
    return _teacher(model, side, found, model.state_dict(), float(flops))
