"""DataConfig: which images a run trains on and is evaluated on. Where they are on this machine is not part of a run."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from scaling.config.fields import Bounds, check, check_fields, check_name, config_field
from scaling.errors import ConfigError

DATASETS = ("shapes", "cifar10", "imagenet", "ade20k", "camvid", "coco", "nuclei", "folder")
COCO_LAYOUT = ("coco", "nuclei")  # objects in COCO's JSON, also for segmentation
DATASET_PREFIXES = ("hfds/", "wds/")  # of Hugging Face data sets and WebDataset shards, as in timm
SHAPES_VERSION = 2  # of the generated set: increased whenever a pixel or a label changes
ON_BAD_IMAGE = ("stop", "skip")
RATIOS = (0.25, 4.0)  # limits of aspect ratios


class MapStyle(Protocol):
    """A map-style data set, such as a torch Dataset: an image and its label by index (scaling/data/own_sets.py)."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> tuple[object, object]: ...


OpenSet = Callable[["DataConfig"], tuple[MapStyle, MapStyle]]  # gives the training and the test images
OWN_SETS: dict[str, OpenSet] = {}  # by name, those of plug-ins


def _check_dataset(name: str) -> None:
    if not name.startswith(DATASET_PREFIXES):
        check_name("data set", name, (*DATASETS, *OWN_SETS))


def check_digest(name: str, value: str | None) -> None:
    """Raise ConfigError unless value is None or a fingerprint: 16 hexadecimal digits."""
    check(value is None or bool(re.fullmatch("[0-9a-f]{16}", value)), name, value, "must be 16 hex digits")


def parse_ratios(text: str) -> tuple[float, float]:
    """The least and the largest ratio of width to height of a range such as 0.5-2. Raises ConfigError."""
    low, _, high = text.partition("-")
    if not all(re.fullmatch(r"[0-9]+(\.[0-9]+)?", part) for part in (low, high)):
        raise ConfigError(f"aspect_ratios {text!r} is not a range of width : height, as 0.5-2")
    if not RATIOS[0] <= float(low) <= float(high) <= RATIOS[1]:
        raise ConfigError(
            f"aspect_ratios {text!r} must be a range from a ratio to a larger one, in [{RATIOS[0]:g}, {RATIOS[1]:g}]"
        )
    return float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """A data set and the part of it that is used."""

    dataset: str = config_field(
        "shapes (generated), cifar10, imagenet, ade20k, camvid, coco, nuclei, folder, hfds/NAME (Hugging Face) or "
        "wds/NAME (WebDataset shards)",
        "shapes",
        choices=_check_dataset,
        common=True,
    )
    data_root: str | None = config_field(
        "folder or tar files of the data; a relative path is looked up here, in $SCALING_DATA, in data/ and in "
        "../shared/data",
        None,
        location=True,
        common=True,
    )
    data_digest: str | None = config_field(
        "fingerprint of the contents of the files; identifies the data instead of data_root", None, found=True
    )
    data_version: int | None = config_field(
        "version of the data: of the generated set's pixels, or a number of your own; default: the present one of "
        f"shapes, {SHAPES_VERSION}, and 1 of other data sets",
        None,
        bounds=Bounds(at_least=1),
        follows="dataset",
    )
    num_classes: int = config_field("number of classes", 3, bounds=Bounds(at_least=1))
    class_names: tuple[str, ...] | None = config_field(
        "names of the classes, separated by commas; default: those of the data set, else numbers", None
    )
    num_train: int | None = config_field(
        "training images: a fixed random subset, independent of the seed; default: all",
        None,
        unit="images",
        bounds=Bounds(at_least=1),
        common=True,
    )
    num_val: int | None = config_field(
        "test images, likewise; default: all", None, unit="images", bounds=Bounds(at_least=1), common=True
    )
    val_split: float = config_field(
        "share of the training images held out of training, by a hash of their names, equal for all seeds and patch "
        "sizes: --val-interval evaluates these, the record has their metrics as val_*, and the test images are "
        "evaluated at the end only; 0: none, and --val-interval evaluates the test images",
        0.0,
        bounds=Bounds(at_least=0, below=1),
    )
    max_objects: int = config_field("shapes: an image has from one to this many objects", 1, bounds=Bounds(at_least=1))
    aspect_ratios: str | None = config_field(
        "shapes: images are rectangles of about img_size x img_size pixels whose width : height is in this range, such "
        "as 0.5-2, each with its own; needs --packing sequences; default: squares",
        None,
    )
    on_bad_image: str = config_field(
        "unreadable image file: stop, or skip (counted; in training the next image takes its place)",
        "stop",
        choices=ON_BAD_IMAGE,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.data_version is None:  # never stored: a record must name the version that it was made with
            object.__setattr__(self, "data_version", SHAPES_VERSION if self.dataset == "shapes" else 1)
        check_digest("data_digest", self.data_digest)
        if self.aspect_ratios is not None:
            parse_ratios(self.aspect_ratios)
            check(self.dataset == "shapes", "aspect_ratios", self.aspect_ratios, "is for shapes: files have their own")
        if self.class_names is not None and len(self.class_names) != self.num_classes:
            raise ConfigError(
                f"class_names has {len(self.class_names)} names, num_classes is {self.num_classes}; set --num-classes"
            )
