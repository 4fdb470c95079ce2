"""Images of a Hugging Face data set and the class of each, whatever its columns are called and hold.

timm's reader asks for columns image and label, and hands on what is in them: -1 where a test split has no labels
(imagenet-1k), text, nothing. Here the column of labels is looked at first, which is cheap: it holds no pixels.
N images.
"""

import contextlib
import io
from typing import Any, BinaryIO

import numpy as np

from scaling.data.class_folders import natural_key
from scaling.first_line import first_line
from scaling.recipe import BadInput

IMAGES = ("image", "img")  # columns, where the data do not say which one is of images
LABELS = ("label", "labels", "fine_label", "target", "class")
NONE = -1  # no label, as any number below 0 is in data sets of the hub (datasets #4511)


class NoLabels(ValueError):
    """A split in which no image has a label."""


class HubSet:
    """One split. len(): images; labels: of those that have one; class_to_idx: where classes have names; reader[i]: an
    open file and its label, OSError where there is neither."""

    def __init__(self, dataset: Any, split: str, names: tuple[str, ...] = ()) -> None:
        """names: of classes that are known already, which labels in words are numbered by. Raises BadInput for columns
        that cannot be used, NoLabels."""
        import datasets

        self._split, self.lines = split, list[str]()
        image, self.column = _image_column(dataset, split), _label_column(dataset, split)
        self.dataset = dataset.cast_column(image, datasets.Image(decode=False)).select_columns([image, self.column])
        self._image, self._pictures = image, self.dataset.select_columns([image])
        feature = dataset.features[self.column]
        column = dataset.select_columns([self.column]).with_format("arrow")[:].column(0)
        label_N, found = _numbers(column, f"column {self.column} of split {split}", names)
        self._label_N = np.maximum(label_N, NONE)
        classes = feature.names if isinstance(feature, datasets.ClassLabel) else found
        self.class_to_idx = {name: number for number, name in enumerate(classes)}
        self.labels = self._label_N[self._label_N != NONE]
        if not len(self.labels):
            raise NoLabels(f"column {self.column} has no label for any of its {len(self)} images")

    def __len__(self) -> int:
        return len(self._label_N)

    def __getitem__(self, i: int) -> tuple[BinaryIO, int]:
        image, label = self._pictures[i][self._image], int(self._label_N[i])
        if label == NONE:
            raise OSError(f"{self.filename(i)}: column {self.column} has no label for it")
        if not image or not (image.get("bytes") or image.get("path")):
            raise OSError(f"{self.filename(i)}: column {self._image} is empty")
        return (io.BytesIO(image["bytes"]) if image.get("bytes") else open(image["path"], "rb")), label

    def filename(self, i: int) -> str:
        """The image's name, where the data has one, and its number."""
        path = (self._pictures[i][self._image] or {}).get("path")
        return f"{self._split} image {i}" + (f" ({path})" if path else "")


def open_hub(kind: str, data_root: str, splits: tuple[str, ...], names: tuple[str, ...] = ()) -> HubSet:
    """The first of the splits that has labels. kind: hfds/NAME; data_root: where it is kept once it is fetched; names:
    as for HubSet. Raises BadInput."""
    try:
        import datasets
    except ImportError as e:
        raise BadInput(f"{kind} needs the package datasets: pip install '.[hub]'") from e
    reasons, bare = [], []
    for split in splits:
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                dataset = datasets.load_dataset(kind.removeprefix("hfds/"), split=split, cache_dir=data_root or None)
            except Exception as e:  # as many kinds as there are loaders
                reasons.append(f"{split}: {first_line(e, 120)}")
                continue
        try:
            found = HubSet(dataset, split, names)
        except NoLabels as e:
            reasons.append(f"{split}: {e}")
            bare.append(f"{kind}: split {split} is passed over for {{}}, as its {e}")
        except BadInput as e:
            raise BadInput(f"{kind}: {e}") from e
        else:
            found.lines += [line.format(split) for line in bare]
            return found
    raise BadInput(f"{kind} has no {splits[0]} images with labels ({'; '.join(reasons)})")


def _image_column(dataset: Any, split: str) -> str:
    import datasets

    columns = dataset.column_names
    found = [name for name in columns if isinstance(dataset.features[name], datasets.Image)]
    known = [name for name in IMAGES if name in (found or columns)]
    if len(found) == 1 or known:
        return (known or found)[0]
    why = f"{len(found)} columns of images, {', '.join(found)}" if found else f"no column of images: {_listed(columns)}"
    raise BadInput(f"split {split} has {why}; call the one that is meant image (rename_column, then to_parquet)")


def _label_column(dataset: Any, split: str) -> str:
    import datasets

    columns = dataset.column_names
    if LABELS[0] in columns:
        return LABELS[0]
    found = [name for name in columns if isinstance(dataset.features[name], datasets.ClassLabel)]
    found = found or [name for name in LABELS if name in columns]
    if len(found) == 1:
        return found[0]
    why = f"{len(found)} columns of labels, {', '.join(found)}" if found else f"no column label: {_listed(columns)}"
    raise BadInput(f"split {split} has {why}; call the one that is meant label (rename_column, then to_parquet)")


def _listed(columns: list[str]) -> str:
    return "there is " + ", ".join(columns[:8]) + (", …" if len(columns) > 8 else "")


def _numbers(column: Any, what: str, known: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels of a column (pyarrow's) as numbers (N,) int64, NONE where there is none, and the names of classes that
    are words, in their order: of the known ones where these are all. Raises BadInput for what is no label."""
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
            raise BadInput(f"{what} has the label {strange[0]}: whole numbers from 0 up are expected")
        return value_N.astype(np.int64), ()
    if pa.types.is_integer(kind):
        with contextlib.suppress(pa.ArrowInvalid):
            return column.cast(pa.int64()).fill_null(NONE).to_numpy().astype(np.int64), ()
    first = str(column[0].as_py())[:40]
    raise BadInput(f"{what} holds {kind}, the first {first}: one class an image is expected, a number or a name")
