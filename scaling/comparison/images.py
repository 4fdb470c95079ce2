"""Images that several models are compared on: the same ones for all, at the image size of each."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scaling.comparison.models import ComparedModel
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import Scratch
from scaling.data.datamodule import ImageDataModule, default_workers
from scaling.data.files.decoding import decode_rgb, naming_errors
from scaling.data.files.file_listing import ENDINGS, LOOKED_FOR, files_below
from scaling.data.sampler import subset
from scaling.data.transforms.classification import fit_image
from scaling.errors import ConfigError
from scaling.rng import SampleKey
from scaling.runs.record import RunRecord

BySize = dict[int, Tensor]  # (N, 3, S, S), uint8, by the side S of an image [px]; the same N images for all S


def images_of_run(models: Sequence[ComparedModel], run: Path, count: int) -> BySize:
    """`count` test images of a run, a fixed subset, prepared as in its evaluation but for their size; of segmentation
    and detection, a centre crop of the whole image. Raises ConfigError where there are fewer."""
    config = RunRecord.load(run).experiment()
    return {size: _test_images(config, count, size, run.parent) for size in _sizes(models)}


def images_below(models: Sequence[ComparedModel], folder: Path, count: int) -> BySize:
    """Centre crops of `count` images below a folder, a fixed subset. Raises ConfigError where there are fewer, or one
    cannot be read."""
    if not folder.is_dir():
        raise ConfigError(f"--data-root {folder}: no such folder")
    names = sorted(files_below(folder, ENDINGS)[0])
    if not names:
        raise ConfigError(f"--data-root {folder}: no images ({LOOKED_FOR})")
    views: dict[int, list[np.ndarray]] = {size: [] for size in _sizes(models)}
    for i in _chosen(len(names), count):
        path = folder / names[i]
        try:
            with naming_errors(partial(str, path)):
                image = decode_rgb(path.read_bytes())
        except OSError as e:
            raise ConfigError(f"unreadable image {e}; replace it") from e
        for size, of_size in views.items():
            of_size.append(fit_image(image, size, 1.0))
    return {size: torch.from_numpy(np.stack(of_size)) for size, of_size in views.items()}


def _sizes(models: Sequence[ComparedModel]) -> list[int]:
    return sorted({model.img_size for model in models})


def _test_images(config: ExperimentConfig, count: int, img_size: int, results: Path) -> Tensor:
    if config.model.img_size != img_size:
        config = edit(config, img_size=img_size, patch_embed="conv", patch_size=img_size, init=Scratch())
    data = ImageDataModule(config, default_workers(), results)
    data.setup()
    keys = [SampleKey(0, int(i)) for i in _chosen(len(data.test_set), count)]
    if config.task.kind == "classify":
        return data.test_set.get_batch(keys).pixels
    views = []
    for key in keys:  # one by one: they may have any sizes
        image_HWC = data.test_set.get_batch([key]).pixels[0].permute(1, 2, 0).numpy()
        views.append(fit_image(Image.fromarray(image_HWC), img_size, 1.0))
    return torch.from_numpy(np.stack(views))


def _chosen(n: int, count: int) -> np.ndarray:
    if count > n:
        raise ConfigError(f"{count} images requested, {n} available: --images {n} or fewer")
    return subset(n, count)
