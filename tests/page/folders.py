"""Results folders for tests of the report page: finished runs with curves, and runs that did not finish."""

import dataclasses
import math
from html.parser import HTMLParser
from pathlib import Path

from analysis.page.content import NotFinished, content_of
from analysis.page.page import page
from analysis.records.run_set import load
from experiments.sweep_status import not_finished
from scaling.config.edit import make_config
from scaling.runs.config_file import write_config
from scaling.runs.record import CURVE, LOG, RunRecord
from tests.analysis.test_fit_laws import save

STEPS = 40


def finished(
    results: Path, backbones=("deit_nano", "adventurer_nano"), patches=(16, 8, 4, 2, 1), seeds=(0,), rows=STEPS
) -> list[Path]:
    """Runs whose losses follow 0.4 + 0.3 p^0.6 but for 1 %, with a curve each."""
    folders = []
    for backbone in backbones:
        for patch in patches:
            for seed in seeds:
                length = {"max_steps": rows, "warmup_steps": 1, "num_classes": 12}
                config = make_config(backbone=backbone, patch_size=patch, seed=seed, **length)
                loss = (0.4 + 0.3 * patch**0.6) * (1 + 0.01 * math.sin(7 * seed + patch))
                folder = save(results, config, loss)
                curve(folder, rows, loss)
                folders.append(folder)
    return folders


def curve(folder: Path, rows: int, end: float) -> None:
    """A curve that falls to the end; a test loss in every tenth row."""
    lines = ["step,epoch,lr,train_loss,test_loss,seconds"]
    for step in range(1, rows + 1):
        loss = end + 2 * math.exp(-5 * step / rows)
        lines.append(f"{step},0.1,0.001,{loss:.6f},{loss + 0.1 if step % 10 == 0 else ''},{step}")
    (folder / CURVE).write_text("\n".join(lines) + "\n")


def unfinished(results: Path, reason: str, log: str) -> list[Path]:
    """A run that failed for a reason, and one that was interrupted, with a log."""
    failed = save(results, make_config(patch_size=8, seed=7, num_classes=12), None)
    record = RunRecord.load(failed)
    dataclasses.replace(record, failure={"reason": reason, "step": 12, "lr": 1e-3}).save(failed)
    (failed / LOG).write_text(log)
    config = make_config(patch_size=8, seed=8, num_classes=12)
    stopped = results / config.run_id
    stopped.mkdir()
    write_config(config, stopped)
    (stopped / "last.ckpt").touch()
    return [failed, stopped]


def page_of(results: Path, forms=("power", "shifted")) -> str:
    runs = load(results)
    done = {Path(folder).name for folder in runs.finished["folder"]}
    others = {name: NotFinished(*one) for name, one in not_finished(results, done).items()}
    return page(content_of(results.name, runs, others, forms))


class Parsed(HTMLParser):
    """Elements of a page with their attributes, and the text within each kind of element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br", "input"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data):
        self.texts.append((self._open[-1] if self._open else "", data))

    def within(self, tag: str) -> list[str]:
        return [text for its, text in self.texts if its == tag]
