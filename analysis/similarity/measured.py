"""Similarities that are shipped: analysis/measured/representations_shapes.csv, a row per pair of points, with three
seeds of flexible models and of models with one patch size each. docs/representations.md has the commands."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.similarity.similarities import Model, Place, Similarities, similarities

FILE = Path(__file__).parents[1] / "measured" / "representations_shapes.csv"


def measured_pairs() -> pd.DataFrame:
    """Columns backbone, models (flexible, fixed), coarsest [px], tokens, and of both points (_a, _b) seed, patch [px]
    and layer, and cka. Patches were averaged over the grid of the coarsest patch size. All pairs of points of one seed
    for deit_nano and 16 px; otherwise those at the same layer, of one seed or of one patch size."""
    return pd.read_csv(FILE, dtype={"layer_a": str, "layer_b": str})


def of_one_seed(pairs: pd.DataFrame, seed: int) -> list[Similarities]:
    """Similarities of each kind of tokens of the pairs of one seed. pairs: of one backbone, one kind of models and one
    coarsest patch size."""
    return list(_of_one_seed(pairs[(pairs["seed_a"] == seed) & (pairs["seed_b"] == seed)], seed))


def _of_one_seed(pairs: pd.DataFrame, seed: int) -> Iterator[Similarities]:
    for tokens, its in pairs.groupby("tokens", sort=False):
        points = list(dict.fromkeys(zip(its["patch_a"], its["layer_a"], strict=True)))
        at = {point: n for n, point in enumerate(points)}
        a = [at[point] for point in zip(its["patch_a"], its["layer_a"], strict=True)]
        b = [at[point] for point in zip(its["patch_b"], its["layer_b"], strict=True)]
        cka_PP = np.full((len(points), len(points)), np.nan)
        cka_PP[a, b] = cka_PP[b, a] = its["cka"]
        places = [Place(Model(f"seed {seed}", f"p{patch}", int(patch)), layer) for patch, layer in points]
        yield similarities(str(tokens), places, cka_PP)
