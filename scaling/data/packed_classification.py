"""Images with one class each as rows of tokens: every image keeps its aspect ratio, several share a row (NaViT, arXiv
2307.06304). The images of a micro-batch are packed together, so a batch is a number of images whatever their sizes.
"""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scaling.config.at_shape import at_shape, model_shape
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import NATIVE, SequencePacking
from scaling.config.step_shapes import StepShape
from scaling.data.batch import Batch, ClassTargets, Split
from scaling.data.dataset import fits_in_memory, read_keys
from scaling.data.files.image_folder import Files
from scaling.data.files.parallel_reading import read_all, without_bad
from scaling.data.open_sets import Examined
from scaling.data.transforms.classification import PILS
from scaling.model_specs import CLASS_TOKENS
from scaling.packing.drawn_grids import Grids, drawn_grids, grids_of_size
from scaling.packing.packed_images import pack
from scaling.packing.row_plan import CUT
from scaling.packing.token_drop import kept_patches
from scaling.preprocessing import preprocessing_of
from scaling.rng import SampleKey, uniform

Labelled = tuple[Image.Image, int]


class PackedImageSet:
    """n images and labels that read returns; the rest as in ImageDataset. In training the size of an image, and which
    of its patches are kept, are functions of seed, step and sample key. In evaluation the size is
    the recipe's img_size, or the image's own where image_sizes is native, and all patches are kept."""

    sizes: Sequence[Hashable] = ()

    def __init__(
        self,
        read: Callable[[int], Labelled],
        n: int,
        config: ExperimentConfig,
        split: Split,
        in_memory: bool = True,
        skipped: int = 0,
    ) -> None:
        assert isinstance(config.packing, SequencePacking)
        self.read, self.n, self.config, self.split, self.packing = read, n, config, split, config.packing
        self.in_memory, self.skipped = in_memory, skipped

    def __len__(self) -> int:
        return self.n

    def get_batch(self, keys: list[SampleKey], shape: StepShape | None = None, progress: float = 0.0) -> Batch:
        config, packing = at_shape(self.config, shape), self.packing
        found = read_keys(lambda index, key: self.read(index), keys, self.n, config, self.split)
        grids = self._grids([image for image, _ in found.items], found.keys, config, progress)
        images = [_resized(image, grid, config) for (image, _), grid in zip(found.items, grids.whole, strict=True)]
        if self.split is Split.TRAIN and config.task.augment == "flip":
            flipped_B = uniform(found.keys, config.seed, "flip")[:, 0] < 0.5
            images = [x.flip(2) if flipped else x for x, flipped in zip(images, flipped_B, strict=True)]
        targets = ClassTargets(torch.tensor([label for _, label in found.items], dtype=torch.int64))
        if grids.are_equal:  # these need no packing
            side = config.model.img_size
            pixels = torch.stack(images) if images else torch.empty(0, 3, side, side, dtype=torch.uint8)
            return Batch(pixels, found.keys, model_shape(config), targets, found.skipped)
        whole = [h * w for h, w in grids.whole]
        drawn = (kept_patches(*one, config.seed) for one in zip(whole, grids.kept, found.keys, strict=True))
        packed = pack(
            images,
            config.model.patch_size,
            packing.sequence_length,
            CLASS_TOKENS[config.model.family],
            packing.packing_plan,
            trim=packing.packing_plan in CUT,
            kept=None if grids.kept == whole else tuple(drawn),
        )
        return Batch(packed.patch_LP, found.keys, model_shape(config), targets, found.skipped, packed.rows)

    def _grids(
        self, images: Sequence[Image.Image], keys: list[SampleKey], config: ExperimentConfig, progress: float
    ) -> Grids:
        sides = [(image.height, image.width) for image in images]
        if self.split is Split.TRAIN:
            return drawn_grids(config, sides, keys, progress)
        native = self.packing.image_sizes == NATIVE
        return grids_of_size(config, sides, None if native else float(config.model.img_size))


def _resized(image: Image.Image, grid: tuple[int, int], config: ExperimentConfig) -> Tensor:
    """(3, H, W) uint8, of so many patches."""
    (h, w), patch = grid, config.model.patch_size
    if image.size != (w * patch, h * patch):
        image = image.resize((w * patch, h * patch), PILS[preprocessing_of(config).interpolation])
    return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())


def read_packed(part: Examined[Files], config: ExperimentConfig, split: Split) -> PackedImageSet:
    """The images of files, decoded at their own sizes where they fit in memory."""
    files, indices, seen = part.files, part.indices, part.seen
    fits = bool(seen.size_N2.all()) and fits_in_memory(3 * int(seen.size_N2.prod(1).sum()))
    found: Sequence[Labelled | OSError | None] = read_all(files.load, indices, seen) if fits else seen.errors()
    good = without_bad(list(zip(indices.tolist(), found, strict=True)), config.data.on_bad_image, files.split)
    images = [image for _, image in good if image is not None]
    read = images.__getitem__ if fits else lambda i: files.load(good[i][0])
    return PackedImageSet(read, len(good), config, split, in_memory=fits, skipped=len(indices) - len(good))
