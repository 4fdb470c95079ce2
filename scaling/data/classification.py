"""Images with one class each: the embedded set, or files of any format and size (image_folder.py).

What fits in memory is decoded once and served from there; the rest is read by worker processes.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from scaling.config.step_shapes import StepShape
from scaling.data import generated_shapes
from scaling.data.batch import Batch, ClassTargets, Split
from scaling.data.dataset import at_shape, fits_in_memory, model_shape, read_keys
from scaling.data.embedded_set import rendered
from scaling.data.file_facts import Selected
from scaling.data.image_folder import Files, used
from scaling.data.open_sets import Examined
from scaling.data.parallel_reading import read_all, without_bad
from scaling.data.transforms import TORCHVISIONS, augment_batch, check_rand_augment, erase, fit_image, view
from scaling.preprocessing import preprocessing_of
from scaling.recipe import VIEWS, Recipe
from scaling.rng import SampleKey


class InMemory:
    """Decoded images. image_NCHW uint8, at the recipe's size; label_N int64."""

    in_memory = True
    sizes: Sequence[Any] = ()

    def __init__(self, image_NCHW: Tensor, label_N: Tensor, recipe: Recipe, split: Split, skipped: int = 0) -> None:
        self.image_NCHW, self.label_N = image_NCHW, label_N
        self.recipe, self.split, self.skipped = recipe, split, skipped

    def __len__(self) -> int:
        return len(self.label_N)

    def get_batch(self, keys: list[SampleKey], shape: StepShape | None = None) -> Batch:
        recipe = at_shape(self.recipe, shape)
        indices = torch.tensor([key.image for key in keys], dtype=torch.int64)  # of no keys, too
        images = self.image_NCHW[indices]
        if makes_views(recipe, self.split):
            images_HWC = images.permute(0, 2, 3, 1).numpy()
            views = [view(Image.fromarray(image), recipe, key) for image, key in zip(images_HWC, keys, strict=True)]
            images = _stack(views, recipe)
        return _batch(images, self.label_N[indices], keys, recipe, self.split)


class OnDisk:
    """Files that are decoded when a batch needs them. indices: of the files that are used."""

    in_memory = False
    sizes: Sequence[Any] = ()

    def __init__(self, files: Files, indices: np.ndarray, recipe: Recipe, split: Split, skipped: int = 0) -> None:
        self.files, self.indices, self.recipe, self.split = files, indices, recipe, split
        self.skipped = skipped

    def __len__(self) -> int:
        return len(self.indices)

    def get_batch(self, keys: list[SampleKey], shape: StepShape | None = None) -> Batch:
        recipe = at_shape(self.recipe, shape)

        def read(index: int, key: SampleKey) -> tuple[np.ndarray, int]:
            image, label = self.files.load(int(self.indices[index]))
            return view(image, recipe, key) if makes_views(recipe, self.split) else _fitted(image, recipe), label

        found = read_keys(read, keys, len(self), recipe, self.split)
        label_B = torch.tensor([label for _, label in found.items], dtype=torch.int64)
        images = _stack([image_CHW for image_CHW, _ in found.items], recipe)
        return _batch(images, label_B, found.keys, recipe, self.split, found.skipped)


def makes_views(recipe: Recipe, split: Split) -> bool:
    """Whether images are augmented one by one, before they have the size of the batch."""
    return split is Split.TRAIN and recipe.augment in VIEWS


def _fitted(image: Image.Image, recipe: Recipe) -> np.ndarray:
    """(3, H, W) uint8."""
    return fit_image(image, recipe.image, recipe.crop, preprocessing_of(recipe).interpolation)


def _stack(images: list[np.ndarray], recipe: Recipe) -> Tensor:
    side = recipe.image
    return torch.from_numpy(np.stack(images) if images else np.empty((0, 3, side, side), np.uint8))


def _batch(
    image_BCHW: Tensor, label_B: Tensor, keys: list[SampleKey], recipe: Recipe, split: Split, skipped: int = 0
) -> Batch:
    """The batch, after the augmentation that is done to all images at once."""
    if split is Split.TRAIN:
        if not makes_views(recipe, split):
            image_BCHW = augment_batch(image_BCHW, keys, recipe.seed, recipe.augment)
        image_BCHW = erase(_resized(image_BCHW, recipe), keys, recipe.seed, recipe.erasing, preprocessing_of(recipe))
    return Batch(image_BCHW, keys, model_shape(recipe), ClassTargets(label_B), skipped)


def _resized(image_BCHW: Tensor, recipe: Recipe) -> Tensor:
    """Images in memory have the size of the model; that of a step may differ."""
    size, by = [recipe.image, recipe.image], TORCHVISIONS[preprocessing_of(recipe).interpolation]
    return image_BCHW if list(image_BCHW.shape[2:]) == size else F.resize_image(image_BCHW, size, by, antialias=True)


class ClassificationSource:
    """Methods as in open_sets.Source."""

    names, channels = generated_shapes.CLASSES, 3

    def check(self, recipe: Recipe) -> None:
        if recipe.rand_augment:
            check_rand_augment(recipe.rand_augment)

    def generate(self, recipe: Recipe, part: str, indices: np.ndarray, split: Split) -> InMemory:
        n = len(indices)
        image_NCHW = np.empty((n, 3, recipe.image, recipe.image), np.uint8)
        label_N = np.empty(n, np.int64)
        for chunk, shapes in rendered(recipe, part, indices):
            image_NCHW[chunk] = shapes.image_BHWC.transpose(0, 3, 1, 2)
            label_N[chunk] = shapes.label_B
        return InMemory(torch.from_numpy(image_NCHW), torch.from_numpy(label_N), recipe, split)

    def select(self, recipe: Recipe) -> tuple[Selected, Selected]:
        return used(recipe)

    def class_names(self, train: Files, recipe: Recipe) -> tuple[str, ...]:
        return tuple(train.names)

    def remarks(self, train: Examined, test: Examined, recipe: Recipe, names: tuple[str, ...]) -> Iterable[str]:
        return (*train.files.lines, *test.files.lines)

    def read(self, part: Examined, recipe: Recipe, split: Split) -> InMemory | OnDisk:
        files, indices, _ = part
        if not makes_views(recipe, split) and fits_in_memory(len(indices) * 3 * recipe.image**2):

            def decode(i: int) -> tuple[np.ndarray, int]:
                image, label = files.load(i)
                return _fitted(image, recipe), label

            found = list(zip(indices.tolist(), read_all(decode, indices, part.seen), strict=True))
            good = without_bad(found, recipe.bad_images, files.split)
            image_NCHW = torch.from_numpy(np.stack([pixels for _, (pixels, _) in good]))
            label_N = torch.tensor([label for _, (_, label) in good])
            return InMemory(image_NCHW, label_N, recipe, split, len(indices) - len(good))
        errors = list(zip(indices.tolist(), part.seen.errors(), strict=True))
        kept = np.array([i for i, _ in without_bad(errors, recipe.bad_images, files.split)])
        return OnDisk(files, kept, recipe, split, len(indices) - len(kept))
