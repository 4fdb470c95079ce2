"""Images as rows of tokens, for classification and segmentation: every image keeps its aspect ratio, several share a
row (NaViT, arXiv 2307.06304). The images of a micro-batch are packed together, so a batch is a number of images
whatever their sizes. H W pixels of an image, C = 3 channels.
"""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from scaling.config.at_shape import SIZES, at_shape, model_shape
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import NATIVE, SequencePacking
from scaling.config.step_shapes import StepShape
from scaling.data.batch import Batch, Split, Targets
from scaling.data.dataset import read_keys
from scaling.errors import ConfigError
from scaling.model_specs import CLASS_TOKENS
from scaling.packing.fitted_grid import fitted_grid, reduced_grid
from scaling.packing.packed_images import pack
from scaling.rng import SampleKey, uniform

Item = TypeVar("Item")  # an image and its label, as they are read
Viewed = TypeVar("Viewed", contravariant=True)  # the same
Label = TypeVar("Label")


class View(Protocol[Viewed, Label]):
    """What differs between tasks."""

    def size(self, item: Viewed) -> tuple[int, int]:
        """Height and width of the image [px]."""

    def resized(self, item: Viewed, size: tuple[int, int], config: ExperimentConfig) -> tuple[Tensor, Label]:
        """The image (C, H, W), uint8, of this height and width [px], and its label."""

    def flipped(self, image_CHW: Tensor, label: Label) -> tuple[Tensor, Label]:
        """Both mirrored, left and right exchanged."""

    def targets(self, labels: list[Label]) -> Targets:
        """Of a batch."""


class PackedImageSet(Generic[Item, Label]):
    """n images and labels that read returns; the rest as in ImageDataset. In training the size of an image is a
    function of seed and sample key; in evaluation it is the recipe's img_size, or the image's own where image_sizes is
    native."""

    sizes: Sequence[Hashable] = ()

    def __init__(
        self,
        read: Callable[[int], Item],
        n: int,
        view: View[Item, Label],
        config: ExperimentConfig,
        split: Split,
        in_memory: bool = True,
        skipped: int = 0,
    ) -> None:
        self.read, self.n, self.view, self.config, self.split = read, n, view, config, split
        self.packing = packing_of(config)
        self.in_memory, self.skipped = in_memory, skipped

    def __len__(self) -> int:
        return self.n

    def get_batch(self, keys: list[SampleKey], shape: StepShape | None = None) -> Batch:
        config = at_shape(self.config, shape)
        found = read_keys(lambda index, key: self.read(index), keys, self.n, config, self.split)
        sizes = self._sizes(found.keys, config)
        views = [self._resized(item, config, size) for item, size in zip(found.items, sizes, strict=True)]
        if self.split is Split.TRAIN and config.task.augment == "flip":
            flipped_B = uniform(found.keys, config.seed, "flip")[:, 0] < 0.5
            views = [self.view.flipped(*x) if flipped else x for x, flipped in zip(views, flipped_B, strict=True)]
        images, targets = [image_CHW for image_CHW, _ in views], self.view.targets([label for _, label in views])
        if len({image_CHW.shape for image_CHW in images}) <= 1:  # equal images need no packing
            side = config.model.img_size
            pixels = torch.stack(images) if images else torch.empty(0, 3, side, side, dtype=torch.uint8)
            return Batch(pixels, found.keys, model_shape(config), targets, found.skipped)
        class_tokens = CLASS_TOKENS[config.model.family]
        packing = self.packing
        packed = pack(
            images,
            config.model.patch_size,
            packing.sequence_length,
            class_tokens,
            packing.packing_plan,
            trim=packing.packing_plan == "balanced",
        )
        return Batch(packed.patch_LP, found.keys, model_shape(config), targets, found.skipped, packed.rows)

    def _sizes(self, keys: list[SampleKey], config: ExperimentConfig) -> list[float | None]:
        """Sizes of the images [px]; None: their own."""
        if self.split is Split.TRAIN or self.packing.image_sizes == NATIVE:
            shares: list[float] = uniform(keys, config.seed, "image_size")[:, 0].tolist() if keys else []
            return [self.packing.size_at(share) for share in shares]
        return [evaluated_size(config)] * len(keys)

    def _resized(self, item: Item, config: ExperimentConfig, size: float | None) -> tuple[Tensor, Label]:
        height, width = self.view.size(item)
        return self.view.resized(item, packed_size(height, width, config, size), config)


def packing_of(config: ExperimentConfig) -> SequencePacking:
    """Raises ConfigError where images are not packed."""
    if not isinstance(config.packing, SequencePacking):
        raise ConfigError(f"packing is {config.packing.kind}, not sequences")
    return config.packing


def evaluated_size(config: ExperimentConfig) -> float | None:
    """To which size test images are resized [px]; None: they have their own."""
    return None if packing_of(config).image_sizes == NATIVE else float(config.model.img_size)


def packed_size(height: int, width: int, config: ExperimentConfig, size: float | None) -> tuple[int, int]:
    """Height and width [px], which the patch divides, of an image of height x width px at a size [px] (None: its own).
    Raises ConfigError for one of more tokens than a row has where those are refused."""
    packing, patch = packing_of(config), config.model.patch_size
    most = packing.sequence_length - sum(CLASS_TOKENS[config.model.family])
    sides = (float(height), float(width)) if packing.keep_aspect_ratio else (math.sqrt(height * width),) * 2
    h, w = fitted_grid(*sides, patch, size, packing.size_measure)
    if h * w > most:
        if packing.on_large_image == "stop":
            raise ConfigError(
                f"an image of {height} x {width} px has {h * w} patches, and a row of sequence_length "
                f"{packing.sequence_length} holds {most}: a longer one, or --on-large-image reduce"
            )
        h, w = reduced_grid(*sides, patch, most)
    return h * patch, w * patch


def mean_pixels(sizes: Sequence[tuple[int, int]], config: ExperimentConfig) -> float:
    """Pixels of a training image [px^2]: the mean over images of these heights and widths [px], and over the sizes that
    they are resized to, at equal steps of their distribution."""
    drawn = [packing_of(config).size_at((step + 0.5) / SIZES) for step in range(SIZES)]
    counts = Counter(sizes)
    total = sum(n * math.prod(packed_size(*size, config, to)) for size, n in counts.items() for to in drawn)
    return total / (len(sizes) * len(drawn))
