"""Estimates of claims on patch embeddings (study E7) and on their initial weights (E7b), from embeddings_shapes.csv,
embeddings_cifar10.csv and embed_init_shapes.csv in analysis/measured: a row per run, three seeds. Losses [nats] less
those of the plain convolution of the same backbone and patch size, paired over seeds, each backbone and patch size by
itself."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from analysis.claims.measured import NAMES, measured
from analysis.claims.paired import mean_of, paired
from analysis.claims.verdict import Estimate
from analysis.studies.embeddings import EQUAL, PLAIN

IMAGES, FLOPS = EQUAL
XAVIER = f"{PLAIN}, embed_init xavier"


def over_plain(table: pd.DataFrame, embedding: str, equal: str) -> list[Estimate]:
    """Loss less that of the convolution at equal images or FLOPs."""
    return [
        paired(f"{NAMES[backbone]}, {patch} px: {embedding}", plain, ours)
        for backbone, patch, plain, ours in _pairs(table, embedding, equal)
    ]


def slope_over_patch(table: pd.DataFrame, embedding: str, equal: str) -> list[Estimate]:
    """Slope over log2 p of the loss less that of the convolution, by a line through the patch sizes of each seed
    [nats per doubling]."""
    return [mean_of(what, slopes) for what, slopes, _ in _slopes(table, embedding, equal)]


def rise_with_patch(table: pd.DataFrame, embedding: str, equal: str) -> list[Estimate]:
    """The same from the smallest to the largest patch size [nats]: the slope times the number of doublings."""
    return [mean_of(what, slopes * doublings) for what, slopes, doublings in _slopes(table, embedding, equal)]


def _slopes(table: pd.DataFrame, embedding: str, equal: str) -> Iterator[tuple[str, pd.Series, float]]:
    """Of each backbone its name and patch sizes, the slope by seed, of those that have all patch sizes, and the number
    of doublings."""
    by_patch: dict[str, dict[int, pd.Series]] = {}
    for backbone, patch, plain, ours in _pairs(table, embedding, equal):
        by_patch.setdefault(backbone, {})[patch] = ours - plain
    for backbone, its in by_patch.items():
        off = pd.DataFrame(its).dropna()
        x = np.log2(np.array(off.columns, float))
        slopes = pd.Series([float(np.polyfit(x, row, 1)[0]) for row in off.to_numpy()], off.index)
        yield f"{NAMES[backbone]}, {embedding}, from {min(its)} to {max(its)} px", slopes, float(x.max() - x.min())


def _pairs(table: pd.DataFrame, embedding: str, equal: str) -> Iterator[tuple[str, int, pd.Series, pd.Series]]:
    """Backbone, patch [px], and the losses by seed of the convolution and of an embedding. table: of
    analysis/studies/embeddings.py, embedding_table. An embedding that costs as much as the convolution has no runs of
    its own at equal FLOPs: those on equal images are."""
    for (backbone, patch), its in table.groupby(["backbone", "patch"], sort=False):
        plain, ours = its[its["embedding"] == PLAIN], its[its["embedding"] == embedding]
        chosen = ours[ours["equal"] == equal] if (ours["equal"] == equal).any() else ours
        losses = (one.set_index("seed")["test_loss"] for one in (plain, chosen))
        yield str(backbone), int(str(patch)), next(losses), next(losses)


def _at_equal_flops(
    estimator: Callable[[pd.DataFrame, str, str], list[Estimate]], data: str, *embeddings: str
) -> list[Estimate]:
    table = measured(f"embeddings_{data}")
    return [one for embedding in embeddings for one in estimator(table, embedding, FLOPS)]


BOTH = ("hierarchical", "overlapping")


def _of(data: str) -> dict[str, Callable[[], list[Estimate]]]:
    """data: the end of the file's name."""
    return {
        "hierarchical_over_conv": lambda: _at_equal_flops(over_plain, data, "hierarchical"),
        "overlapping_over_conv": lambda: _at_equal_flops(over_plain, data, "overlapping"),
        "two_embeddings_over_conv": lambda: _at_equal_flops(over_plain, data, *BOTH),
        "two_embeddings_by_patch": lambda: _at_equal_flops(rise_with_patch, data, *BOTH),
    }


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    **_of("shapes"),
    "xavier_over_recipe": lambda: over_plain(measured("embed_init_shapes"), XAVIER, IMAGES),
}
ON_CIFAR10 = _of("cifar10")
