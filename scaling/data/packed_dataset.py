"""Images as rows of tokens, for classification and segmentation: every image keeps its aspect ratio, several share a
row (NaViT, arXiv 2307.06304). The images of a micro-batch are packed together, so a batch is a number of images
whatever their sizes. H W pixels of an image, C = 3 channels.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from scaling.config.at_shape import at_shape, model_shape
from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import StepShape
from scaling.data.batch import Batch, Split, Targets
from scaling.data.dataset import read_keys
from scaling.model_specs import CLASS_TOKENS
from scaling.packing.drawn_grids import Grids, drawn_grids, evaluated_size, grids_of_size, packing_of
from scaling.packing.packed_images import pack
from scaling.packing.row_plan import CUT
from scaling.packing.token_drop import kept_patches
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
    """n images and labels that read returns; the rest as in ImageDataset. In training the size of an image, and which
    of its patches are kept, are functions of seed, step and sample key. In evaluation the size is the recipe's
    img_size, or the image's own where image_sizes is native, and all patches are kept."""

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
        self.in_memory, self.skipped = in_memory, skipped

    def __len__(self) -> int:
        return self.n

    def get_batch(self, keys: list[SampleKey], shape: StepShape | None = None, progress: float = 0.0) -> Batch:
        config, packing = at_shape(self.config, shape), packing_of(self.config)
        patch = config.model.patch_size
        found = read_keys(lambda index, key: self.read(index), keys, self.n, config, self.split)
        grids = self._grids([self.view.size(item) for item in found.items], found.keys, config, progress)
        sizes = [(h * patch, w * patch) for h, w in grids.whole]
        views = [self.view.resized(item, size, config) for item, size in zip(found.items, sizes, strict=True)]
        if self.split is Split.TRAIN and config.task.augment == "flip":
            flipped_B = uniform(found.keys, config.seed, "flip")[:, 0] < 0.5
            views = [self.view.flipped(*x) if flipped else x for x, flipped in zip(views, flipped_B, strict=True)]
        images, targets = [image_CHW for image_CHW, _ in views], self.view.targets([label for _, label in views])
        if grids.are_equal:  # these need no packing
            side = config.model.img_size
            pixels = torch.stack(images) if images else torch.empty(0, 3, side, side, dtype=torch.uint8)
            return Batch(pixels, found.keys, model_shape(config), targets, found.skipped)
        whole = [h * w for h, w in grids.whole]
        packed = pack(
            images,
            patch,
            packing.sequence_length,
            CLASS_TOKENS[config.model.family],
            packing.packing_plan,
            trim=packing.packing_plan in CUT,
            kept=None if grids.kept == whole else kept_patches(whole, grids.kept, found.keys, config.seed),
        )
        return Batch(packed.patch_LP, found.keys, model_shape(config), targets, found.skipped, packed.rows)

    def _grids(
        self, sides: list[tuple[int, int]], keys: list[SampleKey], config: ExperimentConfig, progress: float
    ) -> Grids:
        if self.split is Split.TRAIN:
            return drawn_grids(config, sides, keys, progress)
        return grids_of_size(config, sides, evaluated_size(config))
