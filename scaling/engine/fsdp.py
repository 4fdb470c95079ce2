"""Fully sharded data parallel training: every device holds its share of each block's weights, gradients and optimiser
state, and gathers a block's weights only while it computes that block (torch's fully_shard, a block at a time)."""

from collections.abc import Iterable
from types import MethodType
from typing import cast

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from scaling.config.experiment import ExperimentConfig
from scaling.errors import ConfigError
from scaling.tasks.base import TaskModule


def sharded_strategy(config: ExperimentConfig, devices: str, num_nodes: int) -> ModelParallelStrategy:
    """Lightning's strategy. devices, num_nodes: as in RuntimeConfig. Raises ConfigError for a recipe with EMA."""
    if config.optim.model_ema_decay:
        raise ConfigError("strategy fsdp does not support EMA; take ddp, or --model-ema-decay none")
    return ModelParallelStrategy(
        data_parallel_size=num_nodes * _count(devices), tensor_parallel_size=1, save_distributed_checkpoint=False
    )


def _count(devices: str) -> int:
    if devices == "auto":
        return max(1, torch.cuda.device_count())
    return int(devices) if devices.isdigit() else len([d for d in devices.split(",") if d.strip()])


def shard_when_built(task: TaskModule) -> None:
    """Have Lightning shard a task as soon as there is a process group."""

    def configure_model(self: TaskModule) -> None:
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        if self.sharded:  # Lightning asks again before an evaluation
            return
        self.sharded, mesh = True, cast(DeviceMesh, self.device_mesh)["data_parallel"]
        # Modules gather their weights when they are called; the task itself never is, its training_step is.
        for module in (*_blocks(self.backbone.checkpoint_module), self.backbone, self.head):
            fully_shard(module, mesh=mesh)
        for name in getattr(self.head, "entry_points", ()):  # methods that use weights, as forward does
            register_fsdp_forward_method(self.head, name)

    task.configure_model = MethodType(configure_model, task)  # type: ignore[method-assign]  # of this task alone


def _blocks(net: nn.Module) -> Iterable[nn.Module]:
    """timm's ViT calls them blocks, Adventurer layers."""
    return cast(Iterable[nn.Module], net.blocks if hasattr(net, "blocks") else net.layers)


def whole(t: Tensor) -> Tensor:
    """A tensor that may be sharded, gathered from all devices."""
    return t.full_tensor() if isinstance(t, DTensor) else t
