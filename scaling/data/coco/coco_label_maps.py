"""COCO's layout read for segmentation: the class of a pixel is that of the object that covers it, 0 is background.

Of objects that overlap, the smaller one is in front. Pixels of a crowd, where no object is marked, have no class.
H W pixels of an image, C = 3 channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from scaling.config.experiment import ExperimentConfig
from scaling.data.batch import IGNORE_INDEX
from scaling.data.coco.coco_annotations import image_objects
from scaling.data.coco.coco_dataset import CocoFiles
from scaling.data.coco.coco_json import check_categories, read_coco
from scaling.data.coco.instance_store import ImageObjects, coco_masks
from scaling.data.files.data_root import find_root
from scaling.data.files.file_facts import Facts, Selected
from scaling.data.sampler import subset
from scaling.errors import ConfigError


@dataclass(frozen=True)
class CocoLabelMaps:
    """The images of a split and the label maps that their objects make. Methods as in segmentation_folder.LabelMaps."""

    coco: CocoFiles
    lines: tuple[str, ...] = ()
    width = 32  # one bit per value of a byte

    def __len__(self) -> int:
        return len(self.coco)

    @property
    def split(self) -> str:
        return self.coco.split

    @property
    def key(self) -> str:
        return f"{self.coco.key} label maps"

    @property
    def about(self) -> bytes:
        return self.coco.about

    @property
    def file_names(self) -> list[str]:
        return self.coco.file_names

    def take(self, indices: Sequence[int]) -> "CocoLabelMaps":
        return replace(self, coco=self.coco.take(indices))

    def stamps(self, indices: np.ndarray) -> np.ndarray:
        return self.coco.stamps(indices)

    def examine(self, i: int) -> Facts:
        has = np.bincount(self.label(i).ravel(), minlength=IGNORE_INDEX + 1) > 0
        return self.coco.examine(i)._replace(size=self.coco.sizes[i], present=np.packbits(has).tobytes())

    def load(self, i: int) -> tuple[Tensor, Tensor]:
        return self.coco.load(i), torch.from_numpy(self.label(i))

    def label(self, i: int) -> np.ndarray:
        """(H, W) uint8. Raises ConfigError for an invalid mask."""
        image = self.coco.images[i]
        return label_map(image_objects(image.image_id, image.size, image.annotations, self.coco.file))


def label_map(objects: ImageObjects) -> np.ndarray:
    """(H, W) uint8, from the objects of an image: 0 background, else 1 + class; IGNORE_INDEX in a crowd."""
    label_HW = np.zeros(objects.size, np.uint8)
    for n in np.lexsort((-objects.area_n, ~objects.crowd_n)).tolist():  # crowds, then objects from large to small
        mask_HW = coco_masks().decode({"size": list(objects.size), "counts": objects.counts[n]})
        label_HW[mask_HW > 0] = IGNORE_INDEX if objects.crowd_n[n] else 1 + objects.label_n[n]
    return label_HW


def used(config: ExperimentConfig) -> tuple[Selected[CocoLabelMaps], Selected[CocoLabelMaps]]:
    """The training and the test images of a recipe, and which of them it uses. Raises ConfigError."""
    root = find_root(config.data.data_root or "")
    train, test = read_coco(root, "train"), read_coco(root, "test")
    check_categories(train, test, len(train.categories))
    if config.data.num_classes != (needed := len(train.categories) + 1):
        raise ConfigError(
            f"{train.file} has {needed} classes, its categories and the background, the recipe "
            f"{config.data.num_classes}; set --num-classes {needed}"
        )
    of_train = subset(len(train), config.data.num_train or 0, "num-train")
    of_test = subset(len(test), config.data.num_val or 0, "num-val")
    return Selected(CocoLabelMaps(train), of_train), Selected(CocoLabelMaps(test), of_test)


def class_names(files: CocoLabelMaps) -> tuple[str, ...]:
    return ("background", *(name for _, name in files.coco.categories))
