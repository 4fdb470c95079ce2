"""Random numbers by counting: each is a function of its own key, so none depends on how many were drawn before it.

Source: the output function of SplitMix64 (Steele, Lea, Flood 2014). numpy only.
"""

import numpy as np
from numpy.typing import NDArray

Key = NDArray[np.uint64]
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's step


def finalise(z: Key) -> Key:
    """One 64-bit number to another, one to one, every bit of one moving half of the other's."""
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
