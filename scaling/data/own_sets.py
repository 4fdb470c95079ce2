"""Data sets of plug-ins: map-style, as torch's Dataset, with an image and its label for an index.

An image is of PIL, a uint8 array (H, W, 3) or (H, W), or a uint8 tensor (3, H, W). A label is a class index; in
segmentation a map (H, W) of class indices, where 255 is no class. H W pixels.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from PIL import Image

from scaling.config.data import DATASETS, OWN_SETS, DataConfig, MapStyle, OpenSet
from scaling.config.experiment import ExperimentConfig
from scaling.data.batch import IGNORE_INDEX
from scaling.data.files.decoding import as_rgb, naming_errors
from scaling.data.held_out import parted
from scaling.data.sampler import steps_per_epoch, subset
from scaling.errors import ConfigError, first_line

if TYPE_CHECKING:
    import torch


class OwnImages:
    """The images of one split. split: "train" or "test"."""

    def __init__(self, data: MapStyle, config: ExperimentConfig, split: str) -> None:
        self.data, self.classes = data, config.data.num_classes
        self.name = f"{config.data.dataset}, {split} image"

    def load(self, i: int) -> tuple[Image.Image, int]:
        """The i-th image, 8-bit RGB, and its class. Raises OSError for an image that cannot be decoded, ConfigError for
        one of another form, and for a class that is not there."""
        image, label = self._pair(i)
        if not 0 <= (number := int(cast(int, label))) < self.classes:
            raise ConfigError(
                f"{self.name} {i} is of class {number}; num_classes {self.classes} has 0 to {self.classes - 1}"
            )
        return image, number

    def load_map(self, i: int) -> "tuple[torch.Tensor, torch.Tensor]":
        """The i-th image (3, H, W) and its label map (H, W), uint8. Raises as load."""
        import torch

        image, label = self._pair(i)
        label_HW = np.asarray(label)
        size = (image.height, image.width)
        if label_HW.shape != size or label_HW.dtype.kind not in "iu":
            raise ConfigError(
                f"{self.name} {i} of {size[0]} x {size[1]} px has labels {label_HW.dtype} {label_HW.shape}; "
                "give class indices (H, W)"
            )
        none = (label_HW < 0) | ((label_HW >= self.classes) & (label_HW != IGNORE_INDEX))
        if none.any():
            raise ConfigError(
                f"{self.name} {i} has a pixel of class {label_HW[none][0]}; num_classes is {self.classes}"
            )
        image_HWC = np.array(image)
        return torch.from_numpy(image_HWC).permute(2, 0, 1), torch.from_numpy(label_HW.astype(np.uint8))

    def _pair(self, i: int) -> tuple[Image.Image, object]:
        pair = self.data[i]
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise ConfigError(f"{self.name} {i} is {type(pair).__name__}, not a pair of an image and its label")
        return self._rgb(pair[0], i), pair[1]

    def _rgb(self, image: object, i: int) -> Image.Image:
        if isinstance(image, Image.Image):
            with naming_errors(lambda: f"{self.name} {i}"):
                image.load()
                return as_rgb(image)
        values = np.asarray(image)
        if type(image).__module__.split(".")[0] == "torch" and values.ndim == 3:
            values = values.transpose(1, 2, 0)
        if values.dtype != np.uint8 or not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)):
            raise ConfigError(
                f"{self.name} {i} is {values.dtype} of shape {values.shape}; give an image of PIL, a uint8 array "
                "(H, W, 3) or a uint8 tensor (3, H, W)"
            )
        return Image.fromarray(values).convert("RGB")


class OwnSplits(NamedTuple):
    """The data of a recipe, and the indices that it uses."""

    train: MapStyle
    test: MapStyle
    kept: np.ndarray  # of train, that are trained on
    held_out: np.ndarray  # of train, that are not
    tested: np.ndarray  # of test


def own_splits(config: ExperimentConfig) -> OwnSplits:
    """Raises ConfigError for what is wrong with the data set or with the numbers of images."""
    name = config.data.dataset
    if name in DATASETS:
        raise ConfigError(f"the plug-in's data set {name} has the name of one that is there already; rename it")
    train, test = _opened(OWN_SETS[name], config.data, config.data.data_root)
    of_train = subset(len(train), config.data.num_train or 0, "num-train")
    of_test = subset(len(test), config.data.num_val or 0, "num-val")
    kept, out = parted([str(i) for i in range(len(train))], of_train, config.data.val_split)
    steps_per_epoch(len(kept), config.optim.global_batch_size)
    return OwnSplits(train, test, of_train[kept], of_train[out], of_test)


@functools.lru_cache(maxsize=2)
def _opened(open_set: OpenSet, data: DataConfig, root: str | None) -> tuple[MapStyle, MapStyle]:
    """Opened once per process. root: of the data, which equality of `data` leaves out."""
    try:
        found = open_set(data)
        train, test = found
    except ConfigError:
        raise
    except Exception as e:
        raise ConfigError(f"data set {data.dataset} cannot be opened ({type(e).__name__}: {first_line(e)})") from e
    for part in (train, test):
        if not (hasattr(part, "__len__") and hasattr(part, "__getitem__")):
            what = f"is {type(part).__name__}, which has no __len__ and __getitem__"
            raise ConfigError(f"a split of data set {data.dataset} {what}; give two map-style data sets")
    return train, test


def class_names(data: MapStyle, config: ExperimentConfig) -> tuple[str, ...]:
    """The names in `classes`, an attribute as torchvision's data sets have it; empty where there is none. Raises
    ConfigError where they are not num_classes."""
    names = tuple(map(str, getattr(data, "classes", ())))
    if names and len(names) != config.data.num_classes:
        raise ConfigError(f"{config.data.dataset} has {len(names)} classes; set --num-classes {len(names)}")
    return names
