"""Linear CKA between representations, unbiased and summed over mini-batches, and the distance that follows from it.

Sources: CKA, arXiv 1905.00414; the unbiased HSIC of Song et al. (JMLR 13, 2012), summed over mini-batches as in arXiv
2010.15327; the inner product of U-centred matrices that equals it, arXiv 1310.2926, proposition 1; arccos(CKA) as a
distance, arXiv 2110.14739. FlexiViT (arXiv 2212.08013) compares patch sizes by these.
P representations, n images of a mini-batch, d features.
"""

import numpy as np

FEWEST = 4  # images of a mini-batch, below which the unbiased HSIC does not exist
CONSTANT = 1e-6  # deviation from the mean, as a share of the features: below it all images have the same features


def gram(x_nd: np.ndarray) -> np.ndarray:
    """Inner products (n, n) of the centred features of n images, float64: zeros where all images have the same features
    up to float32."""
    x_nd = np.asarray(x_nd, np.float64)
    centred_nd = x_nd - x_nd.mean(0)
    if np.square(centred_nd).sum() <= CONSTANT**2 * np.square(x_nd).sum():
        return np.zeros((len(x_nd), len(x_nd)))
    return centred_nd @ centred_nd.T


def hsic(grams_Pnn: np.ndarray) -> np.ndarray:
    """Unbiased HSIC (P, P) between all pairs of representations of one mini-batch, from their Gram matrices (P, n, n).
    Raises ValueError for fewer than FEWEST images."""
    p, n = len(grams_Pnn), grams_Pnn.shape[-1]
    if n < FEWEST:
        raise ValueError(f"{n} images; the unbiased HSIC needs {FEWEST} or more")
    k_Pnn = grams_Pnn * (1 - np.eye(n))
    of_row_Pn = k_Pnn.sum(2) / (n - 2)
    of_all_P = k_Pnn.sum((1, 2)) / ((n - 1) * (n - 2))
    u_Pnn = k_Pnn - of_row_Pn[:, :, None] - of_row_Pn[:, None, :] + of_all_P[:, None, None]
    u_Pnn *= 1 - np.eye(n)
    flat_PN = u_Pnn.reshape(p, -1)
    return flat_PN @ flat_PN.T / (n * (n - 3))


def cka(hsic_PP: np.ndarray) -> np.ndarray:
    """CKA (P, P) from HSIC summed over mini-batches: HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)). 1: equal up to a
    rotation and a scale; 0: independent; an estimate may be slightly below 0. NaN for a representation that is the same
    for all images."""
    norm_P = np.sqrt(np.where(np.diag(hsic_PP) > 0, np.diag(hsic_PP), np.nan))
    return hsic_PP / np.outer(norm_P, norm_P)


def distance(cka_PP: np.ndarray) -> np.ndarray:
    """arccos of CKA [rad]: 0 to pi/2 for CKA from 1 to 0."""
    return np.arccos(np.clip(cka_PP, -1, 1))
