"""Activations of several models on the same images, mini-batch by mini-batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from scaling.backbones.activations import Point
from scaling.comparison.models import ComparedModel


def mini_batches(
    models: Sequence[ComparedModel],
    images: Mapping[int, Tensor],
    largest: int,
    reduce: Callable[[np.ndarray], np.ndarray],
) -> Iterator[list[dict[Point, np.ndarray]]]:
    """Of each mini-batch a dictionary per model: what reduce makes of the activations (n, X) of every point. Patches
    are averaged to the coarsest of the models' grids. Only activations of one model and one mini-batch are in memory at
    a time. images: (N, 3, S, S) uint8 by S, the same for all S; largest: number of images of a mini-batch; the
    mini-batches differ by one image at most."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cells, count = min(model.grid for model in models), min(map(len, images.values()))
    for batch in np.array_split(np.arange(count), -(-count // largest)):
        found = []
        for model in models:
            seen = model.activations(images[model.img_size][batch[0] : batch[-1] + 1], cells, device)
            found.append({point: reduce(seen.pop(point).numpy()) for point in list(seen)})
        yield found
