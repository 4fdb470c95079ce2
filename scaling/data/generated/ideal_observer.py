"""The least cross-entropy on the embedded data set that the means of p x p pixels allow: a law that is known.

An object's class is decidable from these means where its cells have a side S >= p, and not at all where S < p
(palette_mosaic.py): the classes are then as likely as before, which costs log(classes). So
L*(p) = log(classes) P(S < p) = log(classes) (p / (2 image))^EXPONENT.
It holds for images with one object and for p that are powers of two and divide the image; for rectangles whose sides
p divides, with the shorter side as image. A model that reads more than means from a patch can be better: L* is what
patches are worth when each is one colour. numpy only.
"""

import math

from scaling.data.generated.palette_mosaic import PALETTES, shares_below
from scaling.errors import ConfigError


def ideal_loss(image: int, patch: int) -> float:
    """Cross-entropy of the ideal observer of means of patch x patch pixels [nats], image and patch in [px].
    Raises ConfigError where patch is not a power of two that divides image."""
    if patch < 1 or patch & (patch - 1) or image % patch:
        raise ConfigError(f"patch {patch} has no exact ideal loss at image {image}; use a power of two that divides it")
    return math.log(len(PALETTES)) * int(shares_below(image)[patch.bit_length() - 1]) / 65536
