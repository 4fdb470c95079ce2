"""WebDataset shards as timm's readers are: an image by its number. A pass over the tars' headers finds where each lies.

So what is shuffled is numbers and not a buffer: order, resuming, subsets and bad images are those of files. Of a sample
only the image and the label are ever decoded, and not by webdataset, whose decoders would unpickle a .pyd.
"""

import io
import json
import logging
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from scaling.data.file_index import stamp
from scaling.data.listing import ENDINGS
from scaling.first_line import first_line
from scaling.recipe import BadInput

IMAGES = tuple(ending[1:] for ending in ENDINGS)  # the first of them that a sample has is its image
PLACE = np.dtype([("shard", np.int32), ("offset", np.int64), ("size", np.int64), ("label", np.int64)])
NONE = -(2**62)  # no label, or no image


class Shards:
    """The samples of some tars, in their order. field: of a sample's .json, that holds its label; empty: its .cls does.

    len(): samples; labels: of those that have one; reader[i]: a file and its label, OSError where one of them is not
    there. Raises BadInput where a tar is missing, damaged or cut off.
    """

    def __init__(self, paths: list[Path], field: str = "") -> None:
        self._paths = paths
        tables = [_index(number, path, field) for number, path in enumerate(paths)]
        self._places = np.concatenate([places for places, _ in tables])
        self._names = np.concatenate([names for _, names in tables])
        self.labels = self._places["label"][self._places["label"] != NONE]
        shards = self._places["shard"].tolist()
        self.names = [f"{paths[s].name}/{n.decode(errors='replace')}" for s, n in zip(shards, self._names, strict=True)]

    def __len__(self) -> int:
        return len(self._places)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Shards":
        return self  # nothing is held open, so threads and processes can share it

    def __getitem__(self, i: int) -> tuple[io.BytesIO, int]:
        shard, offset, size, label = self._places[i].tolist()
        if NONE in (size, label):
            raise OSError(f"{self.filename(i)}: its sample has no {'image' if size == NONE else 'label'}")
        with open(self._paths[shard], "rb") as file:
            file.seek(offset)
            return io.BytesIO(file.read(size)), label

    def filename(self, i: int) -> str:
        """The shard's name and the image's in it."""
        return self.names[i]

    def stamps(self, indices: np.ndarray) -> np.ndarray:
        """As in file_index.py: the shard's, and where in it an image lies; its label is elsewhere in the shard."""
        places = self._places[indices]
        shard_S2 = np.array([stamp(path) for path in self._paths], np.int64).reshape(-1, 2)
        return np.column_stack([shard_S2[places["shard"]], places["offset"], places["label"]])


def open_shards(kind: str, root: Path, splits: tuple[str, ...]) -> Shards:
    """The first of the splits that _info.json in the data root has. kind: wds/NAME. Raises BadInput."""
    try:
        import webdataset  # noqa: F401
        from timm.data.readers.reader_wds import ReaderWds
    except ImportError as e:
        raise BadInput(f"{kind} needs the package webdataset: pip install '.[hub]'") from e
    logging.getLogger("timm.data.readers.reader_wds").setLevel(logging.ERROR)  # what it warns of is raised below
    reasons = []
    for split in splits:
        try:
            info = ReaderWds(str(root), split=split).split_info
        except (RuntimeError, KeyError, TypeError) as e:
            reasons.append(first_line(e, 100))
            continue
        if info.filenames and len(shards := Shards([root / name for name in info.filenames], info.alt_label)):
            return shards
        reasons.append(f"split {split} has no samples")
    raise BadInput(f"{root} has no {splits[0]} shards ({'; '.join(reasons)}); _info.json must name them there")


def _index(shard: int, path: Path, field: str) -> tuple[np.ndarray, np.ndarray]:
    """Where the samples of one tar lie, and their names."""
    try:
        with tarfile.open(path, "r:") as tar:
            samples = _samples(tar, "json" if field else "cls")
            _check_end(tar)
    except Exception as e:  # a damaged file fails in as many ways as there are bytes
        reason = e.strerror if isinstance(e, OSError) else first_line(e, 100)
        raise BadInput(f"shard {path} cannot be read whole ({reason}); fetch it again, unpacked if it is a .gz") from e
    places, names = [], []
    for key, (images, text) in samples.items():
        label = _label(text, field)
        if field and NONE < label < 0:  # as timm has it: not one of this set of labels, though of another
            continue
        image = next((images[suffix] for suffix in IMAGES if suffix in images), None)
        places.append((shard, image.offset_data, image.size, label) if image else (shard, 0, NONE, label))
        names.append((image.name if image else key).encode(errors="replace"))
    return np.array(places, PLACE), np.array(names, np.bytes_)


def _samples(tar: tarfile.TarFile, labelled: str) -> dict[str, tuple[dict[str, tarfile.TarInfo], list[bytes]]]:
    """A sample's images by suffix, and the text of its label (none or one), by the name up to its first dot."""
    samples: dict[str, tuple[dict[str, tarfile.TarInfo], list[bytes]]] = {}
    for member in tar:
        folder, slash, name = member.name.rpartition("/")
        stem, _, suffix = name.partition(".")
        suffix = suffix.lower()
        if not member.isreg() or not stem or suffix not in (*IMAGES, labelled):
            continue
        images, text = samples.setdefault(folder + slash + stem, ({}, []))
        if suffix != labelled:
            images[suffix] = member
        elif (file := tar.extractfile(member)) is not None:
            text[:] = [file.read()]
    return samples


def _label(text: list[bytes], field: str) -> int:
    try:
        label = int(json.loads(text[0])[field] if field else text[0])
        return label if abs(label) < 2**31 else NONE
    except (IndexError, KeyError, ValueError, TypeError, OverflowError, RecursionError):
        return NONE


def _check_end(tar: tarfile.TarFile) -> None:
    """Raise ReadError unless a block of zeros ended the tar: tarfile takes half a header, or none, for an end too."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("its end is missing")
