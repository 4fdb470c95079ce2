"""Random numbers of a step follow from seed, step and rank, so that a resumed run draws the same ones."""

from typing import Any

import lightning as L
import torch

from scaling.rng import step_key


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators of the CPU and of this device. torch.manual_seed would queue a call and a formatted stack for
    every kind of device that is not in use: 1 ms of a step, and memory that is never given back."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


class StepSeeder(L.Callback):
    """Seeds torch's generators before every micro-batch (drop path and the like draw from them)."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        seed_generators(step_key(self.seed, trainer.global_step, trainer.global_rank), pl_module.device)
