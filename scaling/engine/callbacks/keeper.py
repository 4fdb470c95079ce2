"""Keeper: the one callback of a run. Checkpoints, the curve, progress, the check of the loss, and stopping cleanly."""

import csv
import io
import math
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from scaling.data.datamodule import ImageDataModule
from scaling.engine import checkpoint_files, evaluation_steps
from scaling.engine.callbacks.signals import catch, release
from scaling.engine.distributed import is_first_process
from scaling.errors import NonFiniteLossError, TrainingInterrupted
from scaling.recipe import Recipe
from scaling.rng import seed_devices, seed_of
from scaling.runs.atomic_files import write_atomically
from scaling.runs.environment import Memory
from scaling.runs.events import Event, Progress
from scaling.runs.record import CHECKPOINT, CURVE, LOG
from scaling.tasks.optim import lr_share

COLUMNS = ("step", "epoch", "lr", "train_loss", "test_loss", "seconds")
REPORT_SECONDS = 0.2  # between two "train" events
CURVE_SECONDS = 5.0  # between two writings of curve.csv
AGREE_STEPS = 8  # between two times that devices ask each other whether to save or to stop
CURVE_ROWS = 200  # of training loss, about, in a whole run


class Keeper(L.Callback):
    """Keeps a run's folder in step with the run. What must outlast a cut goes into the checkpoint (state_dict)."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        data: ImageDataModule,
        checkpoint_minutes: float,
        report: Callable[[Event], None],
        memory: Memory,
        loggers: Sequence[Any] = (),
    ) -> None:
        self.loggers = loggers
        self.recipe, self.folder, self.data, self.report = recipe, folder, data, report
        self.memory, self._earlier_peak = memory, 0
        self.checkpoint_seconds = 60 * checkpoint_minutes
        self.started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.columns = (*COLUMNS, *(["val_loss"] if recipe.val_split else []))
        self.rows: list[list[Any]] = []
        self.skipped: dict[str, float] = {}  # over all devices, up to the last checkpoint
        self._skipped_here = 0  # on this device, since then
        self.train_seconds, self.images, self.earlier_seconds = 0.0, 0, 0.0
        self._begun = self._saved = self._reported = self._written = time.monotonic()
        self._row_losses: list[Tensor | float] = []  # since the curve's last row
        self._step_loss, self._micro_batches = torch.tensor(0.0), 0  # of the step at hand, so far
        self._window_start, self._window_images = self._begun, 0  # since the last report
        self._rate, self._shown_loss = 0.0, math.nan
        self._pending: tuple[int, Tensor] | None = None
        self._stop: signal.Signals | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def begin(self) -> None:
        """The run's time is counted from here on."""
        self.started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._begun = time.monotonic()

    # What outlasts a cut

    def state_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "skipped": self.skipped,
            "started": self.started,
            "train_seconds": self.train_seconds,
            "images": self.images,
            "seconds": self.wall_time(),
            "peak_memory": self.peak_memory,
            "row_losses": [loss.item() if isinstance(loss, Tensor) else loss for loss in self._row_losses],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.skipped, self.started = state_dict["rows"], state_dict["skipped"], state_dict["started"]
        self.train_seconds, self.images = state_dict["train_seconds"], state_dict["images"]
        self.earlier_seconds, self._earlier_peak = state_dict["seconds"], state_dict["peak_memory"]
        self._row_losses = state_dict["row_losses"]

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["run_id"] = self.recipe.run_id

    # Training

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._handlers = catch(self._ask_to_stop)  # after a step, not in it
        self._saved = self._window_start = self._reported = time.monotonic()
        self.report(Event("train", self.progress(trainer)))

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Drop path and the like: random numbers follow from seed, step and rank, so a resumed run has the same.
        seed_devices(seed_of(self.recipe.seed, "step", trainer.global_step, trainer.global_rank), pl_module.device)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step, now = trainer.global_step, time.monotonic()
        # Lightning has divided each micro-batch's loss by their number.
        self._step_loss = outputs["loss"].detach() + (self._step_loss if self._micro_batches else 0)
        self._micro_batches += 1
        self._window_images += len(batch) * trainer.world_size
        self._skipped_here += batch.skipped
        if self._micro_batches < self.data.micro_batches:
            return
        self._micro_batches, loss = 0, self._step_loss
        ends_epoch = step % self.data.steps_per_epoch == 0 or step == self.data.total_steps
        if trainer.world_size == 1:
            self._check(step, loss)
        elif ends_epoch or step % AGREE_STEPS == 0:  # together: one that leaves alone lets the others wait for it
            self._raise_unless_finite(step, _over_devices(trainer, loss.item(), "mean"))
        self._row_losses.append(loss)
        if self._stop or ends_epoch or now - self._reported > REPORT_SECONDS:
            self._report(trainer, loss, now)
        if ends_epoch or step % self._row_every == 0:
            self._add_row(step, self._lr(step), self._row_loss(trainer), "")
            self._row_losses = []
            if now - self._written > CURVE_SECONDS:
                self.write_curve()
        if ends_epoch:
            self._log(trainer, f"training loss {self.rows[-1][3]:.4f}, {self._rate:.0f} images/s")
        # Before an evaluation nothing is saved, but once it is done: a resumed run would leave it out.
        if not evaluation_steps.follows(step, self.recipe, self.data):
            self._save_or_stop(trainer, now, ends_epoch)

    def _save_or_stop(self, trainer: L.Trainer, now: float, ends_epoch: bool) -> None:
        stop, due = self._stop is not None, now - self._saved > self.checkpoint_seconds
        if trainer.world_size > 1:  # clocks differ and signals come when they come: what one wants, all do
            if trainer.global_step % AGREE_STEPS and not ends_epoch:
                return
            stop, due = (trainer.strategy.reduce_boolean_decision(wish, all=False) for wish in (stop, due))
        if stop or ends_epoch or due:
            self._save(trainer)
        if stop:
            raise TrainingInterrupted(self._stop.name if self._stop else "another process was asked to")

    @property
    def _row_every(self) -> int:
        return max(1, self.data.total_steps // CURVE_ROWS)

    def _check(self, step: int, loss: Tensor | None) -> None:
        """Raise NonFiniteLossError. On a GPU one step late, so that it never waits for the step in flight."""
        now = None if loss is None else (step, loss)
        wait = loss is None or loss.is_cuda
        due, self._pending = (self._pending, now) if wait else (now, None)
        if due is not None:
            self._raise_unless_finite(due[0], due[1].item())

    def _raise_unless_finite(self, step: int, loss: float) -> None:
        if not math.isfinite(loss):
            raise NonFiniteLossError(step, self._lr(step), loss)

    def _lr(self, step: int) -> float:
        """The learning rate that step number `step` (from 1) was made with."""
        return self.recipe.peak_lr * lr_share(self.recipe, step - 1, self.data.total_steps)

    def _report(self, trainer: L.Trainer, loss: Tensor, now: float) -> None:
        """Say where the run is, and count the time and the images since that was last said."""
        spent = now - self._window_start
        self.train_seconds += spent
        self.images += self._window_images
        rate = self._window_images / spent
        self._rate = 0.8 * self._rate + 0.2 * rate if self._rate else rate
        self._window_images, self._window_start, self._reported = 0, now, now
        self._shown_loss = loss.item()
        self.report(Event("train", self.progress(trainer)))

    def _row_loss(self, trainer: L.Trainer) -> float:
        """Mean training loss since the last row of the curve [nats], over all devices; the same to the last bit for a
        resumed run."""
        losses = [loss.item() if isinstance(loss, Tensor) else loss for loss in self._row_losses]
        return _over_devices(trainer, sum(losses) / len(losses), "mean")

    def _ask_to_stop(self, wanted: signal.Signals) -> None:
        self._stop = wanted

    def _log(self, trainer: L.Trainer, text: str) -> None:
        """A line in the run's log.txt: when, where the run is, and text. A log is not worth a run."""
        step, steps = trainer.global_step, self.data.total_steps
        epoch = f"epoch {step / self.data.steps_per_epoch:.4g} of {self.data.epochs}"
        line = f"{datetime.now().isoformat(' ', 'seconds')} {epoch}, step {step} of {steps}: {text}"
        if trainer.is_global_zero:
            with suppress(OSError), open(self.folder / LOG, "a") as f:
                f.write(line + "\n")

    def _count_skipped(self, trainer: L.Trainer) -> None:
        """Add what all devices have skipped since this was last done; all of them have to call it."""
        if skipped := _over_devices(trainer, self._skipped_here, "sum"):
            self.skipped["skipped_later"] = self.skipped.get("skipped_later", 0.0) + skipped
        self._skipped_here = 0

    def _save(self, trainer: L.Trainer) -> None:
        """Write last.ckpt: a crash in between leaves the one before. Its time is not training time."""
        began = time.monotonic()
        self._count_skipped(trainer)
        path = (self.folder / CHECKPOINT).with_suffix(checkpoint_files.WRITING)
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            checkpoint_files.keep(path, self.folder)
        self._saved = time.monotonic()
        self._window_start += self._saved - began

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._restore_handlers()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._check(trainer.global_step, None)
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        release(self._handlers)
        self._handlers = {}

    # Evaluation during training

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        loss, of_test = pl_module.compute_metrics()["test_loss"], not self.recipe.val_split
        self._add_row(trainer.global_step, "", "", loss if of_test else "", "" if of_test else loss)
        self._log(trainer, f"{'test' if of_test else 'held-out'} loss {loss:.4f}")
        self.write_curve()
        self._save_or_stop(trainer, time.monotonic(), ends_epoch=True)
        self._window_start = time.monotonic()  # evaluation is no training time; the window was closed before it

    # The run in numbers

    @property
    def images_per_second(self) -> float:
        """Over all sittings, evaluation and checkpoints left out [images/s]."""
        return self.images / self.train_seconds if self.train_seconds else 0.0

    @property
    def peak_memory(self) -> int:
        """Over all sittings, above what was held before there was a model [bytes]."""
        return max(self._earlier_peak, self.memory.peak())

    @property
    def train_loss(self) -> float:
        """Mean over the steps of the last epoch, from the curve, whose rows have unequal numbers of steps [nats]."""
        begins = max(0, self.data.total_steps - self.data.steps_per_epoch)
        total, before = 0.0, 0
        for step, _, _, loss, *_ in self.rows:
            if loss != "":
                total += loss * max(0, step - max(before, begins))
                before = step
        return total / (self.data.total_steps - begins)

    def wall_time(self) -> float:
        """Since the run was begun, the time between sittings left out [s]."""
        return self.earlier_seconds + time.monotonic() - self._begun

    def progress(self, trainer: L.Trainer) -> Progress:
        """Where the run is."""
        step, steps = trainer.global_step, self.data.total_steps
        return Progress(
            epoch=min(self.data.epochs, step // self.data.steps_per_epoch + 1),
            epochs=self.data.epochs,
            step=step,
            steps=steps,
            loss=self._shown_loss,
            images_per_second=self._rate,
            eta=(steps - step) * self.recipe.batch / self._rate if self._rate else math.nan,
        )

    def finish(self, results: dict[str, float]) -> None:
        """The curve's last row, from the evaluation at the end; empty results: there was none."""
        if results:
            self._add_row(self.data.total_steps, "", "", results["test_loss"], results.get("val_loss", ""))
        self.write_curve()
        for logger in self.loggers:
            logger.log_metrics({f"final_{name}": value for name, value in results.items()}, self.data.total_steps)
            logger.finalize("success" if results else "failed")

    def _add_row(
        self,
        step: int,
        lr: float | str,
        train_loss: float | str,
        test_loss: float | str,
        val_loss: float | str = "",
    ) -> None:
        epoch = round(step / self.data.steps_per_epoch, 4)
        row = [step, epoch, lr, train_loss, test_loss, round(self.wall_time(), 3), val_loss]
        self.rows.append(row[: len(self.columns)])
        for logger in self.loggers:
            values = dict(zip(self.columns[1:], self.rows[-1][1:], strict=True))
            logger.log_metrics({name: value for name, value in values.items() if value != ""}, step)

    def write_curve(self) -> None:
        """curve.csv, whole."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        self._written = time.monotonic()
        if is_first_process():
            write_atomically(self.folder / CURVE, text.getvalue())


def _over_devices(trainer: L.Trainer, value: float, how: str) -> float:
    """The "mean" or the "sum" of the devices that share the run, the same on all; all of them have to ask."""
    if trainer.world_size == 1:
        return value
    of_this = torch.tensor(value, dtype=torch.float64, device=trainer.strategy.root_device)
    return trainer.strategy.reduce(of_this, reduce_op=how).item()
