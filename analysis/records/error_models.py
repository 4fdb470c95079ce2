"""Error models: the standard error of a number that was rounded, counted on n images, or read off a figure.

They are the errors of the number, not of the run: another seed adds the spread between runs, which a single published
number does not show. Independent errors add in squares (math.hypot). The result is a `standard_error` column of a CSV
file, or relative to y the argument `sigma` of analysis/fitting/laws.py.
"""

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.fitting.minimizer import Array

TABLE_DIGIT = 0.1  # last digit of the paper's Tables 1 to 4 [%]
IMAGENET_TEST = 50_000  # images
READING = (
    0.01  # of Figure 1, relative to the height of a loss above its panel's floor: the largest in published/README.md
)


def rounding_error(digit: float) -> float:
    """The standard error of a value rounded to a multiple of `digit`, in its unit: the error is uniform within half a
    digit, and its standard deviation digit / sqrt(12).  Raises ValueError unless digit > 0."""
    if not (digit > 0 and math.isfinite(digit)):
        raise ValueError(f"digit {digit:g} must be finite and above 0, as 0.1 for values like 78.1")
    return digit / math.sqrt(12)


def binomial_error(percent: ArrayLike, images: int) -> Array:
    """The standard error of accuracies or error rates measured on so many test images [percentage points], for another
    sample of images. Models tested on the same images share a part of it, so their differences are more certain.

    percent: between 0 and 100.  images: 1 or more. At 0 and 100 % one image counts as half right (Agresti and Coull
    1998 add two), since an estimate of 0 would weigh infinitely.  Raises ValueError for other values."""
    share = np.asarray(percent, float) / 100
    if not np.all((share >= 0) & (share <= 1)):
        raise ValueError(
            f"percent holds {100 * float(share[~((share >= 0) & (share <= 1))].flat[0]):g}; 0 to 100 is needed"
        )
    if images < 1:
        raise ValueError(f"{images} images; 1 or more are needed")
    share = np.clip(share, 0.5 / images, 1 - 0.5 / images)
    return np.asarray(100 * np.sqrt(share * (1 - share) / images))


def table_error(percent: pd.Series, metric: str) -> pd.Series:
    """The standard error of published accuracies [percentage points]: rounding to TABLE_DIGIT, and for top-1 also the
    sample of test images. mIoU and AP are no shares of images."""
    rounded = rounding_error(TABLE_DIGIT)
    sampled = binomial_error(percent, IMAGENET_TEST) if metric == "top-1" else np.zeros(len(percent))
    return pd.Series(np.hypot(rounded, sampled), percent.index)


def reading_error(loss: pd.Series, floor: pd.Series) -> pd.Series:
    """The standard error of losses read off Figure 1 [nats]. floor: the L_inf of their axis [nats]."""
    return READING * (loss - floor)
