"""Images with a class for each pixel: embedded shapes, or folders of images and labels.

What fits in memory is decoded once, at its own size; the rest is read by worker processes. What views are made of it
is in segmentation_transforms.py, what files are read in segmentation_folder.py. N images, H W pixels, C = 3 channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from scaling.data import classification, generated_shapes
from scaling.data.batch import SampleKey, Scenes
from scaling.data.class_list_file import names_beside
from scaling.data.dataset import TEST, Sets
from scaling.data.decoding import note_lines
from scaling.data.file_index import Say, Seen, fingerprint, look
from scaling.data.held_out import parted
from scaling.data.image_folder import find_root, read_all, without_bad
from scaling.data.label_classes import check_classes
from scaling.data.segmentation_folder import SceneFiles, used
from scaling.data.segmentation_transforms import evaluation_view, scaled, short_side, training_view
from scaling.data.transforms import dropping
from scaling.errors import ConfigError
from scaling.recipe import SCENES, Recipe

NAMES = ("background", *generated_shapes.CLASSES)  # of the embedded set


class SceneSet(Dataset):
    """n images and labels that read gives, uint8. augment: that of the recipe, or TEST; the rest as in ImageSet."""

    def __init__(
        self,
        read: Callable[[int], tuple[Tensor, Tensor]],
        n: int,
        recipe: Recipe,
        augment: str,
        *,
        in_memory: bool = True,
        sizes: Sequence[Any] = (),
        skipped: int = 0,
    ) -> None:
        self.read, self.n, self.recipe, self.augment = read, n, recipe, augment
        # Scaling and distorting take milliseconds an image: processes of their own, wherever the images lie.
        self.in_memory, self.sizes, self.skipped = in_memory and augment not in SCENES, sizes, skipped

    def __len__(self) -> int:
        return self.n

    def __getitems__(self, draws: list[SampleKey]) -> Scenes:
        views, good, skipped = classification.readable(self._view, draws, self.n, self.recipe, self.augment)
        if not views:
            side = self.recipe.image
            nothing_BHW = torch.empty((0, side, side), dtype=torch.uint8)
            return Scenes(nothing_BHW[:, None].expand(0, 3, side, side), nothing_BHW, skipped)
        image_BCHW, label_BHW = (torch.stack(parts) for parts in zip(*views, strict=True))
        random_BS = None if self.augment == TEST else dropping(good, self.recipe)
        return Scenes(image_BCHW, label_BHW, skipped, random_BS)

    def _view(self, i: int, draw: SampleKey) -> tuple[Tensor, Tensor]:
        scene = self.read(i)
        if self.augment == TEST:
            return evaluation_view(*scene, self.recipe)
        return training_view(*scene, self.recipe, draw)


def open_sets(recipe: Recipe, results: Path | None = None, say: Say | None = None) -> Sets:
    """The training and test images of a recipe. results: where it is remembered what was read. Raises ConfigError for
    what can be wrong with them."""
    r = recipe
    if r.data == "shapes":
        kept, out, tested = classification.shapes_of(r, len(NAMES), channels=4)
        held = _shapes(r, "train", out, TEST) if r.val_split else None
        return Sets(_shapes(r, "train", kept, r.augment), _shapes(r, "test", tested, TEST), NAMES, held_out=held)
    if "/" in r.data:
        raise ConfigError(f"{r.data} has no class for each pixel: take a folder, --data folder --data-root DIR")
    root = find_root(r.data_root)
    names = () if r.class_names else _names(root, r.classes)
    (train, of_train), (test, of_test) = used(r)
    ours, theirs = look(train, of_train, results, say), look(test, of_test, results, say)
    kept, out = parted(train.file_names, of_train, r.val_split)
    classes = check_classes(ours.take(kept), theirs, r, names)
    train_set, test_set = (
        _read(train, r, of_train[kept], r.augment, ours.take(kept)),
        _read(test, r, of_test, TEST, theirs),
    )
    held = _read(train, r, of_train[out], TEST, ours.take(out)) if r.val_split else None
    content = fingerprint(((train, ours), (test, theirs)))
    notes = (*note_lines(ours.note_N, train.split), *note_lines(theirs.note_N, test.split))
    return Sets(train_set, test_set, names, content, (*train.lines, *test.lines, *classes, *notes), held)


def _shapes(recipe: Recipe, split: str, numbers: np.ndarray, augment: str) -> SceneSet:
    n = len(numbers)
    image_NHWC = np.empty((n, recipe.image, recipe.image, 3), np.uint8)
    label_NHW = np.empty((n, recipe.image, recipe.image), np.uint8)
    for part, batch in classification.drawn(recipe, split, numbers):
        image_NHWC[part], label_NHW[part] = batch.image_BHWC, batch.mask_BHW
    image_NCHW, label = torch.from_numpy(image_NHWC).permute(0, 3, 1, 2), torch.from_numpy(label_NHW)
    return SceneSet(lambda i: (image_NCHW[i], label[i]), n, recipe, augment)


def _read(files: SceneFiles, recipe: Recipe, indices: np.ndarray, augment: str, seen: Seen) -> SceneSet:
    """Decode all of it where it fits in memory; else go by what is known of every file, and read as we go."""
    sizes = [(height, width) for height, width in seen.size_N2.tolist()]
    fits = sum(4 * height * width for height, width in sizes) <= classification.MEMORY_LIMIT  # [bytes]
    found: list[Any] = read_all(files.load, indices, seen) if fits else seen.errors()
    good = without_bad(list(enumerate(found)), recipe.bad_images, files.split)
    kept = replace(files, pairs=tuple(files.pairs[indices[i]] for i, _ in good))
    scenes = [scene for _, scene in good]
    return SceneSet(
        scenes.__getitem__ if fits else kept.load,
        len(good),
        recipe,
        augment,
        in_memory=fits,
        sizes=[(scaled(*sizes[i], short_side(recipe)), sizes[i]) for i, _ in good] if augment == TEST else [],
        skipped=len(indices) - len(good),
    )


def _names(root: Path, classes: int) -> tuple[str, ...]:
    """The classes' names where a file beside the images has them. Raises ConfigError unless it names so many."""
    path, names = names_beside(root)
    if path is not None and len(names) != classes:
        there = f"set --classes {len(names)}, or mend the list"
        raise ConfigError(f"{path} names {len(names)} classes, the recipe has {classes}; {there}")
    return names
