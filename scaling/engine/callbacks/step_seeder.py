"""Random numbers of a step follow from seed, step and rank, so that a resumed run draws the same ones."""

import lightning as L

from scaling.rng import seed_devices, seed_of


class StepSeeder(L.Callback):
    """Seeds torch's generators before every micro-batch (drop path and the like draw from them)."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        seed_devices(seed_of(self.seed, "step", trainer.global_step, trainer.global_rank), pl_module.device)
