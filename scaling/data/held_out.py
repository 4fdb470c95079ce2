"""Which training images val_split holds out: a function of the name of an image alone.

The name is hashed (BLAKE2b, 8 bytes), and the image is held out if the hash, as a number in [0, 1), is below val_split.
So the same images are held out for every seed, patch size and machine; adding or removing images does not move others,
and the images of a smaller share are among those of a larger one. The share is approximate: of 100 images, a tenth is
10 +- 3. Images of the embedded set, and of Hugging Face data sets without file names, are named by their index.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from scaling.errors import ConfigError

STREAM = b"val_split"  # distinguishes it from other hashes of names


def is_held_out(name: str, share: float) -> bool:
    """Whether the image of this name is held out. share: of the training images, in [0, 1)."""
    found = hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=8, person=STREAM).digest()
    return int.from_bytes(found, "big") < share * 2**64


def parted(names: Sequence[str], indices: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions in indices of the images that are trained on, and of those held out. names: of all images. Raises
    ConfigError where one of the two is empty."""
    if not share:
        return np.arange(len(indices)), np.arange(0)
    out = np.array([is_held_out(names[i], share) for i in indices.tolist()], bool)
    if out.all() or not out.any():
        which = "all" if len(out) and out.all() else "none"
        other = "smaller" if which == "all" else "larger"
        raise ConfigError(
            f"val_split {share:g} holds out {which} of the {len(out)} training images; use a {other} share"
        )
    return np.flatnonzero(~out), np.flatnonzero(out)
