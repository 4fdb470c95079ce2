"""Images with one class each: the embedded set, or files of any format and size (image_folder.py).

What fits in memory is decoded once and served from there; the rest is read by worker processes.
"""

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from scaling.config.at_shape import at_shape, model_shape
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import SequencePacking
from scaling.config.step_shapes import StepShape
from scaling.config.task import VIEWS
from scaling.data import packed_classification
from scaling.data.batch import Batch, ClassTargets, Split
from scaling.data.dataset import ImageDataset, fits_in_memory, read_keys
from scaling.data.files.file_facts import Selected
from scaling.data.files.image_folder import Files, used
from scaling.data.files.parallel_reading import read_all, without_bad
from scaling.data.generated import generated_shapes
from scaling.data.generated.embedded_set import rendered
from scaling.data.open_sets import Examined
from scaling.data.own_sets import OwnImages
from scaling.data.transforms.classification import (
    TORCHVISIONS,
    augment_batch,
    check_rand_augment,
    erase,
    fit_image,
    view,
)
from scaling.data.transforms.scheduled_crop import scheduled_crop, whole
from scaling.preprocessing import preprocessing_of
from scaling.rng import SampleKey


class InMemory:
    """Decoded images. image_NCHW uint8, at the recipe's size; label_N int64."""

    in_memory = True
    sizes: Sequence[Hashable] = ()

    def __init__(
        self, image_NCHW: Tensor, label_N: Tensor, config: ExperimentConfig, split: Split, skipped: int = 0
    ) -> None:
        self.image_NCHW, self.label_N = image_NCHW, label_N
        self.config, self.split, self.skipped = config, split, skipped

    def __len__(self) -> int:
        return len(self.label_N)

    def get_batch(self, keys: list[SampleKey], shape: StepShape | None = None, progress: float = 0.0) -> Batch:
        config = at_shape(self.config, whole(shape))
        indices = torch.tensor([key.image for key in keys], dtype=torch.int64)  # of no keys, too
        images = self.image_NCHW[indices]
        if makes_views(config, self.split):
            images_HWC = images.permute(0, 2, 3, 1).numpy()
            views = [view(Image.fromarray(image), config, key) for image, key in zip(images_HWC, keys, strict=True)]
            images = _stack(views, config)
        return scheduled_crop(_batch(images, self.label_N[indices], keys, config, self.split), shape, config.seed)


class OnDisk:
    """Images that are read when a batch needs them. indices: of those that are used."""

    in_memory = False
    sizes: Sequence[Hashable] = ()

    def __init__(
        self, files: Files | OwnImages, indices: np.ndarray, config: ExperimentConfig, split: Split, skipped: int = 0
    ) -> None:
        self.files, self.indices, self.config, self.split = files, indices, config, split
        self.skipped = skipped

    def __len__(self) -> int:
        return len(self.indices)

    def get_batch(self, keys: list[SampleKey], shape: StepShape | None = None, progress: float = 0.0) -> Batch:
        config = at_shape(self.config, whole(shape))

        def read(index: int, key: SampleKey) -> tuple[np.ndarray, int]:
            image, label = self.files.load(int(self.indices[index]))
            return view(image, config, key) if makes_views(config, self.split) else _fitted(image, config), label

        found = read_keys(read, keys, len(self), config, self.split)
        label_B = torch.tensor([label for _, label in found.items], dtype=torch.int64)
        images = _stack([image_CHW for image_CHW, _ in found.items], config)
        batch = _batch(images, label_B, found.keys, config, self.split, found.skipped)
        return scheduled_crop(batch, shape, config.seed)


def makes_views(config: ExperimentConfig, split: Split) -> bool:
    """Whether images are augmented one by one, before they have the size of the batch."""
    return split is Split.TRAIN and config.task.augment in VIEWS


def _fitted(image: Image.Image, config: ExperimentConfig) -> np.ndarray:
    """(3, H, W) uint8."""
    return fit_image(
        image, config.model.img_size, config.classification.crop_pct, preprocessing_of(config).interpolation
    )


def _stack(images: list[np.ndarray], config: ExperimentConfig) -> Tensor:
    side = config.model.img_size
    return torch.from_numpy(np.stack(images) if images else np.empty((0, 3, side, side), np.uint8))


def _batch(
    image_BCHW: Tensor, label_B: Tensor, keys: list[SampleKey], config: ExperimentConfig, split: Split, skipped: int = 0
) -> Batch:
    """The batch, after the augmentation that is done to all images at once."""
    if split is Split.TRAIN:
        if not makes_views(config, split):
            image_BCHW = augment_batch(image_BCHW, keys, config.seed, config.task.augment)
        image_BCHW = erase(
            _resized(image_BCHW, config),
            keys,
            config.seed,
            config.classification.random_erasing_prob,
            preprocessing_of(config),
        )
    return Batch(image_BCHW, keys, model_shape(config), ClassTargets(label_B), skipped)


def _resized(image_BCHW: Tensor, config: ExperimentConfig) -> Tensor:
    """Images in memory have the size of the model; that of a step may differ."""
    size, by = [config.model.img_size, config.model.img_size], TORCHVISIONS[preprocessing_of(config).interpolation]
    return image_BCHW if list(image_BCHW.shape[2:]) == size else F.resize_image(image_BCHW, size, by, antialias=True)


class ClassificationSource:
    """Methods as in open_sets.Source."""

    names, channels = generated_shapes.CLASSES, 3

    def check(self, config: ExperimentConfig) -> None:
        if config.classification.auto_augment:
            check_rand_augment(config.classification.auto_augment or "")

    def generate(self, config: ExperimentConfig, part: str, indices: np.ndarray, split: Split) -> ImageDataset:
        if isinstance(config.packing, SequencePacking):
            return packed_classification.generated(config, part, indices, split)
        n = len(indices)
        image_NCHW = np.empty((n, 3, config.model.img_size, config.model.img_size), np.uint8)
        label_N = np.empty(n, np.int64)
        for chunk, shapes in rendered(config, part, indices):
            image_NCHW[chunk] = shapes.image_BHWC.transpose(0, 3, 1, 2)
            label_N[chunk] = shapes.label_B
        return InMemory(torch.from_numpy(image_NCHW), torch.from_numpy(label_N), config, split)

    def wrap(self, images: OwnImages, indices: np.ndarray, config: ExperimentConfig, split: Split) -> ImageDataset:
        return OnDisk(images, indices, config, split)

    def select(self, config: ExperimentConfig) -> tuple[Selected[Files], Selected[Files]]:
        return used(config)

    def class_names(self, train: Files, config: ExperimentConfig) -> tuple[str, ...]:
        return tuple(train.names)

    def remarks(
        self, train: Examined[Files], test: Examined[Files], config: ExperimentConfig, names: tuple[str, ...]
    ) -> Iterable[str]:
        return (*train.files.lines, *test.files.lines)

    def read(self, part: Examined[Files], config: ExperimentConfig, split: Split) -> ImageDataset:
        files, indices = part.files, part.indices
        if isinstance(config.packing, SequencePacking):
            return packed_classification.read_packed(part, config, split)
        if not makes_views(config, split) and fits_in_memory(len(indices) * 3 * config.model.img_size**2):

            def decode(i: int) -> tuple[np.ndarray, int]:
                image, label = files.load(i)
                return _fitted(image, config), label

            found = list(zip(indices.tolist(), read_all(decode, indices, part.seen), strict=True))
            good = without_bad(found, config.data.on_bad_image, files.split)
            image_NCHW = torch.from_numpy(np.stack([pixels for _, (pixels, _) in good]))
            label_N = torch.tensor([label for _, (_, label) in good])
            return InMemory(image_NCHW, label_N, config, split, len(indices) - len(good))
        errors = list(zip(indices.tolist(), part.seen.errors(), strict=True))
        kept = np.array([i for i, _ in without_bad(errors, config.data.on_bad_image, files.split)])
        return OnDisk(files, kept, config, split, len(indices) - len(kept))
