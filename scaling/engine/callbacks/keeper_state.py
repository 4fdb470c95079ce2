"""Checkpoints of before November 2026, in which one callback, Keeper, had the state of all: they still resume."""

from typing import cast

import lightning as L

from scaling.engine.callbacks.dispatcher import HookDispatcher
from scaling.engine.callbacks.skipped_images import STATE


class KeeperState(L.Callback):
    """Gives the callbacks of today their parts of Keeper's state. Stands before them, under its name."""

    @property
    def state_key(self) -> str:
        return "Keeper"

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        kept = cast(dict[str, dict[str, object]], checkpoint["callbacks"])
        held = kept.pop(self.state_key, None)
        if held is None:
            return
        parts = {
            "RunClock": ("started", "seconds"),
            "ThroughputMonitor": ("train_seconds", "images", "peak_memory"),
            "CurveLogger": ("rows", "row_losses"),
        }
        states: dict[str, object] = {key: {name: held[name] for name in names} for key, names in parts.items()}
        kept[HookDispatcher.state_key] = states
        checkpoint[STATE] = held["skipped"]
