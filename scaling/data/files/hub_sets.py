"""Images and labels of a Hugging Face data set, with checks of its columns and labels before any image is read.

timm's reader expects the columns image and label and returns any label value: -1 for a test split without labels
(imagenet-1k), text, None. Here the label column is read first, which is cheap: it holds no pixels. N images.
"""

import contextlib
import inspect
import io
import os
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from scaling.data.files.class_folders import natural_key
from scaling.data.files.listing_cache import listing
from scaling.errors import ConfigError, first_line, first_of

if TYPE_CHECKING:
    from datasets import Dataset
    from pyarrow import ChunkedArray

IMAGES = ("image", "img")  # usual column names, if no column or several columns have the type Image
LABELS = ("label", "labels", "fine_label", "target", "class")
NONE = -1  # no label; any negative number means that in Hugging Face data sets (datasets #4511)


class NoLabels(ValueError):
    """No image of the split has a label."""


class HubSet:
    """One split. len(): images; labels: of the images that have one; class_to_idx: empty if classes have no names;
    reader[i]: an open file and its label, OSError if one of them is missing."""

    def __init__(self, dataset: "Dataset", split: str, names: tuple[str, ...] = ()) -> None:
        """names: known class names; text labels are numbered by them. Raises ConfigError, NoLabels."""
        import datasets

        self._split, self.lines = split, list[str]()
        image, self.column = _image_column(dataset, split), _label_column(dataset, split)
        try:
            stored = dataset.cast_column(image, datasets.Image(decode=False))
        except Exception as e:  # pyarrow's, by the type that it has
            raise ConfigError(
                f"column {image} of split {split} has the type {dataset.features[image]}: no images"
            ) from e
        self.dataset = stored.select_columns([image, self.column])
        self._image, self._pictures = image, self.dataset.select_columns([image])
        feature = dataset.features[self.column]
        column = dataset.select_columns([self.column]).with_format("arrow")[:].column(0)
        label_N, found = _numbers(column, f"column {self.column} of split {split}", names)
        self._label_N = np.maximum(label_N, NONE)
        classes = feature.names if isinstance(feature, datasets.ClassLabel) else found
        self.class_to_idx = {name: number for number, name in enumerate(classes)}
        self.labels = self._label_N[self._label_N != NONE]
        if not len(self.labels):
            raise NoLabels(f"column {self.column} has no label in {len(self)} rows")

    def __len__(self) -> int:
        return len(self._label_N)

    def __getitem__(self, i: int) -> tuple[BinaryIO, int]:
        image, label = self._pictures[i][self._image], int(self._label_N[i])
        if label == NONE:
            raise OSError(f"{self.filename(i)}: no label in column {self.column}")
        if not image or not (image.get("bytes") or image.get("path")):
            raise OSError(f"{self.filename(i)}: column {self._image} is empty")
        return (io.BytesIO(image["bytes"]) if image.get("bytes") else open(image["path"], "rb")), label

    def filename(self, i: int) -> str:
        """The image's row number, and its file name if the data has one."""
        path = (self._pictures[i][self._image] or {}).get("path")
        return f"{self._split} image {i}" + (f" ({path})" if path else "")


def _asked(name: str) -> contextlib.AbstractContextManager[object]:
    """Inside, a hub that does not answer is not contacted: the client would retry for half a minute per split, with a
    message each time. A folder needs no hub."""
    if os.path.exists(os.path.expanduser(name)):
        return contextlib.nullcontext()
    from scaling.downloads import hub_or_cache  # which needs torch

    return hub_or_cache()


@listing
def open_hub(kind: str, data_root: str, splits: tuple[str, ...], names: tuple[str, ...] = ()) -> HubSet:
    """The first of the splits that has labels. kind: hfds/NAME; data_root: cache folder; names: as for HubSet. Raises
    ConfigError."""
    try:
        import datasets
    except ImportError as e:
        raise ConfigError(f"{kind} needs the package datasets: pip install '.[hub]'") from e
    options: dict[str, object] = {"cache_dir": data_root or None}
    if "trust_remote_code" in inspect.signature(datasets.load_dataset).parameters:
        options["trust_remote_code"] = False  # before datasets 4: never run code of a data set, nor prompt for it
    name, reasons, skipped = kind.removeprefix("hfds/"), [], []
    for split in splits:
        with contextlib.redirect_stdout(io.StringIO()), _asked(name):
            try:
                dataset = datasets.load_dataset(name, split=split, **options)
            except Exception as e:  # every loader raises its own
                reasons.append(f"{split}: {first_line(e, 120)}")
                continue
        try:
            found = HubSet(dataset, split, names)
        except NoLabels as e:
            reasons.append(f"{split}: {e}")
            skipped.append(f"{kind}: split {split} is skipped ({e})")
        except ConfigError as e:
            raise ConfigError(f"{kind}: {e}") from e
        else:
            found.lines += [f"{line}; {split} is used" for line in skipped]
            return found
    raise ConfigError(f"{kind} has no {splits[0]} images with labels ({'; '.join(reasons)})")


def _image_column(dataset: "Dataset", split: str) -> str:
    import datasets

    columns = dataset.column_names
    found = [name for name in columns if isinstance(dataset.features[name], datasets.Image)]
    known = [name for name in IMAGES if name in (found or columns)]
    if len(found) == 1 or known:
        return (known or found)[0]
    why = f"{len(found)} image columns, {', '.join(found)}" if found else f"no image column: {_listed(columns)}"
    raise ConfigError(f"split {split} has {why}; name the one to use image (rename_column, then to_parquet)")


def _label_column(dataset: "Dataset", split: str) -> str:
    import datasets

    columns = dataset.column_names
    if LABELS[0] in columns:
        return LABELS[0]
    found = [name for name in columns if isinstance(dataset.features[name], datasets.ClassLabel)]
    found = found or [name for name in LABELS if name in columns]
    if len(found) == 1:
        return found[0]
    hint = "name the one to use label (rename_column, then to_parquet)"
    if not found:
        raise NoLabels(f"no label column: {_listed(columns)}; {hint}")
    raise ConfigError(f"split {split} has {len(found)} label columns, {', '.join(found)}; {hint}")


def _listed(columns: list[str]) -> str:
    return f"columns are {first_of(columns, most=8)}"


def _numbers(column: "ChunkedArray", what: str, known: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """A pyarrow column as labels (N,) int64 with NONE for missing ones, and the class names of text labels: the known
    ones if they include all that occur, else sorted. Raises ConfigError for invalid labels."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_null(kind):
        return np.full(len(column), NONE), ()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        words = [word for word in pc.unique(column).to_pylist() if word]
        names = known if known and set(words) <= set(known) else tuple(sorted(words, key=natural_key))
        number = {name: n for n, name in enumerate(names)}
        return np.array([number.get(word, NONE) for word in column.to_pylist()], np.int64), names
    if pa.types.is_boolean(kind):
        return column.cast(pa.int8()).fill_null(NONE).to_numpy().astype(np.int64), ()
    if pa.types.is_floating(kind):
        value_N = column.cast(pa.float64()).fill_null(NONE).to_numpy()
        value_N = np.where(np.isnan(value_N), NONE, value_N)
        strange = value_N[(value_N != np.floor(value_N)) | (abs(value_N) > 2**53)]
        if len(strange):
            raise ConfigError(f"{what} has the label {strange[0]}: integers from 0 are expected")
        return value_N.astype(np.int64), ()
    if pa.types.is_integer(kind):
        with contextlib.suppress(pa.ArrowInvalid):
            return column.cast(pa.int64()).fill_null(NONE).to_numpy().astype(np.int64), ()
    first = str(column[0].as_py())[:40]
    raise ConfigError(
        f"{what} has the type {kind} (first value {first}): one class per image is expected, an index or a name"
    )
