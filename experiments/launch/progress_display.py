"""Progress of runs on the screen: live bars in a terminal, plain lines in pipes and CI. No torch."""

import math
import sys
import time
from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from analysis.records.embedding_text import embedding_text
from analysis.records.position_text import position_text
from experiments.launch.outcome import Outcome
from scaling.config.at_shape import learned_patches
from scaling.config.edit import leaf_values
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import SequencePacking
from scaling.config.patch_embeds import ConvPatchEmbed
from scaling.config.token_drop import NoDrop
from scaling.runs.events import Event
from scaling.runs.events import Progress as Where

SHOWN = 3  # fields of a run's name
PLAIN_POSITIONS = ("learned", "sincos")
PLAIN_SECONDS = 30.0  # between two lines of a run where there is no terminal


class Console:
    """Progress of runs, and of the sweep that they belong to if there is one. Use as a context manager. names: what
    runs are called, by run_id (`told_apart`)."""

    def __init__(self, quiet: bool = False, names: dict[str, str] | None = None) -> None:
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
        self.names = names or {}
        self._runs: dict[str, TaskID] = {}  # run_id -> its bar
        self._sweep: TaskID | None = None
        self._printed: dict[str, float] = {}  # when a run's last plain line was
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
        return self.names.get(run_id, run_id)

    def line(self, text: str) -> None:
        """Print a line that stays on the screen."""
        self.rich.print(text, markup=False)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Print a line once, however many runs report it."""
        if text not in self._noted:
            self._noted.add(text)
            self.line(text)

    def sweep(self, done: int, total: int, eta: float) -> None:
        """Show how many runs are done, and the time that the rest will take [s]; nan: not known yet."""
        text = f"{done} of {total} runs, ETA {_time(eta)}"
        if not self.live:
            if 0 < done < total:
                self.line(f"sweep: {text}")
            return
        if self._sweep is None:
            self._sweep = self.bars.add_task("sweep", total=total, text="")
        self.bars.update(self._sweep, total=total, completed=done, text=text)

    def begin(self, name: str) -> None:
        """A run starts. name: its run_id."""
        self._printed[name] = time.monotonic()
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
        elif time.monotonic() - self._printed[name] > PLAIN_SECONDS:
            self._printed[name] = time.monotonic()
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
    """Step, loss, speed and time left; with a bar it fits into 80 columns."""
    loss = f"{p.loss:.3f}" if not math.isnan(p.loss) else "-"
    return (
        f"epoch {p.epoch}/{p.epochs} step {p.step}/{p.steps} loss {loss} {p.images_per_second:.0f} img/s "
        f"ETA {_time(p.eta)}"
    )


def _short(run: ExperimentConfig) -> str:
    """Short name of a run, by what differs in most sweeps: backbone, patch, seed, and stage if there is one."""
    return f"{run.model.backbone} p{run.model.patch_size} s{run.seed} {(run.stage or '')}".rstrip()


def told_apart(runs: Iterable[ExperimentConfig]) -> dict[str, str]:
    """Short names of runs, by run_id: with the image size where runs of several sizes share a name, with `what_else`,
    and where names are equal still with the fields in which these runs differ."""
    runs = list(runs)
    images: dict[str, set[int]] = {}
    for run in runs:
        images.setdefault(_short(run), set()).add(run.model.img_size)
    names = {}
    for run in runs:
        name = _short(run)
        size = f"{run.model.img_size} px" if len(images[name]) > 1 else ""
        names[run.run_id] = " ".join(filter(None, (name, size, what_else(run))))
    fields = differing_fields(runs, names)
    return {run_id: f"{name} {fields[run_id]}".rstrip() for run_id, name in names.items()}


def differing_fields(runs: Iterable[ExperimentConfig], names: dict[str, str]) -> dict[str, str]:
    """The fields, SHOWN at most, in which runs of one name differ, with their values, by run_id: "lr 0.001".
    Fingerprints are among them only where the other fields are not different for every run."""
    of_name: dict[str, dict[str, dict[str, object]]] = {}
    for run in runs:
        of_name.setdefault(names[run.run_id], {})[run.run_id] = leaf_values(run)
    found = {}
    for same in of_name.values():
        fields = next(iter(same.values()))
        differ = [name for name in fields if len({str(values.get(name)) for values in same.values()}) > 1]
        readable = [name for name in differ if not name.endswith("_digest")]
        if len({tuple(str(values.get(name)) for name in readable[:SHOWN]) for values in same.values()}) == len(same):
            differ = readable
        for run_id, values in same.items():
            found[run_id] = ", ".join(f"{name} {_value(values.get(name))}" for name in differ[:SHOWN])
    return found


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def what_else(run: ExperimentConfig) -> str:
    """Fields that a run_id leaves out, where they are not the default: the head, how patches are embedded, what an
    extended sequence is embedded from, whether one model learns several patch sizes, or by which schedule, how the
    kernel of a finished one is resized, a norm of other tokens, a position encoding that is no plain table, sizes of
    packed images, and which tokens are dropped."""
    several = getattr(run.step_shapes, "text", "flexible" if len(learned_patches(run)) > 1 else "")
    resized = f"by {run.model.resize}" if run.model.resize and not run.schedule.epochs else ""
    extended = f"from {run.model.embed_patch_size} px" if run.model.embed_patch_size else ""
    head = run.task.head.kind if run.task.head.kind != type(run.task)().head.kind else ""
    embedding = "" if run.model.any_patch else embedding_text(run).removeprefix(ConvPatchEmbed.kind + ", ")
    embedding = "" if embedding == ConvPatchEmbed.kind else embedding
    places = "" if run.model.pos_embed.kind in PLAIN_POSITIONS else f"positions {position_text(run)}"
    norm = "" if run.model.norm == "layer" else f"norm {run.model.norm}"
    sizes = dropped = ""
    if isinstance(run.packing, SequencePacking):
        sizes, drop = f"at {run.packing.sizes_words}", run.packing.token_drop
        dropped = "" if isinstance(drop, NoDrop) else f"drop {drop.words}"
    return " ".join(filter(None, (several, resized, head, extended, embedding, norm, places, sizes, dropped)))


def _time(seconds: float) -> str:
    return "?" if math.isnan(seconds) else str(timedelta(seconds=round(seconds)))
