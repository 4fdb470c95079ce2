"""Checkpoints of before November 2026, in which one callback, Keeper, had the state of all: they still resume."""

from typing import Any

import lightning as L

from scaling.engine.callbacks.dispatcher import HookDispatcher
from scaling.engine.callbacks.skipped_images import STATE


class KeeperState(L.Callback):
    """Gives the callbacks of today their parts of Keeper's state. Stands before them, under its name."""

    @property
    def state_key(self) -> str:
        return "Keeper"

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        held = checkpoint["callbacks"].pop(self.state_key, None)
        if held is None:
            return
        parts = {
            "RunClock": ("started", "seconds"),
            "ThroughputMonitor": ("train_seconds", "images", "peak_memory"),
            "CurveLogger": ("rows", "row_losses"),
        }
        states = {key: {name: held[name] for name in names} for key, names in parts.items()}
        checkpoint["callbacks"][HookDispatcher.state_key] = states
        checkpoint[STATE] = held["skipped"]
