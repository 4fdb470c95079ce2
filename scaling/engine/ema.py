"""Exponential moving average (EMA) of the weights, by Lightning's WeightAveraging; evaluated as well as the raw
ones."""

import lightning as L
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor

from scaling.engine.fsdp import whole
from scaling.tasks.base import TaskModule


class Averaged(EMAWeightAveraging):
    """The average is in checkpoints only until `load_average`: the raw weights are the ones that are trained, evaluated
    during training, and evaluated first at the end."""

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay, use_buffers=False)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pass

    on_validation_epoch_end = on_validation_epoch_start
    on_train_end = on_validation_epoch_start

    def swap(self, pl_module: L.LightningModule) -> None:
        """Exchange the weights and their average; a second call restores both, bit for bit."""
        self._swap_models(pl_module)

    def load_average(self, pl_module: L.LightningModule) -> None:
        """Replace the weights by their average."""
        self._copy_average_to_current(pl_module)


def weights_of(task: TaskModule) -> dict[str, Tensor]:
    """Copies of a task's weights on the CPU, with the keys of public checkpoints: the backbone's, and head.*"""
    state = {
        **task.backbone.checkpoint_module.state_dict(),
        **{f"head.{k}": v for k, v in task.head.state_dict().items()},
    }
    return {name: whole(tensor.detach()).cpu().clone() for name, tensor in state.items()}
