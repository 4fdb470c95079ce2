"""Images and labels for the tasks, as a LightningDataModule: embedded shapes, or files of any kind and size.

What fits in memory is decoded once and served from there; the rest is read by worker processes.
"""

from typing import Any

import lightning as L
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from scaling.data import shapes
from scaling.data.augment import DROPPING, augment_batch, check_rand_augment, erase, fit_image, uniform, view
from scaling.data.batch import Batch, Draw
from scaling.data.files import Files, agree, in_threads, without_bad
from scaling.data.order import Stream, steps_per_epoch, subset
from scaling.machine import usable_cores
from scaling.recipe import VIEWS, BadInput, Recipe
from scaling.sizes import SIZES

MEMORY_LIMIT = 2 * 2**30  # decoded images up to this are kept [bytes]
TEST = ""  # instead of an augment: a test set's images, as they are
TRIES = 16  # images in a row of which a training batch takes the first that can be read
SHAPES_TRAIN, SHAPES_TEST = 2**20, 2**14  # images of the embedded set where the recipe says "all"


class InMemory(Dataset):
    """Decoded images. image_NCHW uint8, label_N int64; augment: that of the recipe, or TEST."""

    def __init__(self, image_NCHW: Tensor, label_N: Tensor, recipe: Recipe, augment: str, skipped: int = 0) -> None:
        self.image_NCHW, self.label_N = image_NCHW, label_N
        self.recipe, self.augment, self.skipped = recipe, augment, skipped

    def __len__(self) -> int:
        return len(self.label_N)

    def __getitems__(self, draws: list[Draw]) -> Batch:
        indices = torch.tensor([d.image for d in draws])
        images = self.image_NCHW[indices]
        if self.augment in VIEWS:
            pictures = [Image.fromarray(image_HWC) for image_HWC in images.permute(0, 2, 3, 1).numpy()]
            images = _stack([view(p, self.recipe, d) for p, d in zip(pictures, draws, strict=True)], self.recipe)
        return _batch(images, self.label_N[indices], draws, self.recipe, self.augment)


class OnDisk(Dataset):
    """Files that are decoded as they are asked for. indices: which of the files; augment: as for InMemory."""

    def __init__(self, files: Files, indices: np.ndarray, recipe: Recipe, augment: str, skipped: int = 0) -> None:
        self.files, self.indices, self.recipe, self.augment = files, indices, recipe, augment
        self.skipped, self._skipped_now = skipped, 0

    def __len__(self) -> int:
        return len(self.indices)

    def __getitems__(self, draws: list[Draw]) -> Batch:
        views, labels, good = [], [], []
        for draw in draws:
            found = self._first_readable(draw)
            if found is None:
                continue
            image, label = found
            if self.augment in VIEWS:
                views.append(view(image, self.recipe, draw))
            else:
                views.append(fit_image(image, self.recipe.image, self.recipe.crop))
            labels.append(label)
            good.append(draw)
        if not views and len(draws) > 1:  # one may be all that a test set ends with
            raise BadInput(f"none of {len(draws)} images in a row can be read; is the disk all right?")
        labels_B = torch.tensor(labels, dtype=torch.int64)
        return _batch(_stack(views, self.recipe), labels_B, good, self.recipe, self.augment, self._take_skipped())

    def _first_readable(self, draw: Draw) -> tuple[Image.Image, int] | None:
        """The image, or in training, where batches are to stay whole, the next one that can be read; else None."""
        tries = 1 if self.augment == TEST else TRIES
        for number in range(tries):
            index = (draw.image + number) % len(self)
            try:
                return self.files.load(int(self.indices[index]))
            except OSError as e:  # passed the check of its ends, yet cannot be decoded
                if self.recipe.bad_images == "stop":
                    raise BadInput(f"unreadable image {e}; mend it or take --bad-images skip") from e
                self._skipped_now += number == 0
        if tries > 1:
            raise BadInput(f"none of {tries} images in a row can be read; is the disk all right?")
        return None

    def _take_skipped(self) -> int:
        """Images asked for and not readable since this was last asked."""
        count, self._skipped_now = self._skipped_now, 0
        return count


def _stack(views: list[np.ndarray], recipe: Recipe) -> Tensor:
    side = recipe.image
    return torch.from_numpy(np.stack(views) if views else np.empty((0, 3, side, side), np.uint8))


def _batch(
    image_BCHW: Tensor, label_B: Tensor, draws: list[Draw], recipe: Recipe, augment: str, skipped: int = 0
) -> Batch:
    """What is done to all images at once, and the numbers that the model will want."""
    if augment not in VIEWS:
        image_BCHW = augment_batch(image_BCHW, draws, recipe.seed, augment)
    if augment == TEST:
        return Batch(image_BCHW, label_B, skipped)
    branches = 2 * SIZES[recipe.backbone].depth if recipe.drop_path else 0
    random_BS = torch.from_numpy(uniform(draws, recipe.seed, branches, DROPPING)).float() if branches else None
    return Batch(erase(image_BCHW, draws, recipe.seed, recipe.erasing), label_B, skipped, random_BS)


class Images(L.LightningDataModule):
    """Training and test images of a recipe. workers: processes that read and decode (0: this one)."""

    def __init__(self, recipe: Recipe, workers: int = 0) -> None:
        super().__init__()
        self.recipe, self.workers = recipe, workers
        self.micro_batches = 1  # that a device's share of a step is cut into; the task's finder may raise it
        self.train_set: InMemory | OnDisk
        self.test_set: InMemory | OnDisk

    def prepare(self) -> None:
        """Open, check and where it fits decode the data; everything that can be wrong with it is found here."""
        r = self.recipe
        if r.rand_augment:
            check_rand_augment(r.rand_augment)
        if r.data == "shapes":
            self.train_set = _shapes(r, "train", r.train_images or SHAPES_TRAIN, r.augment)
            self.test_set = _shapes(r, "test", r.test_images or SHAPES_TEST, TEST)
        else:
            kind = r.data if "/" in r.data else ""
            train, test = Files(r.data_root, "train", kind), Files(r.data_root, "test", kind)
            agree(train, test, r.classes)
            self.train_set = _read(train, r, subset(len(train), r.train_images), r.augment)
            self.test_set = _read(test, r, subset(len(test), r.test_images), TEST)
        self.steps_per_epoch = steps_per_epoch(len(self.train_set), r.batch)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.steps_per_epoch * self.recipe.epochs

    @property
    def skipped(self) -> dict[str, float]:
        """Images left out before the run because they cannot be read, by split."""
        sets = {"skipped_train": self.train_set, "skipped_test": self.test_set}
        return {name: float(data.skipped) for name, data in sets.items() if data.skipped}

    def train_dataloader(self) -> DataLoader:
        """From the step that the trainer is at to the end of the run, as one stream."""
        start = self.trainer.global_step if self.trainer else 0
        world = self.trainer.world_size if self.trainer else 1
        rank = self.trainer.global_rank if self.trainer else 0
        if self.recipe.batch % world:
            raise BadInput(f"batch {self.recipe.batch} cannot be divided among {world} devices")
        order = Stream(
            len(self.train_set),
            self.recipe.batch,
            self.recipe.seed,
            start,
            self.total_steps,
            rank=rank,
            world=world,
            micro_batches=self.micro_batches,
            repeats=self.recipe.repeats,
        )
        return self._loader(self.train_set, batch_sampler=order)

    def test_dataloader(self) -> DataLoader:
        """Every test image once, in order."""
        world = self.trainer.world_size if self.trainer else 1
        rank = self.trainer.global_rank if self.trainer else 0
        batch = max(1, self.recipe.batch // world // self.micro_batches)  # what the device's memory holds
        mine = [Draw(0, i) for i in range(rank, len(self.test_set), world)]
        batches = [mine[i : i + batch] for i in range(0, len(mine), batch)]
        return self._loader(self.test_set, batch_sampler=batches)

    val_dataloader = test_dataloader

    def _loader(self, data: Dataset, **order: object) -> DataLoader:
        workers = 0 if isinstance(data, InMemory) else self.workers
        return DataLoader(
            data,
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            generator=torch.Generator().manual_seed(self.recipe.seed),
            **order,  # type: ignore[arg-type]
        )


def default_workers() -> int:
    """Reading processes: one a core but one, eight at most."""
    return max(1, min(8, usable_cores() - 1))


def _as_it_is(batch: Any) -> Batch:
    return batch


def _shapes(recipe: Recipe, split: str, n: int, augment: str) -> InMemory:
    if recipe.classes != len(shapes.CLASSES):
        raise BadInput(f"shapes has {len(shapes.CLASSES)} classes, the recipe {recipe.classes}; set --classes")
    if recipe.data_version != shapes.VERSION:
        raise BadInput(f"data_version {recipe.data_version} of shapes is asked for, this code makes {shapes.VERSION}")
    if n * 3 * recipe.image**2 > MEMORY_LIMIT:
        fits = MEMORY_LIMIT // (3 * recipe.image**2)
        raise BadInput(f"{n} shapes of {recipe.image} px need over 2 GiB; ask for at most {fits} ({split}_images)")
    image_NCHW = np.empty((n, 3, recipe.image, recipe.image), np.uint8)
    label_N = np.empty(n, np.int64)
    for start in range(0, n, 256):
        part = slice(start, min(n, start + 256))
        batch = shapes.render(0, np.arange(part.start, part.stop), recipe.image, split=split)
        image_NCHW[part] = batch.image_BHWC.transpose(0, 3, 1, 2)
        label_N[part] = batch.label_B
    return InMemory(torch.from_numpy(image_NCHW), torch.from_numpy(label_N), recipe, augment)


def _read(files: Files, recipe: Recipe, indices: np.ndarray, augment: str) -> InMemory | OnDisk:
    """Decode all of it where it fits in memory; else look at both ends of every file, and read as we go."""
    if augment not in VIEWS and len(indices) * 3 * recipe.image**2 <= MEMORY_LIMIT:

        def decode(i: int) -> tuple[np.ndarray, int]:
            image, label = files.load(i)
            return fit_image(image, recipe.image, recipe.crop), label

        found = list(zip(indices.tolist(), in_threads(decode, indices), strict=True))
        good = without_bad(found, recipe.bad_images, files.split)
        image_NCHW = torch.from_numpy(np.stack([pixels for _, (pixels, _) in good]))
        label_N = torch.tensor([label for _, (_, label) in good])
        return InMemory(image_NCHW, label_N, recipe, augment, len(indices) - len(good))
    ends = list(zip(indices.tolist(), in_threads(files.check, indices), strict=True))
    kept = np.array([i for i, _ in without_bad(ends, recipe.bad_images, files.split)])
    return OnDisk(files, kept, recipe, augment, len(indices) - len(kept))
