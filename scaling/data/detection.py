"""Images with boxes and instance masks: embedded shapes, or files in COCO's layout.

Images that fit in memory are decoded once, at their own size; the rest is read by worker processes. What views are
made of them is in detection_transforms.py, what files are read in coco_dataset.py. n objects in an image, H W pixels,
C = 3 channels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from scaling.costs.token_counts import size_multiple
from scaling.data import classification, generated_shapes
from scaling.data.batch import Objects, SampleKey
from scaling.data.coco_dataset import CocoFile, used
from scaling.data.coco_messages import remarks
from scaling.data.dataset import TEST, Sets
from scaling.data.decoding import note_lines
from scaling.data.detection_transforms import View, frame_of, padded, together, view
from scaling.data.file_index import Say, Seen, fingerprint, look
from scaling.data.held_out import parted
from scaling.data.image_folder import read_all, without_bad
from scaling.data.instance_store import InImage, ObjectTable, coco_masks, tabled
from scaling.data.transforms import dropping
from scaling.errors import ConfigError
from scaling.pixels import pixels_of
from scaling.recipe import OBJECTS, Recipe


class ObjectSet(Dataset):
    """Images that read gives, (3, H, W) uint8, and the objects in them. augment: that of the recipe, or TEST.

    categories: the data's own number of each class, for detections that are to be written as COCO's results.
    notes: what was mended in the data, and how many of it; the rest as in ImageSet.
    """

    def __init__(
        self,
        read: Callable[[int], Tensor],
        objects: ObjectTable,
        recipe: Recipe,
        augment: str,
        categories: tuple[int, ...],
        *,
        in_memory: bool = False,
        sizes: Sequence[Any] = (),
        skipped: int = 0,
        notes: Mapping[str, float] | None = None,
    ) -> None:
        self.read, self.objects, self.recipe, self.augment = read, objects, recipe, augment
        self.categories = categories
        # Scaling takes milliseconds an image: processes of their own, wherever the images lie.
        self.in_memory, self.sizes, self.skipped = in_memory and augment not in OBJECTS, sizes, skipped
        self.notes = notes or {}

    def __len__(self) -> int:
        return len(self.objects)

    def __getitems__(self, draws: list[SampleKey]) -> Objects:
        recipe, n = self.recipe, len(self)
        found, good, skipped = classification.readable(self._view, draws, n, recipe, self.augment)
        least = recipe.image if self.augment in OBJECTS else 0
        parts = together([view for _, view in found], size_multiple(recipe), least, pixels_of(recipe).grey)
        if self.augment == TEST:
            return Objects(*parts, skipped, truth=tuple(self.objects.truth(i) for i, _ in found))
        return Objects(*parts, skipped, dropping(good, recipe))

    def _view(self, i: int, draw: SampleKey) -> tuple[int, View]:
        return i, view(self.read(i), self.objects[i], self.recipe, self.augment, draw)


def open_sets(recipe: Recipe, results: Path | None = None, say: Say | None = None) -> Sets:
    """The training and test images of a recipe. results: where it is remembered what was read. Raises ConfigError for
    what can be wrong with them."""
    r = recipe
    coco_masks()  # before the data is read
    if r.data == "shapes":
        kept, out, tested = classification.shapes_of(r, len(generated_shapes.CLASSES), channels=4)
        held = _shapes(r, "train", out, TEST) if r.val_split else None
        train_set, test_set = _shapes(r, "train", kept, r.augment), _shapes(r, "test", tested, TEST)
        return Sets(train_set, test_set, generated_shapes.CLASSES, held_out=held)
    if "/" in r.data:
        raise ConfigError(f"{r.data} has no boxes: take COCO's layout, --data folder --data-root DIR")
    train, test = used(r)
    (ours, ours_seen), (theirs, theirs_seen) = (
        (files := coco.files(), look(files, np.arange(len(coco)), results, say)) for coco in (train, test)
    )
    kept, out = parted(ours.file_names, np.arange(len(train)), r.val_split)
    train_set = _read(train.take(kept.tolist()), r, r.augment, ours_seen.take(kept))
    test_set = _read(test, r, TEST, theirs_seen)
    held = _read(train.take(out.tolist()), r, TEST, ours_seen.take(out)) if r.val_split else None
    names = tuple(name for _, name in train.categories)
    content = fingerprint(((ours, ours_seen), (theirs, theirs_seen)))
    notes = (*note_lines(ours_seen.note_N, ours.split), *note_lines(theirs_seen.note_N, theirs.split))
    return Sets(train_set, test_set, names, content, (*remarks(train), *remarks(test), *notes), held)


def _shapes(recipe: Recipe, split: str, numbers: np.ndarray, augment: str) -> ObjectSet:
    n = len(numbers)
    image_NHWC = np.empty((n, recipe.image, recipe.image, 3), np.uint8)

    def render() -> Iterator[InImage]:
        for part, batch in classification.drawn(recipe, split, numbers, instances=True):
            image_NHWC[part] = batch.image_BHWC
            for i, *objects in zip(numbers[part].tolist(), *batch[3:], strict=True):
                yield _in_shapes(i, recipe.image, *objects)

    objects = tabled(render())
    image_NCHW = torch.from_numpy(image_NHWC).permute(0, 3, 1, 2)
    categories = tuple(range(1, len(generated_shapes.CLASSES) + 1))  # from 1, as COCO counts
    return ObjectSet(image_NCHW.__getitem__, objects, recipe, augment, categories, in_memory=True)


def _in_shapes(number: int, side: int, box_n4: np.ndarray, mask_nHW: np.ndarray, class_n: np.ndarray) -> InImage:
    texts = coco_masks().encode(np.asfortranarray(mask_nHW.transpose(1, 2, 0), np.uint8))
    counts = [text["counts"] for text in texts]
    nothing_n = np.zeros(len(class_n), bool)
    return InImage(number, (side, side), box_n4, class_n, nothing_n, mask_nHW.sum((1, 2)), counts)


def _read(coco: CocoFile, recipe: Recipe, augment: str, seen: Seen) -> ObjectSet:
    """Decode all images where they fit in memory; else go by what is known of every file, and read as we go."""
    files = coco.files()
    fits = sum(3 * height * width for height, width in files.sizes) <= classification.MEMORY_LIMIT  # [bytes]
    found: list[Any] = read_all(files.load, np.arange(len(coco)), seen) if fits else seen.errors()
    good = without_bad(list(enumerate(found)), recipe.bad_images, coco.split)
    kept, images = coco.take(i for i, _ in good), [image for _, image in good]
    sizes = (
        [frame_of(size, recipe, TEST, SampleKey(0, 0)).size for size in kept.files().sizes] if augment == TEST else []
    )
    return ObjectSet(
        images.__getitem__ if fits else kept.files().load,
        kept.table(),
        recipe,
        augment,
        tuple(number for number, _ in coco.categories),
        sizes=[tuple(padded(side, size_multiple(recipe)) for side in size) for size in sizes],
        skipped=len(coco) - len(good),
        notes=coco.notes,
    )
