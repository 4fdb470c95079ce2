"""Which images of the embedded data set (generated_shapes.py) a recipe uses, and their generation in parts."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from scaling.config.experiment import ExperimentConfig
from scaling.data import dataset
from scaling.data.generated import generated_shapes
from scaling.data.generated.rectangles import rectangles
from scaling.data.held_out import parted
from scaling.errors import ConfigError

TRAIN_IMAGES, TEST_IMAGES = 2**20, 2**14  # where the recipe uses all
PART = 256  # images generated at a time


class Indices(NamedTuple):
    """Indices into the endless training and test sequences."""

    train: np.ndarray
    held_out: np.ndarray
    test: np.ndarray


def check_embedded(config: ExperimentConfig, split: str, n: int, classes: int, channels: int) -> None:
    """Raise ConfigError unless the set has n such images of so many classes that fit in memory. channels: bytes per
    pixel."""
    if config.data.num_classes != classes:
        raise ConfigError(
            f"shapes has {classes} classes, the recipe {config.data.num_classes}; set --num-classes {classes}"
        )
    if config.data.data_version != generated_shapes.VERSION:
        raise ConfigError(
            f"data_version {config.data.data_version} of shapes is not available; this version makes "
            f"{generated_shapes.VERSION}: leave out --data-version"
        )
    if not dataset.fits_in_memory(n * channels * config.model.img_size**2):
        fits = dataset.MEMORY_LIMIT // (channels * config.model.img_size**2)
        raise ConfigError(
            f"{n} shapes of {config.model.img_size} px need more than 2 GiB; use at most {fits} ({split}_images)"
        )


def embedded_indices(config: ExperimentConfig, classes: int, channels: int) -> Indices:
    """The images that a recipe trains on, holds out and is tested on. Raises ConfigError as check_embedded."""
    train, test = config.data.num_train or TRAIN_IMAGES, config.data.num_val or TEST_IMAGES
    for split, n in (("train", train), ("test", test)):
        check_embedded(config, split, n, classes, channels)
    return Indices(*_training_indices(config), np.arange(test))


def _training_indices(config: ExperimentConfig) -> tuple[np.ndarray, np.ndarray]:
    """Those that are trained on, and those that are held out."""
    numbers = np.arange(config.data.num_train or TRAIN_IMAGES)
    return parted([str(number) for number in numbers], numbers, config.data.val_split)


def sizes_of(config: ExperimentConfig, part: str, indices: np.ndarray) -> list[tuple[int, int]]:
    """Height and width of the images of part "train" or "test" [px]: squares, or rectangles, all equally often."""
    side = config.model.img_size
    if config.data.aspect_ratios is None:
        return [(side, side)] * len(indices)
    sizes = rectangles(side, config.data.aspect_ratios)
    return [sizes[k] for k in generated_shapes.shape_numbers(0, indices, len(sizes), part).tolist()]


def training_sizes(config: ExperimentConfig) -> list[tuple[int, int]]:
    """Height and width of the images that are trained on [px]."""
    return sizes_of(config, "train", _training_indices(config)[0])


def rendered(
    config: ExperimentConfig, part: str, indices: np.ndarray, instances: bool = False
) -> Iterator[tuple[np.ndarray, generated_shapes.Shapes]]:
    """The images of part "train" or "test", up to PART of one size at a time, each time with their positions in
    indices. instances: with boxes and masks."""
    sizes = np.array(sizes_of(config, part, indices), np.int64).reshape(-1, 2)
    for height, width in np.unique(sizes, axis=0).tolist():
        of_it = np.flatnonzero((sizes == (height, width)).all(1))
        for start in range(0, len(of_it), PART):
            chunk = of_it[start : start + PART]
            yield (
                chunk,
                generated_shapes.render(0, indices[chunk], (height, width), config.data.max_objects, part, instances),
            )
