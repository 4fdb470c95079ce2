"""Similarities of the layers of several models: matrices of one kind of tokens, as tables and files.

P points: the layers of all models, model by model.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.similarity.cka import cka, distance, hsic
from analysis.similarity.mds import Map, classical_mds
from analysis.similarity.tsne import tsne


class Model(NamedTuple):
    """A model at a patch size."""

    source: str  # run ID, or timm:NAME
    label: str  # short, different for every model
    patch: int  # [px]


class Place(NamedTuple):
    """A layer of a model."""

    model: Model
    layer: str


class Similarities(NamedTuple):
    """Of all pairs of points that one kind of tokens has."""

    tokens: str  # patches, or class token
    places: list[Place]
    cka_PP: np.ndarray
    distance_PP: np.ndarray  # arccos of CKA [rad]
    plane: Map  # of the distances, by classical MDS
    tsne_P2: np.ndarray  # places of the distances by t-SNE, without a unit

    @property
    def models(self) -> list[Model]:
        """In order."""
        return list(dict.fromkeys(place.model for place in self.places))

    def layers(self, model: Model) -> list[str]:
        """Of a model, in order."""
        return [place.layer for place in self.places if place.model == model]

    def same_layer(self) -> pd.DataFrame:
        """CKA between pairs of models at the same layer: a row per layer, a column per pair of labels. Models of other
        layers than the first are left out."""
        first, *_ = self.models
        alike = [model for model in self.models if self.layers(model) == self.layers(first)]
        at = {place: n for n, place in enumerate(self.places)}
        columns = {
            f"{a.label} and {b.label}": [
                self.cka_PP[at[Place(a, layer)], at[Place(b, layer)]] for layer in self.layers(first)
            ]
            for a, b in combinations(alike, 2)
        }
        return pd.DataFrame(columns, index=pd.Index(self.layers(first), name="layer"))


def labels(words: Sequence[Sequence[str]], always: int) -> list[str]:
    """A short label per model from the words that describe it: the one at index `always`, and of the others, in order,
    those that differ, until all labels do."""
    columns = list(zip(*words, strict=True))
    kept = {always}
    for n, column in enumerate(columns):
        if len(set(zip(*(columns[k] for k in kept), strict=True))) < len(words) and len(set(column)) > 1:
            kept.add(n)
    return [" ".join(filter(None, (row[n] for n in sorted(kept)))) for row in words]


def compared(
    models: Sequence[Model], batches: Iterable[Sequence[Mapping[tuple[str, str], np.ndarray]]]
) -> list[Similarities]:
    """Similarities of each kind of tokens. batches: per mini-batch and model the Gram matrices (n, n) by kind of tokens
    and layer."""
    hsic_PP: dict[str, np.ndarray] = {}
    places: dict[str, list[Place]] = {}
    for batch in batches:
        of_tokens: dict[str, list[tuple[Place, np.ndarray]]] = {}
        for model, grams in zip(models, batch, strict=True):
            for (tokens, layer), gram_nn in grams.items():
                of_tokens.setdefault(tokens, []).append((Place(model, layer), gram_nn))
        for tokens, points in of_tokens.items():
            places[tokens] = [place for place, _ in points]
            hsic_PP[tokens] = hsic_PP.get(tokens, 0) + hsic(np.stack([gram_nn for _, gram_nn in points]))
    return [similarities(tokens, places[tokens], cka(hsic_PP[tokens])) for tokens in places]


def similarities(tokens: str, places: Sequence[Place], cka_PP: np.ndarray) -> Similarities:
    """From CKA, without the points that have none because they are the same for all images."""
    kept = ~np.isnan(np.diag(cka_PP))
    cka_PP = cka_PP[np.ix_(kept, kept)]
    distance_PP = distance(cka_PP)
    np.fill_diagonal(distance_PP, 0)  # of 1 up to rounding
    left = [place for place, keep in zip(places, kept, strict=True) if keep]
    return Similarities(tokens, left, cka_PP, distance_PP, classical_mds(distance_PP), tsne(distance_PP))


def files_of(found: Sequence[Similarities]) -> dict[str, bytes]:
    """representations.npz, representations.csv with a row per pair of points, and map.csv with a row per point."""
    return {
        "representations.npz": _npz(found),
        "representations.csv": _csv(pd.concat([_pairs(one) for one in found])),
        "map.csv": _csv(pd.concat([_map(one) for one in found])),
    }


def _npz(found: Sequence[Similarities]) -> bytes:
    arrays: dict[str, np.ndarray] = {}
    for one in found:
        key = one.tokens.replace(" ", "_")
        arrays |= {f"{key}_cka": one.cka_PP, f"{key}_distance": one.distance_PP}
        arrays |= {f"{key}_map": one.plane.places_P2, f"{key}_tsne": one.tsne_P2}
        arrays |= {f"{key}_{name}": column.to_numpy(str) for name, column in _points(one).drop(columns="patch").items()}
        arrays[f"{key}_patch"] = _points(one)["patch"].to_numpy()
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # names are not savez's own
    return file.getvalue()


def _points(one: Similarities) -> pd.DataFrame:
    rows = [(place.model.source, place.model.label, place.model.patch, place.layer) for place in one.places]
    return pd.DataFrame(rows, columns=["model", "label", "patch", "layer"])


def _pairs(one: Similarities) -> pd.DataFrame:
    points = _points(one)
    a, b = np.triu_indices(len(points))
    both = [points.iloc[n].reset_index(drop=True).add_suffix(end) for n, end in ((a, "_a"), (b, "_b"))]
    values = pd.DataFrame({"cka": one.cka_PP[a, b], "distance": one.distance_PP[a, b]})
    return pd.concat([pd.Series(one.tokens, values.index, name="tokens"), *both, values], axis=1)


def _map(one: Similarities) -> pd.DataFrame:
    both_P4 = np.hstack([one.plane.places_P2, one.tsne_P2])
    places = pd.DataFrame(both_P4, columns=["x", "y", "tsne_x", "tsne_y"])
    return pd.concat([pd.Series(one.tokens, places.index, name="tokens"), _points(one), places], axis=1)


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, float_format="%.6g").encode()
