"""What the user sees of runs at work: live bars in a terminal, plain lines in pipes and CI. No torch."""

import math
import sys
import time
from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TextColumn

from experiments.launch.outcome import Outcome
from scaling.recipe import STAGES, TASK_HEADS, Recipe
from scaling.runs.events import Event
from scaling.runs.events import Progress as Where

PLAIN_SECONDS = 30.0  # between two lines of a run where there is no terminal


class Console:
    """The runs at work, and the sweep around them where there is one. Use as a context manager."""

    def __init__(self, quiet: bool = False, names: dict[str, str] | None = None) -> None:
        """names: what to call runs, by run_id, where the short name does not tell them apart."""
        self.rich = RichConsole(highlight=False, soft_wrap=True, quiet=quiet)
        self.live = self.rich.is_terminal and not quiet
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[text]}"),
            console=self.rich,
            refresh_per_second=5,
            transient=True,
        )
        self._names = names or {}
        self._runs: dict[str, Any] = {}  # run_id -> its bar
        self._sweep: Any = None
        self._said: dict[str, float] = {}
        self._noted: set[str] = set()

    def __enter__(self) -> "Console":
        if self.live:
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.bars.stop()

    def name(self, run_id: str) -> str:
        return self._names.get(run_id) or short(run_id)

    def line(self, text: str) -> None:
        """A line that stays."""
        self.rich.print(text, markup=False)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """A line that is said once, however many runs have it to say."""
        if text not in self._noted:
            self._noted.add(text)
            self.line(text)

    def sweep(self, done: int, total: int, eta: float) -> None:
        """Runs done of all, and the time that the rest will take [s]; nan: not known yet."""
        text = f"{done} of {total} runs, ETA {_time(eta)}"
        if not self.live:
            if 0 < done < total:
                self.line(f"sweep: {text}")
            return
        if self._sweep is None:
            self._sweep = self.bars.add_task("sweep", total=total, text="")
        self.bars.update(self._sweep, completed=done, text=text)

    def begin(self, name: str) -> None:
        """A run starts; name: its run_id."""
        self._said[name] = time.monotonic()
        if self.live:
            self._runs[name] = self.bars.add_task(self.name(name), total=None, text="starting")
        else:
            self.line(f"{name}: starting")

    def show(self, name: str, event: Event) -> None:
        """An event of a run that was begun."""
        where = event.progress
        if event.kind == "note":
            self.note(event.text)
        elif name in self._runs:
            text = _where(where) if event.kind == "train" else "evaluating"
            self.bars.update(self._runs[name], total=where.steps or None, completed=where.step, text=text)
        elif time.monotonic() - self._said[name] > PLAIN_SECONDS:
            self._said[name] = time.monotonic()
            self.line(f"  {self.name(name)} " + (_where(where) if event.kind == "train" else "evaluating"))

    def finish(self, name: str, outcome: Outcome) -> None:
        """A run has ended, or has been found ended."""
        words = {0: "have" if outcome.found else "ok  ", 130: "stop"}
        self._end(name, words.get(outcome.status, "FAIL"), outcome.text)

    def postpone(self, name: str, text: str) -> None:
        """A run that was begun is left to another process for now."""
        self._end(name, "wait", text)

    def _end(self, name: str, word: str, text: str) -> None:
        if name in self._runs:
            self.bars.remove_task(self._runs.pop(name))
        self.line(f"{word} {self.name(name)}: {text}")


def _where(p: Where) -> str:
    """Fits beside the bar on 80 columns."""
    loss = f"{p.loss:.3f}" if not math.isnan(p.loss) else "-"
    return (
        f"epoch {p.epoch}/{p.epochs} step {p.step}/{p.steps} loss {loss} {p.images_per_second:.0f} img/s "
        f"ETA {_time(p.eta)}"
    )


def short(run_id: str) -> str:
    """The parts of a run_id that differ within a sweep: backbone, patch, seed, and the stage where it has one."""
    *before, backbone, _, patch, seed, _ = run_id.split("-")
    stage = before[-1] if before and before[-1] in STAGES else ""
    return f"{backbone} {patch} {seed} {stage}".rstrip()


def told_apart(runs: list[Recipe]) -> dict[str, str]:
    """run_id -> its short name, with the image where runs of several sizes share one, and with what else it is."""
    images: dict[str, set[int]] = {}
    for run in runs:
        images.setdefault(short(run.run_id), set()).add(run.image)
    names = {}
    for run in runs:
        name = short(run.run_id)
        size = f"{run.image} px" if len(images[name]) > 1 else ""
        names[run.run_id] = " ".join(filter(None, (name, size, what_else(run))))
    return names


def what_else(run: Recipe) -> str:
    """What a run_id does not say of a run, where it is not the usual: a larger head, what is extended."""
    head = run.head if run.head != TASK_HEADS[run.task][0] else ""
    return " ".join(filter(None, (head, f"from {run.extend} px" if run.extend else "")))


def _time(seconds: float) -> str:
    return "?" if math.isnan(seconds) else str(timedelta(seconds=round(seconds)))
