"""The model of a finished run, for use: backbone and head with the weights of the reported results, the preprocessing
of images, and the names of the classes.

    import scaling
    trained = scaling.load("results/classify-folder-deit_nano-64px-p8-s0-…")
    logits_BK = trained.module(trained.image("cat.jpg"))
    trained.names[logits_BK.argmax()]
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from scaling.backbones.base import Backbone
from scaling.backbones.registry import build_backbone, without_initial_weights
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import SequencePacking
from scaling.config.task import base_kind
from scaling.data.batch import Split
from scaling.data.files.decoding import as_rgb, decode_rgb, image_tensor, naming_errors
from scaling.data.packed_classification import ClassView
from scaling.data.transforms.classification import fit_image
from scaling.data.transforms.detection import frame_of, seen_image
from scaling.data.transforms.segmentation import scale_image, scaled, short_side
from scaling.engine.train import TASKS
from scaling.engine.warm_start import restore, restore_backbone
from scaling.packing.drawn_grids import evaluated_size, grids_of_size
from scaling.preprocessing import preprocessing_of
from scaling.runs.finished_run import finished_run
from scaling.tasks.base import TaskModule


class Trained(NamedTuple):
    """module: of the task, in eval mode: uint8 images (B, 3, H, W) to logits (B, K), or (B, K, H, W) in segmentation,
    or the detections of each image (boxes x0 y0 x1 y1 [px], scores, labels, masks). names: of the K classes, by index;
    empty where neither the data nor the configuration names them. run_id: of the run that trained it."""

    module: TaskModule
    config: ExperimentConfig
    names: tuple[str, ...]
    run_id: str = ""

    def image(self, file: str | PathLike[str] | Image.Image) -> Tensor:
        """An image (1, 3, H, W), uint8, as in the run's evaluation: in classification a centre crop of img_size px,
        else the whole image resized to resize_short; of a run on packed images the whole image at their size. Raises
        OSError for a file that is no image."""
        return self.view(read_rgb(file))

    def view(self, rgb: Image.Image) -> Tensor:
        """The same for an image of read_rgb."""
        r, size = self.config, (rgb.height, rgb.width)
        if isinstance(r.packing, SequencePacking):
            (h, w), patch = grids_of_size(r, [size], evaluated_size(r)).whole[0], r.model.patch_size
            size = (h * patch, w * patch)
            if base_kind(r.task) == "classify":
                return ClassView().resized((rgb, 0), size, r)[0][None]
            return scale_image(image_tensor(rgb), size)[None]
        if base_kind(r.task) == "classify":
            fitted = fit_image(rgb, r.model.img_size, r.classification.crop_pct, preprocessing_of(r).interpolation)
            return torch.from_numpy(fitted.copy())[None]
        if base_kind(r.task) == "segment":
            return scale_image(image_tensor(rgb), scaled(*size, short_side(r)))[None]
        return seen_image(image_tensor(rgb), frame_of(size, r, Split.VAL))[None]


def read_rgb(file: str | PathLike[str] | Image.Image) -> Image.Image:
    """An image, 8-bit RGB and upright. Raises OSError, with the file's name, for a file that is no image."""
    with naming_errors(lambda: file):
        return as_rgb(file) if isinstance(file, Image.Image) else decode_rgb(Path(file).read_bytes())


def load_run(run: Path, device: str | torch.device = "cpu") -> Trained:
    """The model in a run's folder, with the reported weights. Raises ConfigError where the run is not finished or its
    weights are gone or damaged."""
    record = finished_run(run)
    config = record.experiment()
    names = tuple(record.class_names or config.data.class_names or ())  # records of before have none
    module = untrained(config, names)
    restore(module, config, run)
    return Trained(module.to(device).eval().requires_grad_(False), config, names, record.run_id)


def untrained(config: ExperimentConfig, names: Sequence[str]) -> TaskModule:
    """The task of a configuration, whose weights are loaded next: initial weights are not read. Raises ConfigError
    where a package that it needs is not installed."""
    TASKS[config.task.kind].check_available(config)
    with without_initial_weights():
        return TASKS[config.task.kind](config, 1, names)


def load_backbone(run: str | PathLike[str], patch_size: int | None = None) -> tuple[Backbone, ExperimentConfig]:
    """The backbone alone, in eval mode, on the CPU, and the run's configuration. patch_size: build it for another patch
    size [px], its kernel and positions resampled as for a run that starts from this one; None: its own. Raises
    ConfigError as load does, and for a patch size that does not divide the image."""
    folder = Path(run)
    trained = finished_run(folder).experiment()
    config = trained if patch_size is None else edit(trained, patch_size=patch_size)
    with without_initial_weights():
        backbone = build_backbone(config)
    restore_backbone(backbone, trained, folder)
    return backbone.eval().requires_grad_(False), config
