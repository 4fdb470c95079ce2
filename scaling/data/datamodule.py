"""The images of a recipe for Lightning, for any task: one endless training sequence, and every test image once.

What fits in memory is decoded once and served from there; the rest is read by worker processes. Each task has a Source
of images in SOURCES.
"""

import functools
from collections.abc import Hashable, Mapping, Sequence
from multiprocessing import get_all_start_methods
from pathlib import Path
from typing import TypeVar, cast

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from scaling.config.at_shape import model_shape, shapes_of, step_batch_size, step_shape
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import NoPacking, SequencePacking
from scaling.config.step_shapes import Course, StepShape
from scaling.costs.conditions import workers_for
from scaling.costs.hardware import usable_cores
from scaling.costs.run_flops import course_of
from scaling.data.batch import Batch
from scaling.data.class_names import distinct
from scaling.data.classification import ClassificationSource
from scaling.data.coco.coco_dataset import CocoFiles
from scaling.data.dataset import ImageDataset, batches, deal
from scaling.data.detection import DetectionSource
from scaling.data.files.file_facts import DataFiles
from scaling.data.files.file_index import Notify
from scaling.data.files.image_folder import Files
from scaling.data.files.listing_cache import forget_listings
from scaling.data.files.segmentation_folder import LabelMaps
from scaling.data.open_sets import Source, open_sets
from scaling.data.sampler import Request, ResumableBatchSampler, StepSize, steps_per_epoch, subset
from scaling.data.segmentation import SegmentationSource
from scaling.errors import ConfigError
from scaling.rng import SampleKey, seed_of, torch_generator

T = TypeVar("T")
SOURCES: dict[str, Source[Files] | Source[LabelMaps] | Source[CocoFiles]] = {
    "classify": ClassificationSource(),
    "segment": SegmentationSource(),
    "detect": DetectionSource(),
}


class ImageDataModule(L.LightningDataModule):
    """Training and test images of a recipe. num_workers: processes that read and decode (0: this one). results: folder
    of the file index (file_index.py); None: no index. notify: receives a message before what takes long."""

    def __init__(
        self, config: ExperimentConfig, num_workers: int = 0, results: Path | None = None, notify: Notify | None = None
    ) -> None:
        super().__init__()
        self.config, self.num_workers, self.results, self.notify = config, num_workers, results, notify
        self.lines: tuple[str, ...] = ()  # messages about the data
        self.evaluated_size = config.model.img_size  # of the next evaluation [px]
        # Per device and step, as Lightning counts them, and of steps of a shape with fewer; the micro-batch callback
        # finds both.
        self.micro_batches = 1
        self.micro_batches_of: Mapping[StepShape, int] = {}
        self.train_set: ImageDataset
        self.test_set: ImageDataset
        self.held_out: ImageDataset | None = None  # training images that are evaluated on, and not trained on
        self.names: tuple[str, ...] = ()  # of the classes, where the data has any; all different
        self.is_set_up = False

    def setup(self, stage: str | None = None) -> None:
        """Open and check the data, and decode it where it fits in memory; once, as Lightning calls it before every
        stage. Raises ConfigError for whatever is wrong with the data."""
        if self.is_set_up:
            return
        config = self.config
        if not isinstance(config.packing, NoPacking | SequencePacking):
            raise ConfigError(
                f"packing {config.packing.kind} is not that of any data: images are one per row, --packing none, or in "
                "rows of several, --packing sequences"
            )
        source = cast(Source[DataFiles], SOURCES[config.task.kind])  # it is given only files that it selected itself
        sets = open_sets(source, config, self.results, self.notify)
        if sets.digest and config.data.data_digest not in (None, sets.digest):
            raise ConfigError(
                f"the files in {config.data.data_root} ({sets.digest}) are not those of this run "
                f"({config.data.data_digest}): start it again by the name of its recipe, or restore the files"
            )
        self.train_set, self.test_set, self.held_out, self.lines = sets.train, sets.test, sets.held_out, sets.lines
        self.names, renamed = distinct(config.data.class_names or sets.names)
        self.lines = (*self.lines, *renamed)
        self.steps_per_epoch = steps_per_epoch(len(self.train_set), config.optim.global_batch_size)
        if self.held_out is not None:
            held, n = len(self.held_out), len(self.train_set) + len(self.held_out)
            self.lines += (f"val_split {config.data.val_split:g}: {held} of {n} training images are held out",)
        self.is_set_up = True
        forget_listings()

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.config.schedule.max_steps or self.steps_per_epoch * self.config.schedule.epochs

    @property
    def epochs(self) -> int:
        """Passes over the training images; the last one may be incomplete."""
        return -(-self.total_steps // self.steps_per_epoch)

    @property
    def skipped(self) -> dict[str, float]:
        """Images left out before the run because they cannot be read, and corrections of the data (notes of a data set,
        where it has any), by split."""
        counts = {
            f"{what}_{split}": float(count)
            for split, data in (("train", self.train_set), ("val", self.held_out), ("test", self.test_set))
            if data is not None
            for what, count in {"skipped": data.skipped, **getattr(data, "notes", {})}.items()
        }
        return {name: count for name, count in counts.items() if count}

    def shape_at(self, step: int) -> StepShape:
        """Patch and image size of a training step."""
        return step_shape(self.config, step, self._course)

    def size_of(self, shape: StepShape) -> StepSize:
        """Images of a training step of this shape, and micro-batches of a device."""
        return StepSize(step_batch_size(self.config, shape), self.micro_batches_of.get(shape, self.micro_batches))

    @functools.cached_property
    def _course(self) -> Course:
        return course_of(self.config, self.total_steps)

    def train_dataloader(self) -> DataLoader:
        """From the trainer's current step to the end of the run, as one sequence."""
        start = self.trainer.global_step if self.trainer else 0
        world = self.trainer.world_size if self.trainer else 1
        rank = self.trainer.global_rank if self.trainer else 0
        if self.config.optim.global_batch_size % world:
            raise ConfigError(f"batch {self.config.optim.global_batch_size} cannot be divided among {world} devices")
        order = ResumableBatchSampler(
            len(self.train_set),
            self.config.optim.global_batch_size,
            self.config.seed,
            start,
            self.total_steps,
            rank=rank,
            world=world,
            micro_batches=self.micro_batches,
            repeats=getattr(self.config.task, "aug_repeats", 1),
            shape_at=self.shape_at,
            size_of=self.size_of if len(shapes_of(self.config)) > 1 else None,
        )
        return self._loader(self.train_set, batch_sampler=order)

    def test_dataloader(self) -> DataLoader:
        """This device's share of the test images, in as many batches as every other device has. No image is in two."""
        return self._dealt(self.test_set)

    def val_dataloader(self) -> DataLoader:
        """The same for evaluations during training: of the held-out images, or else of the test images."""
        return self._dealt(self.test_set if self.held_out is None else self.held_out)

    def _dealt(self, data: ImageDataset) -> DataLoader:
        return self._evaluated(data, self._share(len(data), data.sizes))

    def test_sample(self, count: int) -> DataLoader:
        """This device's share of `count` test images, the same for every seed and patch size. They are spread over the
        whole set: in folders the first images are all of one class."""
        chosen = subset(len(self.test_set), count).tolist()
        sizes = [self.test_set.sizes[i] for i in chosen] if len(self.test_set.sizes) else ()
        return self._evaluated(self.test_set, [[chosen[i] for i in part] for part in self._share(count, sizes)])

    def _share(self, count: int, sizes: Sequence[Hashable]) -> list[list[int]]:
        """This device's batches of `count` images."""
        world = self.trainer.world_size if self.trainer else 1
        rank = self.trainer.global_rank if self.trainer else 0
        own = self.size_of(model_shape(self.config))
        batch = max(1, own.images // world // own.micro_batches)  # fits in memory, as training does
        return deal(count, batch, sizes, world)[rank]

    def first_test_images(self, count: int, batch: int) -> DataLoader:
        """The first `count` test images, or all, in order, at most `batch` at a time, for one device."""
        return self._evaluated(self.test_set, batches(min(count, len(self.test_set)), batch, self.test_set.sizes))

    def _evaluated(self, data: ImageDataset, numbers: list[list[int]]) -> DataLoader:
        shape = StepShape(self.config.model.patch_size, self.evaluated_size)
        return self._loader(data, batch_sampler=[Request([SampleKey(0, i) for i in batch], shape) for batch in numbers])

    def _loader(self, data: ImageDataset, **order: object) -> DataLoader:
        num_workers = 0 if data.in_memory else self.num_workers
        return DataLoader(
            BatchReader(data),
            num_workers=num_workers,
            # Forked processes share memory. In a sweep they would else be started by a server, which sends each a copy,
            # and at most 256 tensors.
            multiprocessing_context="fork" if num_workers and "fork" in get_all_start_methods() else None,
            collate_fn=_unchanged,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=num_workers > 0,
            generator=torch_generator(seed_of(self.config.seed, "loader")),
            **order,  # type: ignore[arg-type]
        )


class BatchReader(Dataset):
    """A data set with the interface of torch's DataLoader for whole batches."""

    def __init__(self, data: ImageDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitems__(self, request: Request) -> Batch:
        return self.data.get_batch(*request)


def default_workers() -> int:
    """Reading processes on this machine."""
    return workers_for(usable_cores())


def _unchanged(batch: T) -> T:
    return batch
