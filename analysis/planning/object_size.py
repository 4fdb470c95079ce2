"""Object size: how many patches a square object spans, wherever it is on the grid of patches.

A patch that an object covers by more than half is the object's by a vote of its pixels; a patch that lies inside it
has no pixel of anything else. At the worst position on the grid, centred on a border of two patches, an object of s
patches covers min(s / 2, 1) of its best patch along each axis. So a square object has a majority in some patch,
wherever it is, from s = sqrt(2) on, and a patch of its own from s = 2 on. This is arithmetic, not a limit of accuracy:
a token carries 3 p^2 numbers of its pixels, and heads combine tokens.
"""

import math

# Patches that the object's side must span, by task, and why.
NEEDED = {"classify": 1.0, "segment": math.sqrt(2), "detect": 2.0}
REASON = {
    "segment": "from 1.4 patches on it covers more than half of some patch wherever it lies",
    "detect": "from 2 patches on some patch lies inside it wherever it is",
    "classify": "1 patch is a convention: nothing measured decides it",
}
# Measured on nuclei (analysis/measured/nuclei.csv, one seed) at patches of 16, 8 and 4 px: 45, 85 and 99 % of the test
# boxes span 1 patch by their shorter side, 8, 45 and 85 % span 2. AP of small objects is 22.1, 32.0 and 33.7: it rises
# with the first share and hardly with the second. So the number that detection needs is uncertain within:
UNCERTAIN = (1.0, 2.0)


def spans(object_px: float, patch: int, image: int, original: int) -> float:
    """Patches that the side of an object spans [1]. object_px: its side in the original image [px]; patch: [px];
    image, original: sides of the image that the model sees and of the original [px]."""
    return object_px * image / original / patch
