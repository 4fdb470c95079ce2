"""What the harness costs, measured on this machine: python experiments/benchmark.py [tax] [data]

tax   a training step through the harness (Lightning, checkpoints, curve, progress) over a bare PyTorch loop with the
      same model, data and batch; in one process, a step of each in turn. Target: at most 1.03 over the main job.
data  images/s of the embedded data set, and of JPEG files through the harness beside a bare torchvision loop.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lightning as L
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from experiments.cli import guarded, resolve
from scaling.callbacks import Keeper
from scaling.data import shapes
from scaling.data.batch import Batch
from scaling.data.classification import Images
from scaling.machine import Memory, machine, usable_cores
from scaling.recipe import Recipe, check_name
from scaling.tasks.classify import Classify
from scaling.train import Settings, hush, make_trainer

TAXED = {16: 256, 8: 256, 4: 256, 2: 128, 1: 48}  # patch and steps, in two epochs so that checkpoints are in it
BLOCK = 16  # steps of which one ratio is made


class InTurn(L.Callback):
    """After every step of the harness one step of a bare loop, both timed: a machine that slows down slows both."""

    def __init__(self, recipe: Recipe, data: Images) -> None:
        self._bare = bare_steps(recipe, data)
        self.harness: list[float] = []  # seconds a step, from the end of one to the end of the next
        self.bare: list[float] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._resumed = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        ended = time.perf_counter()
        next(self._bare)
        done = time.perf_counter()
        self.harness.append(ended - self._resumed)
        self.bare.append(done - ended)
        self._resumed = time.perf_counter()


def bare_steps(recipe: Recipe, data: Images) -> Iterator[None]:
    """The recipe's training in the plainest loop that makes the same steps; stops after each."""
    module = Classify(recipe, data.total_steps)
    chosen = module.configure_optimizers()
    optimiser, schedule = chosen["optimizer"], chosen["lr_scheduler"]["scheduler"]
    parameters = list(module.parameters())
    module.train()
    data.trainer = None
    for batch in data.train_dataloader():
        loss = cross_entropy(module(batch.image_BCHW), batch.label_B)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        optimiser.step()
        schedule.step()
        yield


def tax() -> Table:
    """The harness's time over the bare loop's at each step of the main job, one thread as there, and at all of them."""
    table = Table("recipe", "patch", "bare [ms]", "harness [ms]", "ratio", "middle half", title="tax")
    torch.set_num_threads(1)
    total = np.zeros(2)
    for name in ("shapes.deit_nano", "shapes.adventurer_nano"):
        for patch, steps in TAXED.items():
            recipe = resolve(name, patch, {"epochs": 2, "train_images": 16 * steps, "test_images": 64})
            bare, harness = (np.array(seconds[BLOCK:]) for seconds in _in_turn(recipe))  # the first steps warm up
            ratios = harness.reshape(-1, BLOCK).sum(1) / bare.reshape(-1, BLOCK).sum(1)
            low, high = np.quantile(ratios, (0.25, 0.75))
            table.add_row(
                name, str(patch), f"{1000 * bare.mean():.2f}", f"{1000 * harness.mean():.2f}",
                f"{harness.sum() / bare.sum():.3f}", f"{low:.3f} to {high:.3f}",
            )  # fmt: skip
            total += bare.mean(), harness.mean()
    table.add_row("a step of each", "", *(f"{1000 * t:.2f}" for t in total), f"{total[1] / total[0]:.3f}", "")
    return table


def _in_turn(recipe: Recipe) -> tuple[list[float], list[float]]:
    """Seconds of every step of the bare loop, and of the same steps through the harness with everything on."""
    data = Images(recipe)
    data.prepare()
    with tempfile.TemporaryDirectory() as folder:
        turns = InTurn(recipe, data)
        keeper = Keeper(recipe, Path(folder), data, 10.0, lambda event: None, Memory(cuda=False))
        trainer = make_trainer(recipe, Settings(accelerator="cpu"), [keeper, turns], data.steps_per_epoch)
        trainer.fit(Classify(recipe, data.total_steps), datamodule=data)
    return turns.bare, turns.harness


def generation() -> Table:
    """Images/s of the embedded data set, on one core."""
    table = Table("image [px]", "images/s", title="shapes, one core")
    for size in (16, 32, 64, 224):
        n = max(64, 2**21 // size**2)
        rates = []
        for turn in range(5):
            began = time.perf_counter()
            shapes.render(0, np.arange(turn * n, turn * n + n), size)
            rates.append(n / (time.perf_counter() - began))
        table.add_row(str(size), f"{statistics.median(rates):,.0f}")
    return table


def decoding() -> Table:
    """JPEG files of 400 x 300 px to training batches at 224 px, here and in a bare torchvision loop."""
    workers = max(1, usable_cores() - 1)
    with tempfile.TemporaryDirectory() as folder:
        _write_jpegs(Path(folder), 384)
        recipe = Recipe(
            data="folder", data_root=folder, image=224, patch=16, classes=2, batch=32, epochs=1, backbone="deit_tiny"
        )
        lazy = replace(recipe, augment="resized_crop")
        rates: dict[str, list[float]] = {"harness": [], "torchvision": []}
        for _ in range(4):
            data = Images(lazy, workers)
            data.prepare()
            rates["harness"].append(_rate(data.train_dataloader()))
            rates["torchvision"].append(_rate(_torchvision_loader(folder, workers)))
    table = Table("loader", "images/s", "over torchvision", title=f"JPEG to random resized crops, {workers} worker(s)")
    ratio = statistics.median(h / t for h, t in zip(rates["harness"], rates["torchvision"], strict=True))
    table.add_row("harness", f"{statistics.median(rates['harness']):,.0f}", f"{ratio:.2f}")
    table.add_row("torchvision", f"{statistics.median(rates['torchvision']):,.0f}", "1.00")
    return table


def _torchvision_loader(folder: str, workers: int) -> DataLoader:
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    view = v2.Compose(
        [
            v2.RandomResizedCrop(224, interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
        ]
    )
    return DataLoader(
        ImageFolder(f"{folder}/train", view), batch_size=32, shuffle=True, drop_last=True, num_workers=workers
    )


def _rate(loader: DataLoader) -> float:
    """Images/s from the second batch on: starting workers is no decoding."""
    seen, began = 0, None
    for batch in loader:
        if began is None:
            began = time.perf_counter()
            continue
        seen += len(batch.label_B if isinstance(batch, Batch) else batch[1])
    assert began is not None
    return seen / (time.perf_counter() - began)


def _write_jpegs(folder: Path, n: int) -> None:
    pixels = shapes.render(0, np.arange(n), 224).image_BHWC
    for split in ("train", "test"):
        for i in range(n if split == "train" else 4):
            where = folder / split / str(i % 2)
            where.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[i]).resize((400, 300)).save(where / f"{i}.jpg", quality=90)


BENCHMARKS: dict[str, list[Callable[[], Table]]] = {"tax": [tax], "data": [generation, decoding]}


def main() -> int:
    names = sys.argv[1:] or list(BENCHMARKS)
    if names[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    for name in names:
        check_name("benchmark", name, BENCHMARKS)
    torch.set_num_threads(usable_cores())
    hush()
    console = Console()
    facts = machine()
    console.print(f"{facts['processor']}, {facts['cores']} cores; torch {torch.__version__}", highlight=False)
    for name in names:
        for benchmark in BENCHMARKS[name]:
            console.print(benchmark())
    return 0


if __name__ == "__main__":
    guarded(main)
