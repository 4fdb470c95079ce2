"""Labelled image files of several layouts: class folders, a tar of them, Hugging Face data sets, WebDataset shards.

No content is ever executed.
"""

import copy
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from scaling.config.experiment import ExperimentConfig
from scaling.data.class_names import only_in_one
from scaling.data.files.class_folders import ClassFolder, ClassTar, NoImages
from scaling.data.files.data_root import SPLITS, find_root
from scaling.data.files.decoding import decode_rgb, naming_errors, read_header
from scaling.data.files.decoding_notes import digest_parts
from scaling.data.files.file_facts import Facts, Selected, digest
from scaling.data.files.hub_sets import HubSet, open_hub
from scaling.data.files.webdataset import Shards
from scaling.data.files.webdataset_index import open_shards
from scaling.data.held_out import parted
from scaling.data.sampler import subset
from scaling.errors import ConfigError, first_line, first_of

Reader = HubSet | Shards | ClassFolder | ClassTar  # as timm's: reader[i] gives an open file and its label


class Files:
    """The images of one split. split: "train" or "test"; kind: "" for folders and tars, else hfds/NAME or wds/NAME.

    names: class names in the order of their labels, where the data has any; lines: messages for the user; hints: those
    of them that may explain why the classes are not the expected ones; len(): images. Reading is safe from threads and
    forked workers.
    """

    about, width = b"", 0

    def __init__(self, data_root: str, split: str, kind: str = "", like: "Files | None" = None) -> None:
        """like: the training images, whose class numbering these follow."""
        self.split = split
        known: list[str] = like.names if like else []
        self._fresh = _open(kind, data_root, split, tuple(known))
        names = getattr(self._fresh, "class_to_idx", {})
        self.names: list[str] = [name for name, _ in sorted(names.items(), key=lambda item: item[1])]
        self.labels = getattr(self._fresh, "labels", None)  # where they are known before the images are read
        self.hints: list[str] = getattr(self._fresh, "hints", [])
        self.lines: list[str] = [*getattr(self._fresh, "lines", []), *self.hints]
        self.column = getattr(self._fresh, "column", "")  # the label column of a Hugging Face data set
        self._shared = kind.startswith("hfds/")  # the others hold nothing open: no lock, no copy
        self._reader, self._process, self._lock = self._fresh, -1, threading.Lock()
        self.key = f"{kind} {data_root if self._shared else find_root(data_root)} {split}"

    def __len__(self) -> int:
        return len(self._fresh)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_reader": None, "_process": -1, "_lock": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    @property
    def file_names(self) -> Sequence[str]:
        """Names below the folder of the split, or numbers where a Hugging Face data set has none
        (file_facts.DataFiles)."""
        return getattr(self._fresh, "names", None) or [str(i) for i in range(len(self))]

    def stamps(self, indices: np.ndarray) -> np.ndarray:
        """Stamps as in file_facts.DataFiles. A Hugging Face data set has a fingerprint of its own."""
        if not isinstance(self._fresh, HubSet):
            return self._fresh.stamps(indices)
        own = digest(str(getattr(self._fresh.dataset, "_fingerprint", "")).encode())
        return np.tile(np.frombuffer(own, np.int64).repeat(2), (len(indices), 1))

    def read(self, i: int) -> tuple[bytes, int]:
        """The i-th file's bytes and its label."""
        if not self._shared:
            file, label = self._fresh[i]
            with file:
                return file.read(), int(label)
        with self._lock:  # not for two threads at once, nor for a parent and its child
            if self._process != os.getpid():
                self._reader, self._process = copy.deepcopy(self._fresh), os.getpid()
            file, label = self._reader[i]
            with file:
                return file.read(), int(label)

    def load(self, i: int) -> tuple[Image.Image, int]:
        """The i-th image, decoded to RGB (decoding.py), and its label. Raises OSError for an invalid or
        truncated image."""
        data, label = self.read(i)
        with naming_errors(lambda: self.name(i)):
            return decode_rgb(data), label

    def examine(self, i: int) -> Facts:
        """Whether the i-th file is a complete image. Most are checked without decoding them: cheap."""
        try:
            data, label = self.read(i)
        except OSError as e:
            return Facts(b"", bad=str(e))
        try:
            with naming_errors(lambda: self.name(i)):
                header = read_header(data)
        except OSError as e:
            return Facts(digest(data, str(label).encode()), bad=str(e))
        return Facts(digest(data, str(label).encode(), *digest_parts(header.note)), header.size, note=header.note)

    def name(self, i: int) -> str:
        """The i-th file's name, as an error should call it."""
        try:
            return str(self._fresh.filename(i))
        except Exception:  # a HF data set need not know file names
            return f"{self.split} image {i}"


def used(config: ExperimentConfig) -> tuple[Selected[Files], Selected[Files]]:
    """The training and the test files of a recipe, and which of them it uses. Raises ConfigError."""
    kind = config.data.dataset if "/" in config.data.dataset else ""
    train = Files(config.data.data_root or "", "train", kind)
    test = Files(config.data.data_root or "", "test", kind, like=train)
    check_classes(train, test, config.data.num_classes)
    of_train = subset(len(train), config.data.num_train or 0, "num-train")
    of_test = subset(len(test), config.data.num_val or 0, "num-val")
    labels = train.labels
    if labels is not None and len(labels) == len(train):  # those that are trained on
        labels = labels[of_train[parted(train.file_names, of_train, config.data.val_split)[0]]]
    train.lines += unlearned(labels, train.names, config.data.num_classes)
    return Selected(train, of_train), Selected(test, of_test)


def check_classes(train: Files, test: Files, classes: int) -> None:
    """Raise ConfigError unless both splits have the same `classes` classes; without names, indices below that."""
    hints = "".join(f" ({hint})" for hint in (*train.hints, *test.hints))
    if train.names != test.names:
        only = only_in_one(train.names, test.names) or "in another order"
        raise ConfigError(f"train has {len(train.names)} classes and test {len(test.names)}; {only}{hints}")
    if len(train.names) == 1:
        raise ConfigError(f"the data has a single class, {train.names[0]}: at least two are needed{hints}")
    if train.names and len(train.names) != classes:
        n = len(train.names)
        raise ConfigError(f"the data has {n} classes, the recipe {classes}; set --num-classes {n}{hints}")
    for files in (train, test):
        if files.labels is not None and len(strange := files.labels[(files.labels < 0) | (files.labels >= classes)]):
            column = f" in column {files.column}" if files.column else ""
            from_one = files.labels.min() == 1 and files.labels.max() == classes
            hint = (
                f"labels start at 1: renumber them from 0, or set --num-classes {classes + 1}"
                if from_one
                else "set --num-classes"
            )
            known = f"the recipe {classes} classes (0 to {classes - 1})"
            raise ConfigError(f"{files.split} has a label {strange.max()}{column}, {known}; {hint}")


def unlearned(labels: np.ndarray | None, names: Sequence[str], classes: int) -> list[str]:
    """A line if classes have no training images. labels: of these, if known; names: of the classes, or empty. Raises
    ConfigError if only one class has any."""
    if labels is None or not len(labels):
        return []
    there = np.unique(labels).tolist()
    missing = [f"{k} ({names[k]})" if names else str(k) for k in range(classes) if k not in set(there)]
    if len(there) == 1 < classes:
        raise ConfigError(f"all {len(labels)} training images have class {there[0]}: at least two classes are needed")
    return [f"{len(missing)} of {classes} classes have no training images: {first_of(missing)}"] if missing else []


def _open(kind: str, data_root: str, split: str, names: tuple[str, ...]) -> Reader:
    if kind.startswith("hfds/"):
        return open_hub(kind, data_root, SPLITS[split], names)
    root = find_root(data_root)
    return open_shards(kind, root, SPLITS[split]) if kind else _folder_or_tar(root, split)


def _folder_or_tar(root: Path, split: str) -> ClassFolder | ClassTar:
    """The first folder or tar of the split that has class folders. A hint names it if there are several."""
    there = _of_split(root, split)
    passed: list[str] = []
    for number, path in enumerate(there):
        try:
            found = ClassTar(path) if path.suffix else ClassFolder(path)
        except NoImages as e:
            passed.append(f"{path} gives no images in class folders ({e})")
            continue
        except Exception as e:  # a damaged tar: as many kinds of it as there are bytes
            raise ConfigError(f"{path} gives no images in class folders ({first_line(e)})") from e
        if len(there) > 1:
            rest = [*passed, *(f"{other} is not used" for other in there[number + 1 :])]
            found.hints.append(f"{path} is used for the {split} images; {'; '.join(rest)}")
        return found
    raise ConfigError(
        "; ".join(passed)
        or f"{root} has no {split} images: a folder or .tar named {' or '.join(SPLITS[split])} is expected, "
        f"with one folder per class in it{_below(root, split)}"
    )


def _of_split(root: Path, split: str) -> list[Path]:
    """Folders and tars below root that have a name of the split."""
    names = [root / f"{name}{ending}" for name in SPLITS[split] for ending in ("", ".tar")]
    return [path for path in names if (path.is_file() if path.suffix else path.is_dir())]


def _below(root: Path, split: str) -> str:
    """Where root is a folder of data sets: those that have the split."""
    found = [str(child) for child in sorted(root.iterdir()) if child.is_dir() and _of_split(child, split)]
    return f"; there is one in {first_of(found)}" if found else ""
