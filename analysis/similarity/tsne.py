"""t-SNE of points by their distances: points that are near each other stay near, distances on the plane mean nothing.

Source: van der Maaten and Hinton, JMLR 9 (2008); FlexiViT (arXiv 2212.08013) draws its layers in this way. By
scikit-learn, which is imported here only. P points.
"""

import numpy as np

PERPLEXITY = 30.0  # the paper's range is 5 to 50; of few points a third, so that near and far ones differ


def perplexity(points: int) -> float:
    """The number of neighbours that P >= 2 points are given in effect."""
    return max(1.0, min(PERPLEXITY, (points - 1) / 3))


def tsne(distance_PP: np.ndarray) -> np.ndarray:
    """Places (P, 2), without a unit, of P x P distances, which are symmetric with a diagonal of 0. A fixed seed and the
    exact gradient: the same on one machine every time, whereas the last bits of another one may turn the map. A single
    point is at 0."""
    if len(distance_PP) == 1:
        return np.zeros((1, 2))
    from sklearn.manifold import TSNE

    found = TSNE(
        perplexity=perplexity(len(distance_PP)), metric="precomputed", init="random", random_state=0, method="exact"
    )
    return np.asarray(found.fit_transform(distance_PP.copy()), np.float64)  # it squares what it is given, in place
