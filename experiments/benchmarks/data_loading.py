"""Data-loading throughput: the embedded data set, and JPEG files here and in a bare torchvision loop."""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.table import Table
from torch.utils.data import DataLoader

from scaling.config.edit import edit, make_config
from scaling.costs.hardware import usable_cores
from scaling.data.batch import Batch
from scaling.data.datamodule import ImageDataModule
from scaling.data.generated import generated_shapes


def generation() -> Table:
    """Images/s of the embedded data set, on one core."""
    table = Table("image [px]", "images/s", title="shapes, one core")
    for size in (16, 32, 64, 224):
        n = max(64, 2**21 // size**2)
        rates = []
        for turn in range(5):
            began = time.perf_counter()
            generated_shapes.render(0, np.arange(turn * n, turn * n + n), size)
            rates.append(n / (time.perf_counter() - began))
        table.add_row(str(size), f"{statistics.median(rates):,.0f}")
    return table


def decoding() -> Table:
    """JPEG files of 400 x 300 px to training batches at 224 px, here and in a bare torchvision loop."""
    num_workers = max(1, usable_cores() - 1)
    with tempfile.TemporaryDirectory() as folder:
        _write_jpegs(Path(folder), 384)
        config = make_config(
            dataset="folder",
            data_root=folder,
            img_size=224,
            patch_size=16,
            num_classes=2,
            global_batch_size=32,
            epochs=1,
            backbone="deit_tiny",
        )
        lazy = edit(config, augment="resized_crop")
        rates: dict[str, list[float]] = {"harness": [], "torchvision": []}
        for _ in range(4):
            data = ImageDataModule(lazy, num_workers)
            data.setup()
            rates["harness"].append(_rate(data.train_dataloader()))
            rates["torchvision"].append(_rate(_torchvision_loader(folder, num_workers)))
    table = Table(
        "loader", "images/s", "over torchvision", title=f"JPEG to random resized crops, {num_workers} worker(s)"
    )
    ratio = statistics.median(h / t for h, t in zip(rates["harness"], rates["torchvision"], strict=True))
    table.add_row("harness", f"{statistics.median(rates['harness']):,.0f}", f"{ratio:.2f}")
    table.add_row("torchvision", f"{statistics.median(rates['torchvision']):,.0f}", "1.00")
    return table


def _torchvision_loader(folder: str, num_workers: int) -> DataLoader:
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
        ImageFolder(f"{folder}/train", view), batch_size=32, shuffle=True, drop_last=True, num_workers=num_workers
    )


def _rate(loader: DataLoader) -> float:
    """Images/s from the second batch on: starting workers is no decoding."""
    seen, began = 0, None
    for batch in loader:
        if began is None:
            began = time.perf_counter()
            continue
        seen += len(batch if isinstance(batch, Batch) else batch[1])
    assert began is not None
    return seen / (time.perf_counter() - began)


def _write_jpegs(folder: Path, n: int) -> None:
    pixels = generated_shapes.render(0, np.arange(n), 224).image_BHWC
    for split in ("train", "test"):
        for i in range(n if split == "train" else 4):
            where = folder / split / str(i % 2)
            where.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[i]).resize((400, 300)).save(where / f"{i}.jpg", quality=90)
