"""Which patches of a training image are kept where some are left out (NaViT, arXiv 2307.06304, section 2.1).

How many, and which, are functions of the run's seed and the image's sample key, so a batch is the same for any number
of workers, devices and micro-batches. They are drawn once, before images are packed: plans of rows, positions and
costs follow from the patches that are kept. N images.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scaling.config.packing import SequencePacking
from scaling.config.token_drop import Numbers
from scaling.rng import SampleKey, uniform


def drop_rates(
    packing: SequencePacking, pixels_N: Sequence[int], keys: Sequence[SampleKey], seed: int, progress: float
) -> Numbers:
    """(N,) shares of the patches that are left out of images of so many pixels [1]. progress: share of the run's steps
    before this one."""
    place_N = np.array([packing.place_of(pixels) for pixels in pixels_N])
    share_N = uniform(keys, seed, "drop_rate")[:, 0]
    return np.broadcast_to(packing.token_drop.rates(share_N, place_N, np.array(progress)), share_N.shape)


def kept_counts(patches_N: Sequence[int], rate_N: Numbers, keys: Sequence[SampleKey], seed: int) -> list[int]:
    """How many of the patches of each image are kept: on average the share 1 - rate of them, exactly, but one at least.

    The paper does not state its rounding: ours is to either neighbour, the nearer the more likely."""
    uniform_N = uniform(keys, seed, "drop_rounding")[:, 0]
    kept_N = np.floor((1 - rate_N) * np.asarray(patches_N) + uniform_N).astype(np.int64)
    return np.clip(kept_N, 1, patches_N).tolist()  # the sum of a whole number and a number below 1 may be rounded up


def kept_patches(
    patches_N: Sequence[int], kept_N: Sequence[int], keys: Sequence[SampleKey], seed: int
) -> tuple[NDArray[np.int64], ...]:
    """So many of the patches of each image, each set of them equally likely. Ascending, as a scan reads them in
    order."""
    uniform_NL = uniform(keys, seed, "kept_patches", max(patches_N))  # L: the most patches of an image
    each = zip(uniform_NL, patches_N, kept_N, strict=True)
    return tuple(np.sort(np.argsort(of_image[:patches], kind="stable")[:kept]) for of_image, patches, kept in each)
