"""Images that several models are compared on: the same ones for all, at the image size of each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scaling.comparison.models import ComparedModel
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import Scratch
from scaling.config.model import TIMM
from scaling.data.datamodule import ImageDataModule, default_workers
from scaling.data.files.decoding import decode_rgb, naming_errors
from scaling.data.files.file_listing import ENDINGS, LOOKED_FOR, files_below
from scaling.data.sampler import Request, subset
from scaling.data.transforms.classification import fit_image
from scaling.errors import ConfigError
from scaling.rng import SampleKey
from scaling.runs.record import RunRecord


def images_of(
    models: Sequence[ComparedModel], sources: Sequence[str], folder: Path | None, count: int
) -> dict[int, Tensor]:
    """Images (N, 3, S, S) uint8 by the image sizes S of the models: `count` of a folder, or else of the test images of
    the first run among the sources. Raises ConfigError."""
    sizes = sorted({model.img_size for model in models})
    if folder is not None:
        return {size: images_below(folder, count, size) for size in sizes}
    run = next((Path(source) for source in sources if not source.startswith(TIMM)), None)
    if run is None:
        raise ConfigError("timm's weights have no test images: give a folder of images, --data-root DIR, or a run")
    config = RunRecord.load(run).experiment()
    return {size: run_images(config, count, size, run.parent) for size in sizes}


def run_images(config: ExperimentConfig, count: int, img_size: int, results: Path) -> Tensor:
    """(N, 3, S, S), uint8: `count` test images of a run, a fixed subset, prepared as in its evaluation but for img_size
    [px]; of segmentation and detection, a centre crop of the whole image. results: the folder of the run's folder.
    Raises ConfigError where there are fewer."""
    if config.model.img_size != img_size:
        config = edit(config, img_size=img_size, patch_embed="conv", patch_size=img_size, init=Scratch())
    data = ImageDataModule(config, default_workers(), results)
    data.setup()
    chosen = _chosen(len(data.test_set), count)
    if config.task.kind == "classify":
        request = Request([SampleKey(0, int(i)) for i in chosen])
        return data.test_set.get_batch(*request).pixels
    views = []
    for i in chosen:  # of any sizes
        (image_CHW,) = data.test_set.get_batch([SampleKey(0, int(i))]).pixels
        views.append(fit_image(Image.fromarray(image_CHW.permute(1, 2, 0).numpy()), img_size, 1.0))
    return torch.from_numpy(np.stack(views))


def images_below(folder: Path, count: int, img_size: int) -> Tensor:
    """(N, 3, S, S), uint8: centre crops of `count` images below a folder, a fixed subset. Raises ConfigError where
    there are fewer, or one cannot be read."""
    if not folder.is_dir():
        raise ConfigError(f"--data-root {folder}: no such folder")
    names = sorted(files_below(folder, ENDINGS)[0])
    if not names:
        raise ConfigError(f"--data-root {folder}: no images ({LOOKED_FOR})")
    views = []
    for i in _chosen(len(names), count):
        path = folder / names[i]
        try:
            with naming_errors(lambda path=path: path):
                image = decode_rgb(path.read_bytes())
        except OSError as e:
            raise ConfigError(f"unreadable image {e}; replace it") from e
        views.append(fit_image(image, img_size, 1.0))
    return torch.from_numpy(np.stack(views))


def _chosen(n: int, count: int) -> np.ndarray:
    if count > n:
        raise ConfigError(f"{count} images requested, {n} available: --images {n} or fewer")
    return subset(n, count)
