"""Weights that a finished run leaves, and how another run starts from them."""

from pathlib import Path

import torch
from torch import Tensor

from scaling.backbones.base import Backbone
from scaling.backbones.checkpoint_io import check_fit, load_state, read_state_dict
from scaling.backbones.patch_embed import KERNEL
from scaling.backbones.registry import state_for
from scaling.backbones.resampling import resize_kernel
from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import FromFile, FromRun, FromTimm
from scaling.errors import ConfigError
from scaling.runs.atomic_files import atomic, damage_of
from scaling.runs.predecessor import find_start
from scaling.runs.record import RECORD, WEIGHTS
from scaling.tasks.base import TaskModule

SUFFIXES = {"raw": "raw", "ema": "averaged"}  # of metrics, where a run has both kinds of weights
KEYS = {"raw": "model", "ema": "model_ema"}  # in a weights file: those of the released checkpoints


def save_weights(weights: dict[str, dict[str, Tensor]], folder: Path) -> None:
    """Write folder/weights.pt, all of it or nothing. weights: state dicts by KEYS; timm and --weights read the file."""
    with atomic(folder / WEIGHTS) as file:
        torch.save(weights, file)


def start_from(task: TaskModule, config: ExperimentConfig, results: Path) -> None:
    """Load the reported weights of the run that a task starts from, if any. Positions are resampled, and the patch
    kernel where the patch size differs; the head is loaded too where that run has the same task. Or load the head of a
    file or of timm, where the recipe wants it. Raises ConfigError."""
    init = config.init
    if isinstance(init, FromFile | FromTimm) and init.load_head:
        head = task.initial_head
        classes = len(head["head.weight"]) if "head.weight" in head else 0
        if classes != config.data.num_classes:
            found = f"a head of {classes} classes, the data {config.data.num_classes}" if classes else "no head.weight"
            raise ConfigError(f"load_head: weights {init.source} have {found}; leave out --load-head for a new head")
        load_head(task, head, init.source)
    before, folder = config.predecessor, find_start(config, results)
    if before is not None and folder is not None:
        assert isinstance(init, FromRun)  # of a run with a predecessor
        same_task = before.task.kind == config.task.kind
        restore(task, before, folder, init.pos_embed_resampling, init.patch_embed_resampling, head=same_task)


def restore(
    task: TaskModule,
    trained: ExperimentConfig,
    folder: Path,
    pos_embed_resampling: str = "aligned",
    patch_embed_resampling: str | None = None,
    head: bool = True,
) -> None:
    """Load the reported weights of the run of `trained` into a task. pos_embed_resampling: as for load_state;
    patch_embed_resampling: as for restore_backbone; head: load the head too. Raises ConfigError where the file is
    damaged or does not fit."""
    state = restore_backbone(task.backbone, trained, folder, pos_embed_resampling, patch_embed_resampling)
    if head:
        load_head(task, state, str(folder / WEIGHTS))


def load_head(task: TaskModule, state: dict[str, Tensor], source: str) -> None:
    """Load the head of a task from the tensors head.* of a checkpoint. source: named in errors. Raises ConfigError
    where they do not fit."""
    own = {name.removeprefix("head."): t for name, t in state.items() if name.startswith("head.")}
    check_fit(own, task.head.state_dict(), f"{source} (head)")
    task.head.load_state_dict(own)


def restore_backbone(
    backbone: Backbone,
    trained: ExperimentConfig,
    folder: Path,
    pos_embed_resampling: str = "aligned",
    patch_embed_resampling: str | None = None,
) -> dict[str, Tensor]:
    """The same for a backbone alone. patch_embed_resampling: how the patch kernel is resized (resampling.py); None: as
    the backbone does it. Returns all tensors of the file."""
    source = folder / WEIGHTS
    if damage := damage_of(source):
        again = f"delete {folder / RECORD}, and the run's command writes it again from its last checkpoint"
        raise ConfigError(f"{source} is damaged ({damage}); {again}")
    state = read_state_dict(str(source), (KEYS[trained.evaluation.eval_weights],))
    own = state_for(backbone, state, trained)
    if patch_embed_resampling is not None:
        own = {**own, KERNEL: resize_kernel(own[KERNEL], backbone.stride, patch_embed_resampling)}
    load_state(backbone, own, str(source), pos_embed_resampling)
    return state
