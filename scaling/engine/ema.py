"""An exponential moving average of the weights, kept by Lightning's WeightAveraging and evaluated beside them."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor

from scaling.engine.fsdp import whole


class Averaged(EMAWeightAveraging):
    """The average lives in the checkpoint and nowhere else until `load_average`: the run's own weights are what is
    trained, evaluated on the way and evaluated first at the end."""

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay, use_buffers=False)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pass

    on_validation_epoch_end = on_validation_epoch_start
    on_train_end = on_validation_epoch_start

    def load_average(self, pl_module: Any) -> None:
        """Put the average where the weights were."""
        self._copy_average_to_current(pl_module)


def weights_of(task: Any) -> dict[str, Tensor]:
    """Copies of a task's weights on the CPU, by the keys of the public checkpoints: the backbone's, and head.*."""
    state = {
        **task.backbone.checkpoint_module.state_dict(),
        **{f"head.{k}": v for k, v in task.head.state_dict().items()},
    }
    return {name: whole(tensor.detach()).cpu().clone() for name, tensor in state.items()}
