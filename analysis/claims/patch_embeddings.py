"""Estimates of claims on patch embeddings (study E7) and on their initial weights (E7b), from analysis/measured/
embeddings_shapes.csv and embed_init_shapes.csv: a row per run, three seeds. Losses [nats] less those of the plain
convolution of the same backbone and patch size, paired over seeds, each backbone and patch size by itself."""

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


def rise_with_patch(table: pd.DataFrame, embedding: str, equal: str) -> list[Estimate]:
    """How far the loss less that of the convolution rises from the smallest to the largest patch size, by a line over
    log2 p through the patch sizes of a seed: its slope times the number of doublings."""
    by_patch: dict[str, dict[int, pd.Series]] = {}
    for backbone, patch, plain, ours in _pairs(table, embedding, equal):
        by_patch.setdefault(backbone, {})[patch] = ours - plain
    estimates = []
    for backbone, its in by_patch.items():
        off = pd.DataFrame(its).dropna()  # a row per seed
        x = np.log2(np.array(off.columns, float))
        slopes = [float(np.polyfit(x, row, 1)[0]) for row in off.to_numpy()]
        ends = f"from {min(its)} to {max(its)} px"
        rise = pd.Series(slopes, off.index) * (x.max() - x.min())
        estimates.append(mean_of(f"{NAMES[backbone]}, {embedding}, {ends}", rise))
    return estimates


def _pairs(table: pd.DataFrame, embedding: str, equal: str) -> Iterator[tuple[str, int, pd.Series, pd.Series]]:
    """Backbone, patch [px], and the losses by seed of the convolution and of an embedding. table: of
    analysis/studies/embeddings.py, embedding_table. An embedding that costs as much as the convolution has no runs of
    its own at equal FLOPs: those on equal images are."""
    for (backbone, patch), its in table.groupby(["backbone", "patch"], sort=False):
        plain, ours = its[its["embedding"] == PLAIN], its[its["embedding"] == embedding]
        chosen = ours[ours["equal"] == equal] if (ours["equal"] == equal).any() else ours
        losses = (one.set_index("seed")["test_loss"] for one in (plain, chosen))
        yield str(backbone), int(str(patch)), next(losses), next(losses)


def _at_equal_flops(estimator: Callable[[pd.DataFrame, str, str], list[Estimate]], *embeddings: str) -> list[Estimate]:
    table = measured("embeddings_shapes")
    return [one for embedding in embeddings for one in estimator(table, embedding, FLOPS)]


BOTH = ("hierarchical", "overlapping")
ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "hierarchical_over_conv": lambda: _at_equal_flops(over_plain, "hierarchical"),
    "overlapping_over_conv": lambda: _at_equal_flops(over_plain, "overlapping"),
    "two_embeddings_over_conv": lambda: _at_equal_flops(over_plain, *BOTH),
    "two_embeddings_by_patch": lambda: _at_equal_flops(rise_with_patch, *BOTH),
}
INITS: dict[str, Callable[[], list[Estimate]]] = {
    "xavier_over_recipe": lambda: over_plain(measured("embed_init_shapes"), XAVIER, IMAGES),
}
