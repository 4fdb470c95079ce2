"""The curve of a run: training and test losses by step, in curve.csv and in external loggers."""

import csv
import io
import time
from collections.abc import Mapping, Sequence
from typing import TypedDict, cast

import lightning as L
from lightning.pytorch.loggers import Logger
from torch import Tensor

from scaling.engine.callbacks.instrument import Instrument
from scaling.engine.callbacks.step import RunState
from scaling.engine.distributed import is_first_process, over_devices
from scaling.runs.atomic_files import write_atomically
from scaling.runs.record import CURVE, HEADLINES
from scaling.tasks.base import TaskModule

COLUMNS = ("step", "epoch", "lr", "train_loss", "test_loss", "seconds")
# Of a test loss along the run (test_losses.py): its images, and its standard error [nats]; empty: all test images.
# Behind them is the first metric of the task [%].
SAMPLE = ("test_images", "test_loss_se")
CURVE_SECONDS = 5.0  # between two writings of curve.csv
CURVE_ROWS = 200  # of training loss, about, in a whole run


class _Kept(TypedDict, total=False):
    """The callback's part of a checkpoint."""

    rows: list[list[float | str]]
    row_losses: list[Tensor | float]
    row_terms: dict[str, list[Tensor | float]]  # not in checkpoints of earlier versions


class CurveLogger(L.Callback):
    """A row for every so many steps, for every end of an epoch, and for every evaluation. A resumed run has the same
    rows, to the last bit but for their seconds."""

    def __init__(self, state: RunState, instruments: Sequence[Instrument] = ()) -> None:
        """instruments: those that stand before it; their cells are in the rows of the training loss."""
        self.state, self.instruments = state, instruments
        self.loggers: Sequence[Logger] = ()
        # Of the terms of the training loss, where it has several, without their weights.
        terms = [o.kind for o in state.config.objectives] if len(state.config.objectives) > 1 else []
        self._terms: dict[str, list[Tensor | float]] = {kind: [] for kind in terms}  # since the last row
        more = (["val_loss"] if state.config.data.val_split else []) + [f"train_loss_{kind}" for kind in terms]
        metric, _ = HEADLINES[state.config.task.kind]
        self._metrics = (metric, f"val_{metric}") if state.config.data.val_split else (metric,)
        self._columns = (*COLUMNS, *more, *SAMPLE, *self._metrics)
        self.rows: list[list[float | str]] = []
        self._row_losses: list[Tensor | float] = []  # since the last row
        self._written = time.monotonic()

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of the instruments, which depend on the model, are last: rows of earlier versions do not have them."""
        return (*self._columns, *(column for each in self.instruments for column in each.columns))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        self.state.row_loss = None
        for kind, losses in self._terms.items():
            losses.append(cast(TaskModule, pl_module).objective_losses[kind])
        step = self.state.step
        if step is None:
            return
        self._row_losses.append(step.loss)
        if step.ends_epoch or step.number % max(1, self.state.data.total_steps // CURVE_ROWS) == 0:
            self.state.row_loss = over_devices(trainer, _mean(self._row_losses), "mean")
            self._row_losses = []
            terms = {f"train_loss_{k}": over_devices(trainer, _mean(each), "mean") for k, each in self._terms.items()}
            self._terms = {kind: [] for kind in self._terms}
            read = {column: cell for each in self.instruments for column, cell in each.cells(trainer).items()}
            self._add_row(step.number, lr=step.lr, train_loss=self.state.row_loss, **terms, **read)
            if step.ended - self._written > CURVE_SECONDS:
                self.write()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        found = cast(TaskModule, pl_module).compute_metrics()
        self.state.row_loss = found["test_loss"]
        column = "val_loss" if self.state.config.data.val_split else "test_loss"
        metric = {self._metrics[-1]: found.get(self._metrics[0], "")}
        self._add_row(trainer.global_step, **{column: self.state.row_loss}, **metric)
        self.write()

    def add_test_loss(self, step: int, means: Mapping[str, float], images: int, error: float) -> None:
        """A row for a test along the run, of so many images. means: test_loss [nats] and the first metric [%]; error:
        the standard error of the loss [nats]."""
        self._add_row(step, **means, test_images=images, test_loss_se=error)

    def finish(self, results: dict[str, float]) -> None:
        """The last row, from the evaluation at the end; empty results: there was none."""
        steps = self.state.data.total_steps
        if results:
            ends = {name: results.get(name, "") for name in ("test_loss", "val_loss", *self._metrics)}
            self._add_row(steps, **ends)
        self.write()
        for logger in self.loggers:
            logger.log_metrics({f"final_{name}": value for name, value in results.items()}, steps)

    def _add_row(self, step: int, **cells: float | str) -> None:
        """cells: by their columns; others stay empty."""
        epoch = round(step / self.state.data.steps_per_epoch, 4)
        cells |= {"step": step, "epoch": epoch, "seconds": round(self.state.clock.wall_time(), 3)}
        self.rows.append([cells.get(name, "") for name in self.columns])
        for logger in self.loggers:
            values = dict(zip(self.columns[1:], self.rows[-1][1:], strict=True))
            logger.log_metrics({name: value for name, value in values.items() if not isinstance(value, str)}, step)

    def write(self) -> None:
        """Write curve.csv, all of it or nothing."""
        text, columns = io.StringIO(), self.columns
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([*row, *[""] * (len(columns) - len(row))] for row in self.rows)
        self._written = time.monotonic()
        if is_first_process():
            write_atomically(self.state.folder / CURVE, text.getvalue())

    @property
    def train_loss(self) -> float:
        """Mean over the steps of the last epoch, from the rows, which have unequal numbers of steps [nats]."""
        data = self.state.data
        begins = max(0, data.total_steps - data.steps_per_epoch)
        rows, steps = self._training_rows(begins, data.total_steps)
        return sum(row["train_loss"] * n for row, n in zip(rows, steps, strict=True)) / (data.total_steps - begins)

    def read_by_instruments(self, begins: int = 0, ends: int | None = None) -> dict[str, float]:
        """One number per column of the instruments, over the steps after `begins` up to `ends`, such as those of a
        phase; None: the last one."""
        rows, steps = self._training_rows(begins, self.state.data.total_steps if ends is None else ends)
        return {column: value for each in self.instruments for column, value in each.summary(rows, steps).items()}

    def _training_rows(self, begins: int, ends: int) -> tuple[list[dict[str, float]], list[int]]:
        """Cells by column of the rows of training, and of how many steps after `begins` up to `ends` each one is."""
        rows, steps, before = [], [], 0
        for cells in self.rows:
            row = {name: cell for name, cell in zip(self.columns, cells, strict=False) if not isinstance(cell, str)}
            if "train_loss" in row:
                after = int(row["step"])
                count = min(after, ends) - max(before, begins)
                if count > 0:
                    rows.append(row)
                    steps.append(count)
                before = after
        return rows, steps

    def state_dict(self) -> dict[str, object]:
        terms = {kind: _numbers(losses) for kind, losses in self._terms.items()}
        return {"rows": self.rows, "row_losses": _numbers(self._row_losses), "row_terms": terms}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        kept = cast(_Kept, state_dict)
        self.rows, self._row_losses = kept["rows"], kept["row_losses"]
        self._terms |= kept.get("row_terms", {})


def _mean(losses: Sequence[Tensor | float]) -> float:
    numbers = _numbers(losses)
    return sum(numbers) / len(numbers)


def _numbers(losses: Sequence[Tensor | float]) -> list[float]:
    return [loss.item() if isinstance(loss, Tensor) else loss for loss in losses]
