"""Training images that could not be read and were left out while a run was trained."""

from typing import cast

import lightning as L

from scaling.data.batch import Batch
from scaling.engine.distributed import over_devices

STATE = "skipped_images"  # in a checkpoint


class SkippedImages(L.Callback):
    """counts: {"skipped_later": images}, over all devices and all processes of the run, up to the last checkpoint;
    empty where none was skipped."""

    def __init__(self) -> None:
        self.counts: dict[str, float] = {}
        self._skipped_here = 0  # on this device, since the last checkpoint

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        self._skipped_here += batch.skipped

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """Not state_dict: the sum over devices needs the trainer, which calls this on all of them."""
        if skipped := over_devices(trainer, self._skipped_here, "sum"):
            self.counts["skipped_later"] = self.counts.get("skipped_later", 0.0) + skipped
        self._skipped_here = 0
        checkpoint[STATE] = dict(self.counts)

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        self.counts = dict(cast(dict[str, float], checkpoint.get(STATE, {})))
