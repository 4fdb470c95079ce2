"""WebDataset shards through timm's reader, as an endless stream of batches that can start at any step.

Shards are split among workers, so the order depends on how many workers there are (and a resumed run must keep their
number); within that it is a function of the seed.
"""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import IterableDataset, get_worker_info

from scaling.data.augment import fit_image, resized_crop
from scaling.data.batch import Batch, Draw
from scaling.data.files import SPLITS, find_root
from scaling.recipe import BadInput, Recipe


def open_shards(recipe: Recipe, split: str, *, seed: int = 0) -> Any:
    """timm's reader over one split of wds/NAME; the splits stand in _info.json in the data root. Raises BadInput."""
    try:
        import webdataset  # noqa: F401
        from timm.data.readers.reader_wds import ReaderWds
    except ImportError as e:
        raise BadInput(f"{recipe.data} needs the package webdataset: pip install '.[hub]'") from e
    # timm leaves out what it cannot decode in a shard and warns of each: neither counted nor stopped at here.
    logging.getLogger("timm.data.readers.reader_wds").setLevel(logging.ERROR)
    root, reasons = find_root(recipe.data_root), []
    for name in SPLITS[split]:
        try:
            return ReaderWds(str(root), split=name, is_training=split == "train", batch_size=1, seed=seed)
        except (RuntimeError, KeyError) as e:
            reasons.append(str(e).splitlines()[0][:100])
    raise BadInput(f"{root} has no {split} shards ({'; '.join(reasons)}); _info.json must name them and their lengths")


class ShardStream(IterableDataset):
    """Batches of a split: endless from step `start` for training, each image once for testing."""

    def __init__(self, recipe: Recipe, split: str, batch: int, start: int = 0) -> None:
        self.recipe, self.split, self.batch, self.start = recipe, split, batch, start

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        workers, worker = (info.num_workers, info.id) if info else (1, 0)
        # The loader takes batches from workers in turn, from worker 0 on: at a step that is no multiple of their
        # number it is this worker's place in the turn that counts, not its own number.
        place = (worker + self.start) % workers
        skip = (self.start + workers - 1 - place) // workers * self.batch
        batch: list[tuple[np.ndarray, int]] = []
        for number, (image, label, draw) in enumerate(self._samples(place, workers)):
            if number < skip:
                continue
            batch.append((self._view(image, draw), label))
            if len(batch) == self.batch:
                yield _pack(batch, self.recipe)
                batch = []
        if batch:
            yield _pack(batch, self.recipe)

    def _samples(self, place: int, workers: int) -> Iterator[tuple[Image.Image, int, Draw]]:
        epoch = 0
        while True:
            reader = open_shards(self.recipe, self.split, seed=self.recipe.seed + 1000 * epoch)
            reader.worker_info = (place, workers)  # set here, so that timm does not ask torch for them
            reader.worker_id, reader.num_workers, reader.worker_seed = place, workers, reader.common_seed + place
            for number, (image, label) in enumerate(reader):
                yield image, int(label), Draw(epoch, number * workers + place)
            if self.split == "test":
                return
            epoch += 1

    def _view(self, image: Image.Image, draw: Draw) -> np.ndarray:
        r = self.recipe
        if self.split == "train" and r.augment == "resized_crop":
            return resized_crop(image, r.image, draw, r.seed)
        return fit_image(image, r.image, r.crop)


def _pack(batch: list[tuple[np.ndarray, int]], recipe: Recipe) -> Batch:
    labels = torch.tensor([label for _, label in batch])
    if int(labels.max()) >= recipe.classes or int(labels.min()) < 0:
        raise BadInput(
            f"{recipe.data} has a label {int(labels.max())}, the recipe {recipe.classes} classes (0 to "
            f"{recipe.classes - 1}); set --classes"
        )
    return Batch(torch.from_numpy(np.stack([pixels for pixels, _ in batch])), labels)
