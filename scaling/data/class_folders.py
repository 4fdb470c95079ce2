"""Images in one folder a class, on disk or in a tar, as timm's readers find them: in their order, with their labels.

timm's own (ReaderImageFolder, ReaderImageInTar; timm 1.0) follow a link to a folder above it without end, and read a
whole tar to list it. Here each real folder is visited once, and of a tar the headers alone are read.
Both classes: names, of the images, below the folder; labels; class_to_idx; reader[i], an open file and its label;
lines, what there is to say; stamps(indices) as in file_index.py.
"""

import io
import os
import posixpath
import re
import tarfile
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from scaling.data.file_index import stamp, stamps

ENDINGS = (".png", ".jpg", ".jpeg")  # timm's
DIGITS = re.compile(r"(\d+)")


def natural_key(text: str) -> list[str | int]:
    """By which 2 comes before 10; timm.utils.misc.natural_key. Every second part is a number."""
    parts: list[str | int] = list(DIGITS.split(text.lower()))
    parts[1::2] = map(int, parts[1::2])
    return parts


class _Classes:
    def __init__(self, found: list[tuple[str, str]]) -> None:
        """found: the name of an image and of its class, in order."""
        classes = sorted({label for _, label in found}, key=natural_key)
        self.class_to_idx = {name: number for number, name in enumerate(classes)}
        self.names = [name for name, _ in found]
        self.labels = np.array([self.class_to_idx[label] for _, label in found], np.int64)
        self.lines: list[str] = []

    def __len__(self) -> int:
        return len(self.names)

    def filename(self, i: int) -> str:
        return self.names[i]


class ClassFolder(_Classes):
    """The images below a folder; the folder that one lies in is its class. Raises ValueError where there is none."""

    def __init__(self, folder: Path) -> None:
        files, lines = files_below(folder, ENDINGS)
        super().__init__([(name, name.rpartition("/")[0].rpartition("/")[2]) for name in _in_order(tuple(files))])
        self.folder, self.lines = str(folder), lines
        if not files:
            raise ValueError(f"looked for {', '.join(ENDINGS)}")

    def __getitem__(self, i: int) -> tuple[BinaryIO, int]:
        return open(f"{self.folder}/{self.names[i]}", "rb"), int(self.labels[i])

    def stamps(self, indices: np.ndarray) -> np.ndarray:
        found_N2 = stamps([f"{self.folder}/{self.names[i]}" for i in indices.tolist()])
        return np.concatenate([found_N2, np.zeros_like(found_N2)], axis=1)


@lru_cache(maxsize=4)
def _in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    """Sorted as timm does. A run lists its files twice, for its name and to open them; sorting takes longest."""
    return tuple(sorted(sorted(names), key=natural_key))


class ClassTar(_Classes):
    """The images in a tar, or in tars that it holds. Nothing is held open, so threads and processes can share it.
    Raises ValueError where there is none, and what tarfile raises where it is damaged."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path, "r:") as tar:
            found = sorted(_members(tar), key=lambda member: natural_key(member[0]))
        super().__init__([(posixpath.normpath(name), label) for name, label, _, _ in found])
        self.path = str(path)
        self._places = np.array([place for *_, first, size in found for place in (first, size)], np.int64).reshape(
            -1, 2
        )
        if not found:
            raise ValueError(f"looked for {', '.join(ENDINGS)}")

    def __getitem__(self, i: int) -> tuple[BinaryIO, int]:
        offset, size = self._places[i].tolist()
        with open(self.path, "rb") as file:
            file.seek(offset)
            return io.BytesIO(file.read(size)), int(self.labels[i])

    def stamps(self, indices: np.ndarray) -> np.ndarray:
        """The tar's, and where in it an image lies."""
        tar_N2 = np.tile(np.array(stamp(self.path), np.int64), (len(indices), 1))
        return np.concatenate([tar_N2, self._places[indices]], axis=1)


def _members(tar: tarfile.TarFile, path: str = "", first: int = 0) -> list[tuple[str, str, int, int]]:
    """Name, class, and the first byte and the size [bytes] of the images in a tar, those of tars in it first.

    path: of this tar in that which holds it, which is the class of images that have no folder."""
    inside, own = [], []
    for member in tar:
        if not member.isfile():
            continue
        folder, name = os.path.split(member.path)
        stem, ending = os.path.splitext(name)
        if ending.lower() == ".tar":
            with tarfile.open(fileobj=tar.extractfile(member), mode="r:") as child:
                inside += _members(child, os.path.join(path, stem), first + member.offset_data)
        elif ending.lower() in ENDINGS:
            label = os.path.join(path, folder).strip("/").rpartition("/")[2]
            own.append((member.name, label, first + member.offset_data, member.size))
    return inside + own


def files_below(folder: Path, endings: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Names below a folder of the files with one of the endings, and a line for every link that was not followed, as it
    leads to a folder that was visited, or that the folder lies in. Links come after what is there itself."""
    found: list[str] = []
    lines: list[str] = []
    real = Path(os.path.realpath(folder))
    visited = {(s.st_dev, s.st_ino) for s in map(os.stat, real.parents)}
    folders = [""]
    links: list[str] = []
    while folders or links:
        if not folders:
            links.sort(reverse=True)
        below = folders.pop() if folders else links.pop()
        where = f"{folder}/{below}"
        inode = os.stat(where)
        if (inode.st_dev, inode.st_ino) in visited:
            lines.append(f"link {where.rstrip('/')} is not followed: {os.path.realpath(where)} is visited without it")
            continue
        visited.add((inode.st_dev, inode.st_ino))
        with os.scandir(where) as entries:
            for entry in entries:
                name = f"{below}{entry.name}"
                if entry.is_dir():
                    (links if entry.is_symlink() else folders).append(f"{name}/")
                elif name.lower().endswith(endings) and posixpath.splitext(entry.name)[1]:
                    found.append(name)
    return found, lines
