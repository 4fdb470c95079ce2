"""A recipe's images for Lightning, whatever the task: one endless stream to train on, and every test image once.

What a task's images are, a function says that opens them: a line in OPEN. What fits in memory is decoded once and
served from there; the rest is read by worker processes.
"""

from collections.abc import Callable
from multiprocessing import get_all_start_methods
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from scaling.costs.conditions import workers_for
from scaling.costs.hardware import usable_cores
from scaling.data import classification, detection, segmentation
from scaling.data.batch import SampleKey
from scaling.data.class_names import distinct
from scaling.data.dataset import ImageSet, Sets, batches, deal
from scaling.data.file_index import Say
from scaling.data.sampler import ResumableBatchSampler, steps_per_epoch
from scaling.errors import ConfigError
from scaling.recipe import Recipe

OPEN: dict[str, Callable[[Recipe, Path | None, Say | None], Sets]] = {
    "classify": classification.open_sets,
    "segment": segmentation.open_sets,
    "detect": detection.open_sets,
}


class ImageDataModule(L.LightningDataModule):
    """Training and test images of a recipe. workers: processes that read and decode (0: this one); results: folder in
    which it is remembered what was read (file_index.py); None: nowhere."""

    def __init__(self, recipe: Recipe, workers: int = 0, results: Path | None = None) -> None:
        super().__init__()
        self.recipe, self.workers, self.results = recipe, workers, results
        self.lines: tuple[str, ...] = ()  # what there is to say of the files
        self.micro_batches = 1  # that a device's share of a step is cut into; the task's finder may raise it
        self.train_set: ImageSet
        self.test_set: ImageSet
        self.held_out: ImageSet | None = None  # training images that are evaluated on the way, and not trained on
        self.names: tuple[str, ...] = ()  # of the classes, where the data has any; no two are alike

    def prepare(self, say: Say | None = None) -> None:
        """Open, check and where it fits decode the data; everything that can be wrong with it is found here. say: is
        told what takes long."""
        recipe = self.recipe
        sets = OPEN[recipe.task](recipe, self.results, say)
        self.train_set, self.test_set, names, digest, self.lines, self.held_out = sets
        if digest and recipe.data_digest not in ("", digest):
            raise ConfigError(
                f"the files in {recipe.data_root} are others ({digest}) than those that this run is named by "
                f"({recipe.data_digest}): begin it anew by its recipe's name, or mend them"
            )
        own = [name for name in self.recipe.class_names.split(",") if name.strip()]
        self.names, renamed = distinct(own or names)
        self.lines = (*self.lines, *renamed)
        self.steps_per_epoch = steps_per_epoch(len(self.train_set), self.recipe.batch)
        if self.held_out is not None:
            held, n = len(self.held_out), len(self.train_set) + len(self.held_out)
            self.lines += (f"val_split {recipe.val_split:g}: {held} of {n} training images are held out",)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.recipe.steps or self.steps_per_epoch * self.recipe.epochs

    @property
    def epochs(self) -> int:
        """Passes over the training images, the last of which may be a part of one."""
        return -(-self.total_steps // self.steps_per_epoch)

    @property
    def skipped(self) -> dict[str, float]:
        """Images left out before the run because they cannot be read, by split, and what else was mended in the data:
        the notes of a set, where it has any."""
        counts = {
            f"{what}_{split}": float(count)
            for split, data in (("train", self.train_set), ("val", self.held_out), ("test", self.test_set))
            if data is not None
            for what, count in {"skipped": data.skipped, **getattr(data, "notes", {})}.items()
        }
        return {name: count for name, count in counts.items() if count}

    def train_dataloader(self) -> DataLoader:
        """From the step that the trainer is at to the end of the run, as one stream."""
        start = self.trainer.global_step if self.trainer else 0
        world = self.trainer.world_size if self.trainer else 1
        rank = self.trainer.global_rank if self.trainer else 0
        if self.recipe.batch % world:
            raise ConfigError(f"batch {self.recipe.batch} cannot be divided among {world} devices")
        order = ResumableBatchSampler(
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
        """This device's share of the test images, each of which one device has, in as many batches as the others."""
        return self._dealt(self.test_set)

    def val_dataloader(self) -> DataLoader:
        """Of what is evaluated on the way in the same way: the images held out, or the test images."""
        return self._dealt(self.test_set if self.held_out is None else self.held_out)

    def _dealt(self, data: ImageSet) -> DataLoader:
        world = self.trainer.world_size if self.trainer else 1
        rank = self.trainer.global_rank if self.trainer else 0
        batch = max(1, self.recipe.batch // world // self.micro_batches)  # what the device's memory holds
        return self._tested(data, deal(len(data), batch, data.sizes, world)[rank])

    def first_tested(self, count: int, batch: int) -> DataLoader:
        """The first `count` test images, or all, in order, at most `batch` at a time: what one device evaluates."""
        return self._tested(self.test_set, batches(min(count, len(self.test_set)), batch, self.test_set.sizes))

    def _tested(self, data: ImageSet, numbers: list[list[int]]) -> DataLoader:
        return self._loader(data, batch_sampler=[[SampleKey(0, i) for i in batch] for batch in numbers])

    def _loader(self, data: ImageSet, **order: object) -> DataLoader:
        workers = 0 if data.in_memory else self.workers
        return DataLoader(
            data,  # type: ignore[arg-type]
            num_workers=workers,
            # Forked, they share what is in memory. A sweep's runs would start them from a server else, which sends each
            # a copy, and at most 256 tensors.
            multiprocessing_context="fork" if workers and "fork" in get_all_start_methods() else None,
            collate_fn=_as_it_is,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            generator=torch.Generator().manual_seed(self.recipe.seed),
            **order,  # type: ignore[arg-type]
        )


def default_workers() -> int:
    """Reading processes on this machine."""
    return workers_for(usable_cores())


def _as_it_is(batch: Any) -> Any:
    return batch
