"""The loss of fixed training images at another shape of the steps, without a trace in training.

A change of patch or image size changes the loss of the same weights on the same images: a gap of levels, which shows
nothing about stability. What the loss does after the change, at the new shape, is measured apart from it.
"""

from collections.abc import Iterator

import lightning as L
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device

from scaling.config.step_shapes import StepShape
from scaling.data.batch import Batch
from scaling.data.datamodule import ImageDataModule
from scaling.engine.distributed import over_devices
from scaling.rng import SampleKey
from scaling.tasks.base import TaskModule

AFTER = (1, 2, 4, 8, 16, 32)  # steps after a change at which the loss is looked at
AT_CHANGE = 2  # with the shape before and after it
KINDS = ("classify", "segment")  # of tasks: the loss of detection draws boxes


def probe_loss(trainer: L.Trainer, task: TaskModule, data: ImageDataModule, shape: StepShape, images: int) -> float:
    """Mean loss of the first `images` training images against their labels, in their first views, by the model in
    evaluation mode [nats]. All devices have to call; each takes a share."""
    modes = [(module, module.training) for module in task.modules()]
    task.eval()
    total = count = 0.0
    try:
        # Not inference_mode: a tensor that a module caches there could not be used in training.
        with torch.no_grad(), trainer.precision_plugin.val_step_context():
            for batch in _batches(trainer, data, shape, images):
                batch = TaskModule.training_batch(task, move_data_to_device(batch, task.device))
                total += len(batch) * task.supervised_loss(batch, task.training_outputs(batch)[1]).item()
                count += len(batch)
    finally:
        for module, training in modes:
            module.training = training
    return over_devices(trainer, total, "sum") / over_devices(trainer, count, "sum")


def _batches(trainer: L.Trainer, data: ImageDataModule, shape: StepShape, images: int) -> Iterator[Batch]:
    """This device's share of the images, as many at a time as training takes."""
    size = data.size_of(shape)
    at_a_time = max(1, size.images // trainer.world_size // size.micro_batches)
    mine = range(trainer.global_rank, images, trainer.world_size)
    for begin in range(0, len(mine), at_a_time):
        yield data.train_set.get_batch([SampleKey(0, i) for i in mine[begin : begin + at_a_time]], shape)
