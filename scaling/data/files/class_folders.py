"""Images in one folder per class, on disk or in a tar, in the order and with the labels of timm's readers.

timm's own (ReaderImageFolder, ReaderImageInTar; timm 1.0) follow a link to a parent folder endlessly, and read a whole
tar to list it. Here each real folder is visited once, and only the headers of a tar are read.
Departs: timm takes hidden files, three endings only, and images outside of class folders as a class without a name.
Both classes: names, of the images, below the folder; labels; class_to_idx; reader[i], an open file and its label;
lines, messages for the user; hints, messages that may explain unexpected classes; stamps as in file_facts.DataFiles.
"""

import io
import os
import posixpath
import re
import tarfile
from collections import Counter
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from scaling.data.files.file_facts import stamp, stamps
from scaling.data.files.file_listing import ENDINGS, LOOKED_FOR, LeftOut, files_below
from scaling.data.files.listing_cache import listing

DIGITS = re.compile(r"(\d+)")


def natural_key(text: str) -> list[str | int]:
    """Sort key by which 2 precedes 10; timm.utils.misc.natural_key. Every second part is a number."""
    parts: list[str | int] = list(DIGITS.split(text.lower()))
    parts[1::2] = map(int, parts[1::2])
    return parts


class NoImages(ValueError):
    """No images in class folders."""


class _Classes:
    def __init__(self, where: Path, found: list[tuple[str, str]]) -> None:
        """found: (image, class) names in order; class "" for images outside of class folders, which are left out.
        Raises NoImages if nothing remains."""
        bare = sum(not label for _, label in found)
        found = [(name, label) for name, label in found if label]
        if not found:
            raise NoImages(f"{bare} images outside of class folders" if bare else f"looked for {LOOKED_FOR}")
        classes = sorted({label for _, label in found}, key=natural_key)
        self.class_to_idx = {name: number for number, name in enumerate(classes)}
        self.names = [name for name, _ in found]
        self.labels = np.array([self.class_to_idx[label] for _, label in found], np.int64)
        self.lines: list[str] = [f"{where}: {bare} images outside of class folders are left out"] if bare else []
        self.hints: list[str] = _shared(where, {(name.rpartition("/")[0], label) for name, label in found})

    def __len__(self) -> int:
        return len(self.names)

    def filename(self, i: int) -> str:
        return self.names[i]


def _shared(where: Path, folders: set[tuple[str, str]]) -> list[str]:
    """A line if folders with the same last name form one class: a/crane and b/crane, or cat/1 and dog/1."""
    count = Counter(label for _, label in folders)
    shared = sorted((label for label in count if count[label] > 1), key=natural_key)
    first = sorted(folder for folder, label in folders if shared and label == shared[0])[:3]
    return (
        [f"{where}: {len(shared)} class(es) come from several folders, such as {' and '.join(first)}"] if shared else []
    )


class ClassFolder(_Classes):
    """The images below a folder; the class of an image is the folder that directly contains it. Raises NoImages."""

    def __init__(self, folder: Path) -> None:
        ordered, lines = _listed(folder)
        super().__init__(folder, [(name, name.rpartition("/")[0].rpartition("/")[2]) for name in ordered])
        self.folder = str(folder)
        self.lines += lines
        with os.scandir(folder) as entries:
            below = {entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")}
        if empty := sorted(below - {name.partition("/")[0] for name in self.names}, key=natural_key):
            self.hints.append(f"{folder}: no images in {', '.join(empty)}")

    def __getitem__(self, i: int) -> tuple[BinaryIO, int]:
        return open(f"{self.folder}/{self.names[i]}", "rb"), int(self.labels[i])

    def stamps(self, indices: np.ndarray) -> np.ndarray:
        found_N2 = stamps([f"{self.folder}/{self.names[i]}" for i in indices.tolist()])
        return np.concatenate([found_N2, np.zeros_like(found_N2)], axis=1)


@listing
def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """Names in timm's order, and messages. Of many files, sorting takes longest."""
    names, lines = files_below(folder, ENDINGS)
    return sorted(sorted(names), key=natural_key), lines


class Member(NamedTuple):
    """An image in a tar."""

    name: str
    label: str  # class; empty outside of class folders
    first: int  # byte
    size: int  # [bytes]


class ClassTar(_Classes):
    """The images in a tar, or in tars inside it. No file is kept open, so threads and processes can share it. Raises
    NoImages, and for a damaged tar what tarfile raises."""

    def __init__(self, path: Path) -> None:
        found, lines = _listed_tar(path)
        super().__init__(path, [(posixpath.normpath(member.name), member.label) for member in found])
        self.path = str(path)
        self.lines += lines
        places = [(member.first, member.size) for member in found if member.label]
        self._places = np.array(places, np.int64).reshape(-1, 2)

    def __getitem__(self, i: int) -> tuple[BinaryIO, int]:
        offset, size = self._places[i].tolist()
        with open(self.path, "rb") as file:
            file.seek(offset)
            return io.BytesIO(file.read(size)), int(self.labels[i])

    def stamps(self, indices: np.ndarray) -> np.ndarray:
        """The stamp of the tar, and the position of an image in it."""
        tar_N2 = np.tile(np.array(stamp(self.path), np.int64), (len(indices), 1))
        return np.concatenate([tar_N2, self._places[indices]], axis=1)


@listing
def _listed_tar(path: Path) -> tuple[list[Member], list[str]]:
    """Members in timm's order, and messages."""
    left_out = LeftOut()
    with tarfile.open(path, "r:") as tar:
        found = sorted(_members(tar, left_out), key=lambda member: natural_key(member.name))
    return found, left_out.lines(path)


def _members(tar: tarfile.TarFile, left_out: LeftOut, path: str = "", first: int = 0) -> list[Member]:
    """The images in a tar, those of tars in it first. path: of this tar in the one that contains it, which is the class
    of images without a folder; first: byte at which it begins there; left_out: counts the other files."""
    inside, own = [], []
    for member in tar:
        folder, name = os.path.split(posixpath.normpath(member.path))
        if member.isfile() and name.lower().endswith(".tar"):
            with tarfile.open(fileobj=tar.extractfile(member), mode="r:") as child:
                below = os.path.join(path, os.path.splitext(name)[0])
                inside += _members(child, left_out, below, first + member.offset_data)
        elif not member.isdir() and left_out.takes(os.path.join(folder, name)):
            if not member.isfile():
                left_out.endings["links"] += 1
                continue
            label = os.path.join(path, folder).strip("/").rpartition("/")[2]
            own.append(Member(member.name, label, first + member.offset_data, member.size))
    return inside + own
