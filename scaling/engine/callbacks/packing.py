"""How full the rows of packed images were in training, and which share of the patches was kept."""

from typing import cast

import lightning as L

from scaling.data.batch import Batch
from scaling.engine.distributed import over_devices

STATE = "packing"  # in a checkpoint
COUNTED = ("images", "rows", "tokens", "places", "kept", "patches")


class PackingCounts(L.Callback):
    """Counts over all devices and all processes of the run, up to the last checkpoint. Batches of equal images, which
    are not packed, have no rows: of them only patches are counted."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(COUNTED, 0.0)
        self._here = dict.fromkeys(COUNTED, 0.0)  # on this device, since the last checkpoint

    @property
    def metrics(self) -> dict[str, float]:
        """padding: share of the places in rows that no image fills [%]; images_per_sequence [1]; tokens_kept: share of
        the patches of all images that were not dropped [%]. Empty for runs without packed images."""
        if not self.counts["places"]:
            return {}
        return {
            "padding": 100 * (1 - self.counts["tokens"] / self.counts["places"]),
            "images_per_sequence": self.counts["images"] / self.counts["rows"],
            "tokens_kept": 100 * self.counts["kept"] / self.counts["patches"],
        }

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        rows = batch.rows
        if rows is None:
            whole = batch.pixels[:, 0].numel() / batch.shape.patch_size**2
            counts = {"kept": whole, "patches": whole}
        else:
            counts = {
                "images": len(rows.grids),
                "rows": len(rows.rows),
                "tokens": sum(rows.lengths),
                "places": len(rows.rows) * rows.row_length,
                "kept": sum(rows.patch_counts),
                "patches": sum(h * w for h, w in rows.grids),
            }
        for name, count in counts.items():
            self._here[name] += count

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """Not state_dict: the sum over devices needs the trainer, which calls this on all of them."""
        for name in COUNTED:
            self.counts[name] += over_devices(trainer, self._here[name], "sum")
            self._here[name] = 0.0
        checkpoint[STATE] = dict(self.counts)

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        self.counts |= cast(dict[str, float], checkpoint.get(STATE, {}))
