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
from scaling.errors import ConfigError
from scaling.model_specs import CLASS_TOKENS
from scaling.packing.fitted_grid import fitted_grid, reduced_grid
from scaling.packing.packed_images import pack
from scaling.preprocessing import preprocessing_of
from scaling.rng import SampleKey, uniform

Labelled = tuple[Image.Image, int]


class PackedImageSet:
    """n images and labels that read returns; the rest as in ImageDataset. In training the size of an image is a
    function of seed and sample key; in evaluation it is the recipe's img_size, or the image's own where image_sizes is
    native."""

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

    def get_batch(self, keys: list[SampleKey], shape: StepShape | None = None) -> Batch:
        config = at_shape(self.config, shape)
        found = read_keys(lambda index, key: self.read(index), keys, self.n, config, self.split)
        sizes = self._sizes(found.keys, config)
        images = [self._resized(image, config, size) for (image, _), size in zip(found.items, sizes, strict=True)]
        if self.split is Split.TRAIN and config.task.augment == "flip":
            flipped_B = uniform(found.keys, config.seed, "flip")[:, 0] < 0.5
            images = [x.flip(2) if flipped else x for x, flipped in zip(images, flipped_B, strict=True)]
        targets = ClassTargets(torch.tensor([label for _, label in found.items], dtype=torch.int64))
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
        return [float(config.model.img_size)] * len(keys)

    def _resized(self, image: Image.Image, config: ExperimentConfig, size: float | None) -> Tensor:
        """(3, H, W) uint8, sides that the patch divides."""
        patch = config.model.patch_size
        most = self.packing.sequence_length - sum(CLASS_TOKENS[config.model.family])
        h, w = fitted_grid(image.height, image.width, patch, size, self.packing.size_measure)
        if h * w > most:
            if self.packing.on_large_image == "stop":
                raise ConfigError(
                    f"an image of {image.height} x {image.width} px has {h * w} patches, and a row of sequence_length "
                    f"{self.packing.sequence_length} holds {most}: a longer one, or --on-large-image reduce"
                )
            h, w = reduced_grid(image.height, image.width, patch, most)
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
