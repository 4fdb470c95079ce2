"""WebDataset shards with random access: one pass over the headers of the tars finds where each image is.

So indices are shuffled, not a buffer: order, resuming, subsets and unreadable images are handled as for files. Only the
image and the label of a sample are decoded, and not by webdataset, whose decoders would unpickle a .pyd. The shards of
a split are listed by webdataset_index.py.
"""

import io
import json
import re
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scaling.data.files.file_facts import stamp
from scaling.data.files.file_listing import ENDINGS
from scaling.data.files.listing_cache import listing
from scaling.errors import ConfigError, first_line

IMAGES = tuple(ending[1:] for ending in ENDINGS)  # the first of them that a sample has is its image
PLACE = np.dtype([("shard", np.int32), ("offset", np.int64), ("size", np.int64), ("label", np.int64)])
NONE = -(2**62)  # no label, or no image
SHOWN = 40  # characters of an invalid label that an error quotes


class Shards:
    """The samples of some tars, in their order. field: of a sample's .json, that holds its label; empty: its .cls does.

    len(): samples; labels: of samples that have one; strange: invalid labels, as text, by sample; fields: whether any
    sample has a .json; reader[i]: a file and its label, OSError if one of them is missing. Raises ConfigError if a tar
    is missing, damaged or truncated, or if image names contain dots.
    """

    def __init__(self, paths: list[Path], field: str = "") -> None:
        self._paths, self.field = paths, field
        tables = [_index(number, path, field) for number, path in enumerate(paths)]
        first_S = np.cumsum([0, *(len(table.places) for table in tables)]).tolist()
        self._places = np.concatenate([table.places for table in tables])
        self._names = np.concatenate([table.names for table in tables])
        self.strange = {
            first + n: text for first, t in zip(first_S, tables, strict=False) for n, text in t.strange.items()
        }
        self.fields = any(table.fields for table in tables)
        self.labels = self._places["label"][self._places["label"] != NONE]
        shards = self._places["shard"].tolist()
        self.names = [f"{paths[s].name}/{n.decode(errors='replace')}" for s, n in zip(shards, self._names, strict=True)]
        self.lines: list[str] = []

    def __len__(self) -> int:
        return len(self._places)

    def __deepcopy__(self, memo: dict[int, object]) -> "Shards":
        return self  # no file is kept open, so threads and processes can share it

    def __getitem__(self, i: int) -> tuple[io.BytesIO, int]:
        shard, offset, size, label = self._places[i].tolist()
        if size == NONE:
            raise OSError(f"{self.filename(i)}: its sample has no image")
        if label == NONE:
            raise OSError(f"{self.filename(i)}: its sample has {self.instead(i)}")
        with open(self._paths[shard], "rb") as file:
            file.seek(offset)
            return io.BytesIO(file.read(size)), label

    def instead(self, i: int) -> str:
        """Why the i-th sample has no label, for error messages."""
        place = f"the field {self.field} of its .json" if self.field else "its .cls"
        return (
            f"no label: {place} holds {self.strange[i]}, which is not a class index"
            if i in self.strange
            else "no label"
        )

    def filename(self, i: int) -> str:
        """The shard's name and the image's in it."""
        return self.names[i]

    def stamps(self, indices: np.ndarray) -> np.ndarray:
        """The stamp of the shard, the position of an image in it, and its label, which is elsewhere in the shard."""
        places = self._places[indices]
        shard_S2 = np.array([stamp(path) for path in self._paths], np.int64).reshape(-1, 2)
        return np.column_stack([shard_S2[places["shard"]], places["offset"], places["label"]])


class _Table(NamedTuple):
    """The samples of one tar."""

    places: np.ndarray
    names: np.ndarray
    strange: dict[int, str]
    fields: bool


class _Sample:
    """Images by suffix, names of images with further dots, and the label file's content (none or one)."""

    def __init__(self) -> None:
        self.images: dict[str, tarfile.TarInfo] = {}
        self.dotted: list[str] = []
        self.text: list[bytes] = []


@listing
def _index(shard: int, path: Path, field: str) -> _Table:
    """Locations and names of the samples of one tar, and their invalid labels."""
    try:
        with tarfile.open(path, "r:") as tar:
            samples, fields = _samples(tar, "json" if field else "cls")
            _check_end(tar)
    except Exception as e:  # a damaged file fails in as many ways as there are bytes
        reason = e.strerror if isinstance(e, OSError) else first_line(e, 100)
        raise ConfigError(
            f"shard {path} cannot be read whole ({reason}); fetch it again, unpacked if it is a .gz"
        ) from e
    if dotted := [name for sample in samples.values() if not sample.images for name in sample.dotted]:
        raise ConfigError(
            f"shard {path} has {len(dotted)} image(s) with a dot in the name, such as {dotted[0]}: the name "
            "of a sample ends at its first dot; rename them"
        )
    places: list[tuple[int, int, int, int]] = []
    names: list[bytes] = []
    strange: dict[int, str] = {}
    for key, sample in samples.items():
        label, instead = _label(sample.text, field)
        if field and NONE < label < 0:  # as timm has it: not one of this set of labels, though of another
            continue
        if instead:
            strange[len(places)] = instead
        image = next((sample.images[suffix] for suffix in IMAGES if suffix in sample.images), None)
        places.append((shard, image.offset_data, image.size, label) if image else (shard, 0, NONE, label))
        names.append((image.name if image else key).encode(errors="replace"))
    return _Table(np.array(places, PLACE), np.array(names, np.bytes_), strange, fields)


def _samples(tar: tarfile.TarFile, labelled: str) -> tuple[dict[str, _Sample], bool]:
    """Samples by name (up to the first dot), and whether there is any .json."""
    samples: dict[str, _Sample] = {}
    fields = False
    for member in tar:
        folder, slash, name = member.name.rpartition("/")
        stem, _, suffix = name.partition(".")
        suffix = suffix.lower()
        last = suffix.rpartition(".")[2]
        fields |= suffix == "json"
        if not member.isreg() or not stem or (suffix != labelled and last not in IMAGES):
            continue
        sample = samples.setdefault(folder + slash + stem, _Sample())
        if suffix in IMAGES:
            sample.images[suffix] = member
        elif suffix != labelled:
            sample.dotted.append(member.name)
        elif (file := tar.extractfile(member)) is not None:
            sample.text = [file.read()]
    return samples, fields


def _label(text: list[bytes], field: str) -> tuple[int, str]:
    """The class index and "", or NONE and the invalid value as text, empty if there is none."""
    if not text:
        return NONE, ""
    held = text[0]
    if field:
        try:
            value = json.loads(held)[field]
        except (KeyError, IndexError):
            return NONE, ""
        except (ValueError, TypeError, RecursionError):
            return NONE, "invalid JSON"
        if value is None:
            return NONE, ""
        held = str(int(value) if isinstance(value, bool | float) and value == value // 1 else value).encode()
    if re.fullmatch(rb"[+-]?\d{1,9}", held.strip()):
        return int(held), ""
    return NONE, repr(held[:SHOWN].decode(errors="replace")) if held.strip() else ""


def _check_end(tar: tarfile.TarFile) -> None:
    """Raise ReadError unless the tar ends with a block of zeros: tarfile accepts an incomplete header, or none, too."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("its end is missing")
