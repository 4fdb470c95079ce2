"""Images with a label each: embedded shapes, or files of any kind and size.

What fits in memory is decoded once and served from there; the rest is read by worker processes.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from scaling.data import generated_shapes
from scaling.data.batch import Batch, SampleKey
from scaling.data.dataset import TEST, Sets
from scaling.data.decoding import note_lines
from scaling.data.file_index import Say, Seen, fingerprint, look
from scaling.data.held_out import parted
from scaling.data.image_folder import Files, read_all, used, without_bad
from scaling.data.transforms import augment_batch, check_rand_augment, dropping, erase, fit_image, view
from scaling.errors import ConfigError
from scaling.pixels import pixels_of
from scaling.recipe import VIEWS, Recipe

MEMORY_LIMIT = 2 * 2**30  # decoded images up to this are kept [bytes]
TRIES = 16  # images in a row of which a training batch takes the first that can be read
SHAPES_TRAIN, SHAPES_TEST = 2**20, 2**14  # images of the embedded set where the recipe says "all"
T = TypeVar("T")


class InMemory(Dataset):
    """Decoded images. image_NCHW uint8, label_N int64; augment: that of the recipe, or TEST."""

    in_memory = True
    sizes: Sequence[Any] = ()

    def __init__(self, image_NCHW: Tensor, label_N: Tensor, recipe: Recipe, augment: str, skipped: int = 0) -> None:
        self.image_NCHW, self.label_N = image_NCHW, label_N
        self.recipe, self.augment, self.skipped = recipe, augment, skipped

    def __len__(self) -> int:
        return len(self.label_N)

    def __getitems__(self, draws: list[SampleKey]) -> Batch:
        indices = torch.tensor([d.image for d in draws], dtype=torch.int64)  # of none, too
        images = self.image_NCHW[indices]
        if self.augment in VIEWS:
            pictures = [Image.fromarray(image_HWC) for image_HWC in images.permute(0, 2, 3, 1).numpy()]
            images = _stack([view(p, self.recipe, d) for p, d in zip(pictures, draws, strict=True)], self.recipe)
        return _batch(images, self.label_N[indices], draws, self.recipe, self.augment)


class OnDisk(Dataset):
    """Files that are decoded as they are asked for. indices: which of the files; augment: as for InMemory."""

    in_memory = False
    sizes: Sequence[Any] = ()

    def __init__(self, files: Files, indices: np.ndarray, recipe: Recipe, augment: str, skipped: int = 0) -> None:
        self.files, self.indices, self.recipe, self.augment = files, indices, recipe, augment
        self.skipped = skipped

    def __len__(self) -> int:
        return len(self.indices)

    def __getitems__(self, draws: list[SampleKey]) -> Batch:
        found, good, skipped = readable(self._view, draws, len(self), self.recipe, self.augment)
        labels_B = torch.tensor([label for _, label in found], dtype=torch.int64)
        images = _stack([pixels for pixels, _ in found], self.recipe)
        return _batch(images, labels_B, good, self.recipe, self.augment, skipped)

    def _view(self, i: int, draw: SampleKey) -> tuple[np.ndarray, int]:
        image, label = self.files.load(int(self.indices[i]))
        if self.augment in VIEWS:
            return view(image, self.recipe, draw), label
        return fit_image(image, self.recipe.image, self.recipe.crop, pixels_of(self.recipe).interpolation), label


def readable(
    read: Callable[[int, SampleKey], T], draws: list[SampleKey], n: int, recipe: Recipe, augment: str
) -> tuple[list[T], list[SampleKey], int]:
    """read(image, draw) for the draws from n images, the draws of what could be read, and how many images could not.

    In training, where batches are to stay whole, the next image that can be read takes the place of one that cannot.
    """
    found, good, skipped = [], [], 0
    tries = 1 if augment == TEST else TRIES
    for draw in draws:
        for number in range(tries):
            try:
                found.append(read((draw.image + number) % n, draw))
                good.append(draw)
                break
            except OSError as e:  # passed the check of its ends, yet cannot be decoded
                if recipe.bad_images == "stop":
                    raise ConfigError(f"unreadable image {e}; mend it or take --bad-images skip") from e
                skipped += number == 0
        else:
            if tries > 1:
                raise ConfigError(f"none of {tries} images in a row can be read; is the disk all right?")
    if not found and len(draws) > 1:  # one may be all that a test set ends with
        raise ConfigError(f"none of {len(draws)} images in a row can be read; is the disk all right?")
    return found, good, skipped


def _stack(views: list[np.ndarray], recipe: Recipe) -> Tensor:
    side = recipe.image
    return torch.from_numpy(np.stack(views) if views else np.empty((0, 3, side, side), np.uint8))


def _batch(
    image_BCHW: Tensor, label_B: Tensor, draws: list[SampleKey], recipe: Recipe, augment: str, skipped: int = 0
) -> Batch:
    """What is done to all images at once, and the numbers that the model will want."""
    if augment not in VIEWS:
        image_BCHW = augment_batch(image_BCHW, draws, recipe.seed, augment)
    if augment == TEST:
        return Batch(image_BCHW, label_B, skipped)
    erased_BCHW = erase(image_BCHW, draws, recipe.seed, recipe.erasing, pixels_of(recipe))
    return Batch(erased_BCHW, label_B, skipped, dropping(draws, recipe))


def open_sets(recipe: Recipe, results: Path | None = None, say: Say | None = None) -> Sets:
    """The training and test images of a recipe. results: where it is remembered what was read. Raises ConfigError for
    what can be wrong with them."""
    r = recipe
    if r.rand_augment:
        check_rand_augment(r.rand_augment)
    if r.data == "shapes":
        kept, out, tested = shapes_of(r, len(generated_shapes.CLASSES), channels=3)
        held: InMemory | OnDisk | None = _shapes(r, "train", out, TEST) if r.val_split else None
        return Sets(
            _shapes(r, "train", kept, r.augment),
            _shapes(r, "test", tested, TEST),
            generated_shapes.CLASSES,
            held_out=held,
        )
    (train, of_train), (test, of_test) = used(r)
    ours, theirs = look(train, of_train, results, say), look(test, of_test, results, say)
    kept, out = parted(train.file_names, of_train, r.val_split)
    train_set, test_set = (
        _read(train, r, of_train[kept], r.augment, ours.take(kept)),
        _read(test, r, of_test, TEST, theirs),
    )
    held = _read(train, r, of_train[out], TEST, ours.take(out)) if r.val_split else None
    content = fingerprint(((train, ours), (test, theirs)))
    lines = (*train.lines, *test.lines, *note_lines(ours.note_N, train.split), *note_lines(theirs.note_N, test.split))
    return Sets(train_set, test_set, tuple(train.names), content, lines, held)


def _shapes(recipe: Recipe, split: str, numbers: np.ndarray, augment: str) -> InMemory:
    n = len(numbers)
    image_NCHW = np.empty((n, 3, recipe.image, recipe.image), np.uint8)
    label_N = np.empty(n, np.int64)
    for part, batch in drawn(recipe, split, numbers):
        image_NCHW[part] = batch.image_BHWC.transpose(0, 3, 1, 2)
        label_N[part] = batch.label_B
    return InMemory(torch.from_numpy(image_NCHW), torch.from_numpy(label_N), recipe, augment)


def check_shapes(recipe: Recipe, split: str, n: int, classes: int, channels: int) -> None:
    """Raise ConfigError unless the embedded set has n such images, of so many classes, and they fit in memory with so
    many channels [bytes/pixel]."""
    if recipe.classes != classes:
        raise ConfigError(f"shapes has {classes} classes, the recipe {recipe.classes}; set --classes {classes}")
    if recipe.data_version != generated_shapes.VERSION:
        raise ConfigError(
            f"data_version {recipe.data_version} of shapes is asked for, this code makes {generated_shapes.VERSION}"
        )
    if n * channels * recipe.image**2 > MEMORY_LIMIT:
        fits = MEMORY_LIMIT // (channels * recipe.image**2)
        raise ConfigError(f"{n} shapes of {recipe.image} px need over 2 GiB; ask for at most {fits} ({split}_images)")


def shapes_of(recipe: Recipe, classes: int, channels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The numbers of the images of the embedded set that a recipe trains on, holds out and is tested on. classes,
    channels: as for check_shapes. Raises ConfigError as that does."""
    train, test = recipe.train_images or SHAPES_TRAIN, recipe.test_images or SHAPES_TEST
    for split, n in (("train", train), ("test", test)):
        check_shapes(recipe, split, n, classes, channels)
    kept, out = parted([str(number) for number in range(train)], np.arange(train), recipe.val_split)
    return kept, out, np.arange(test)


def drawn(
    recipe: Recipe, split: str, numbers: np.ndarray, instances: bool = False
) -> Iterator[tuple[slice, generated_shapes.Shapes]]:
    """Images of the embedded set by their numbers, some at a time, and which of them these are. instances: with
    objects."""
    n = len(numbers)
    for start in range(0, n, 256):
        part = slice(start, min(n, start + 256))
        yield part, generated_shapes.render(0, numbers[part], recipe.image, recipe.objects, split, instances)


def _read(files: Files, recipe: Recipe, indices: np.ndarray, augment: str, seen: Seen) -> InMemory | OnDisk:
    """Decode all of it where it fits in memory; else go by what is known of every file, and read as we go."""
    if augment not in VIEWS and len(indices) * 3 * recipe.image**2 <= MEMORY_LIMIT:

        def decode(i: int) -> tuple[np.ndarray, int]:
            image, label = files.load(i)
            return fit_image(image, recipe.image, recipe.crop, pixels_of(recipe).interpolation), label

        found = list(zip(indices.tolist(), read_all(decode, indices, seen), strict=True))
        good = without_bad(found, recipe.bad_images, files.split)
        image_NCHW = torch.from_numpy(np.stack([pixels for _, (pixels, _) in good]))
        label_N = torch.tensor([label for _, (_, label) in good])
        return InMemory(image_NCHW, label_N, recipe, augment, len(indices) - len(good))
    ends = list(zip(indices.tolist(), seen.errors(), strict=True))
    kept = np.array([i for i, _ in without_bad(ends, recipe.bad_images, files.split)])
    return OnDisk(files, kept, recipe, augment, len(indices) - len(kept))
