"""Classical multidimensional scaling: points on a plane whose distances are close to given ones.

Source: Torgerson, Psychometrika 17 (1952); Borg and Groenen, Modern Multidimensional Scaling (2005), section 12.1.
Deterministic: no random start, no parameter.
"""

from typing import NamedTuple

import numpy as np


class Map(NamedTuple):
    """places_P2: coordinates, in the unit of the distances, centred; the first axis has the larger variance. explained:
    share of the positive eigenvalues that the two axes make: 1 where the distances are those of points of a plane."""

    places_P2: np.ndarray
    explained: float


def classical_mds(distance_PP: np.ndarray) -> Map:
    """The points of P x P distances, P >= 1, which are symmetric with a diagonal of 0."""
    squared_PP = np.square(distance_PP)
    inner_PP = -0.5 * (squared_PP - squared_PP.mean(0) - squared_PP.mean(1)[:, None] + squared_PP.mean())
    value_P, vector_PP = np.linalg.eigh((inner_PP + inner_PP.T) / 2)
    value_P, vector_PP = np.clip(value_P[::-1], 0, None), vector_PP[:, ::-1]
    places_PP = vector_PP * np.sqrt(value_P)
    places_P2 = np.pad(places_PP, ((0, 0), (0, 1)))[:, :2]  # a single point has one axis
    # The sign of an eigenvector is arbitrary: the point farthest along an axis is on its positive side.
    farthest_2 = np.argmax(np.abs(places_P2), axis=0)
    places_P2 = places_P2 * np.where(places_P2[farthest_2, [0, 1]] < 0, -1, 1)
    total = value_P.sum()
    return Map(places_P2, float(value_P[:2].sum() / total) if total > 0 else 1.0)
