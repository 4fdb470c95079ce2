"""Lightning's Trainer for a run, and what else depends on the machine alone: threads, precision, speed options."""

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, cast

import lightning as L
import torch
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

from scaling.config.at_shape import mixes_patches, shapes_of
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import SequencePacking
from scaling.config.patch_embeds import AdaptivePatchEmbed
from scaling.config.runtime import RuntimeConfig
from scaling.costs.conditions import threads_for
from scaling.costs.hardware import usable_cores
from scaling.data.datamodule import ImageDataModule
from scaling.engine import evaluation_steps
from scaling.engine.checkpoint_files import CheckpointFiles
from scaling.engine.environment import uses_cuda
from scaling.engine.fsdp import shard_when_built, sharded_strategy
from scaling.errors import ConfigError, first_line
from scaling.tasks.base import TaskModule

Precision = Literal["32-true", "bf16-mixed"]


class Recomputing(Protocol):
    """A model of timm, or one with its methods."""

    def set_grad_checkpointing(self, enable: bool = True) -> None: ...


def make_trainer(
    config: ExperimentConfig,
    settings: RuntimeConfig,
    callbacks: Sequence[L.Callback],
    data: ImageDataModule,
    folder: Path,
) -> L.Trainer:
    """Lightning's Trainer as every run has it. Raises ConfigError where there is no such accelerator or device."""
    every = evaluation_steps.steps_between(config, data)
    if not torch.cuda.is_available():
        # Lightning has torch look for GPUs by NVML, which torch's optimizers do at every step: where there is none, its
        # library is searched for again each time (80 us of steps that take 4 ms).
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    try:
        return L.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices if not settings.devices.isdigit() else int(settings.devices),
            precision=precision_of(config.precision, settings.accelerator),
            max_epochs=-1,
            max_steps=data.total_steps,
            num_nodes=settings.num_nodes,
            strategy=sharded_strategy(config, settings.devices, settings.num_nodes)
            if settings.strategy == "fsdp"
            else settings.strategy,
            gradient_clip_val=config.optim.max_grad_norm or None,
            val_check_interval=every or None,  # in micro-batches, once it is known how many a step has
            check_val_every_n_epoch=None,
            limit_val_batches=1.0 if every else 0,
            num_sanity_val_steps=0,
            callbacks=list(callbacks),
            plugins=[CheckpointFiles(), *_slurm()],
            # Under SLURM Lightning resumes from any hpc_ckpt_*.ckpt there. This folder is never made: runs are resumed
            # from their own folders alone.
            default_root_dir=folder / "lightning",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    except (ValueError, RuntimeError, L.fabric.utilities.exceptions.MisconfigurationException) as e:
        raise ConfigError(f"accelerator {settings.accelerator}, devices {settings.devices}: {first_line(e)}") from e


def _slurm() -> list[SLURMEnvironment]:
    """Lightning's way to work under srun, where that started this process, without a checkpoint and a requeueing of its
    own at SIGUSR1. torchrun comes first: it may have been started by srun itself."""
    wanted = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [SLURMEnvironment(auto_requeue=False)] if wanted else []


def precision_of(wanted: str, accelerator: str) -> Precision:
    """Lightning's name of a recipe's precision; "auto": bf16 where the GPU has it."""
    gpu = uses_cuda(accelerator)
    if wanted == "auto":
        return "bf16-mixed" if gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    return "32-true" if wanted == "32" else cast(Precision, wanted)


def useful_threads(config: ExperimentConfig, max_parallel_runs: int = 1) -> int:
    """CPU threads for a recipe on this machine."""
    return threads_for(config, usable_cores(), max_parallel_runs)


def apply_speed_options(module: TaskModule, settings: RuntimeConfig) -> None:
    """Options that make steps faster or smaller, and change a step's numbers in their last bits only. Raises
    ConfigError where a run cannot have one."""
    if settings.compile and len(shapes := shapes_of(module.config)) > 1:
        raise ConfigError(
            f"compile is for steps of one shape, and this run has {len(shapes)}, each of which would be compiled: "
            "leave out --compile"
        )
    if settings.compile and isinstance(module.config.packing, SequencePacking):
        raise ConfigError("compile is for steps of one shape, and rows of packed images have many: leave out --compile")
    if settings.grad_checkpointing and module.config.model.norm != "layer":
        raise ConfigError(
            f"norm {module.config.model.norm} would count each batch twice where blocks are computed again: leave out "
            "--grad-checkpointing"
        )
    if settings.compile and isinstance(module.config.model.patch_embed, AdaptivePatchEmbed):
        raise ConfigError("compile is for steps of one shape, and adaptive patches have many: leave out --compile")
    if settings.grad_checkpointing:
        cast(Recomputing, module.backbone.checkpoint_module).set_grad_checkpointing(True)
    if settings.channels_last:
        module.to(memory_format=torch.channels_last)
        module.channels_last = True
    if settings.strategy == "fsdp" and mixes_patches(module.config):
        raise ConfigError(
            "with patch_per image devices may draw different numbers of patch sizes, and fsdp has them compute in "
            "step: set --strategy ddp"
        )
    if settings.strategy == "fsdp":
        shard_when_built(module)
    if settings.compile:
        module.backbone.compile()


def hush() -> None:
    """For programs: keep Lightning's advice on loaders, loggers and accelerators off the user's terminal."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "does not have many workers",
        "treespec",
        "`IterableDataset` has `__len__`",
        "is not resumable",
        "across ranks is zero",  # of runs of no epochs
        "returned a view tensor",
        "The `srun` command is available",
    ):
        warnings.filterwarnings("ignore", message=f".*{message}.*")
