"""Opening the data of a recipe, alike for every task: which images are trained on, held out and tested on, the checks
of their files, and what is reported about them. What differs between tasks is a Source."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from scaling.config.data import OWN_SETS
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import SequencePacking
from scaling.data.batch import Split
from scaling.data.dataset import ImageDataset
from scaling.data.files.decoding_notes import note_lines
from scaling.data.files.file_facts import DataFiles, FilesOf, Seen, Selected
from scaling.data.files.file_index import Notify, fingerprint, look
from scaling.data.generated.embedded_set import embedded_indices
from scaling.data.held_out import parted
from scaling.data.own_sets import OwnImages, class_names, own_splits
from scaling.errors import ConfigError

OfSource = TypeVar("OfSource", bound=DataFiles)


class DataSplits(NamedTuple):
    """The images of a recipe."""

    train: ImageDataset
    test: ImageDataset
    names: tuple[str, ...] = ()  # of the classes, where the data has any
    digest: str = ""  # fingerprint of the files, where there are any (file_index.py)
    lines: tuple[str, ...] = ()  # messages for the user
    held_out: ImageDataset | None = None  # training images that are not trained on (held_out.py); None: val_split is 0


@dataclass(frozen=True)
class Examined(Generic[FilesOf]):
    """The used files of a split, and what is known of each."""

    files: FilesOf
    indices: np.ndarray
    seen: Seen

    def take(self, positions: np.ndarray) -> "Examined[FilesOf]":
        return Examined(self.files, self.indices[positions], self.seen.take(positions))


class Source(Protocol[OfSource]):
    """Source of a task's images. Methods raise ConfigError for invalid data."""

    names: tuple[str, ...]  # class names of the embedded set
    channels: int  # of the embedded set in memory [bytes per pixel]

    def check(self, config: ExperimentConfig) -> None:
        """Whatever can be checked before the data is read."""

    def generate(self, config: ExperimentConfig, part: str, indices: np.ndarray, split: Split) -> ImageDataset:
        """Images of the embedded set; part: "train" or "test"."""

    def select(self, config: ExperimentConfig) -> tuple[Selected[OfSource], Selected[OfSource]]:
        """The training and the test files, and which of them are used."""

    def wrap(self, images: OwnImages, indices: np.ndarray, config: ExperimentConfig, split: Split) -> ImageDataset:
        """Those images of a plug-in's data set."""

    def class_names(self, train: OfSource, config: ExperimentConfig) -> tuple[str, ...]:
        """Empty where the data has none."""

    def read(self, part: Examined[OfSource], config: ExperimentConfig, split: Split) -> ImageDataset:
        """The images, decoded where they fit in memory."""

    def remarks(
        self, train: Examined[OfSource], test: Examined[OfSource], config: ExperimentConfig, names: tuple[str, ...]
    ) -> Iterable[str]:
        """Messages about the files. train: those that are trained on."""


def open_sets(
    source: Source[OfSource], config: ExperimentConfig, results: Path | None = None, notify: Notify | None = None
) -> DataSplits:
    """The images of a recipe. results: folder of the file index; None: no index. notify: receives a message before
    what takes long. Raises ConfigError for what is wrong with the data."""
    source.check(config)
    held_out = None
    if config.data.dataset == "shapes":
        indices = embedded_indices(config, len(source.names), source.channels)
        if config.data.val_split:
            held_out = source.generate(config, "train", indices.held_out, Split.VAL)
        train_set = source.generate(config, "train", indices.train, Split.TRAIN)
        test_set = source.generate(config, "test", indices.test, Split.VAL)
        return DataSplits(train_set, test_set, source.names, held_out=held_out)
    if config.data.dataset in OWN_SETS:
        return _own_sets(source, config)
    train, test = (
        Examined(chosen.files, chosen.indices, look(chosen.files, chosen.indices, results, notify))
        for chosen in source.select(config)
    )
    names = source.class_names(train.files, config)
    kept, out = parted(train.files.file_names, train.indices, config.data.val_split)
    lines = source.remarks(train.take(kept), test, config, names)
    notes = [line for part in (train, test) for line in note_lines(part.seen.note_N, part.files.split)]
    train_set, test_set = source.read(train.take(kept), config, Split.TRAIN), source.read(test, config, Split.VAL)
    if config.data.val_split:
        held_out = source.read(train.take(out), config, Split.VAL)
    digest = fingerprint((part.files, part.seen) for part in (train, test))
    return DataSplits(train_set, test_set, names, digest, (*lines, *notes), held_out)


def _own_sets(source: Source[OfSource], config: ExperimentConfig) -> DataSplits:
    """The images of a plug-in's data set. They are not read before they are needed, so they have no fingerprint."""
    if isinstance(config.packing, SequencePacking):
        raise ConfigError(f"data set {config.data.dataset} is read one image per row: --packing none")
    own = own_splits(config)
    train, test = OwnImages(own.train, config, "train"), OwnImages(own.test, config, "test")
    return DataSplits(
        source.wrap(train, own.kept, config, Split.TRAIN),
        source.wrap(test, own.tested, config, Split.VAL),
        class_names(own.train, config),
        held_out=source.wrap(train, own.held_out, config, Split.VAL) if config.data.val_split else None,
    )
