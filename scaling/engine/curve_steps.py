"""Test losses along a run, for curve.csv: after which optimiser steps, and on how many test images.

Steps are geometric, total / 128, / 64 ... / 2 for 8 points, the last of which is the evaluation at the end. A forward
pass costs about a third of a training step per image, so a share of 3 % of the training time is 0.09 images per image
seen. A run of 16,000 images has 180 images at each point: for losses with a standard deviation of 1 nat between images
the standard error is 0.07 nats. The images are the same at every patch size, so their noise is shared in comparisons.
"""

SHARE = 0.03  # of the training time [1]
PASSES = 3.0  # forward passes that a training step costs per image
FEWEST = 32  # images; the mean of fewer has a standard error of about 0.2 nats, and they are not evaluated


def steps_of(points: int, total_steps: int) -> list[int]:
    """Optimiser steps, ascending, after which test images are evaluated; the end of the run is not among them."""
    halvings = range(points - 1, 0, -1)
    return sorted({step for k in halvings if 1 <= (step := round(total_steps / 2**k)) < total_steps})


def images_at_each(points: int, images_seen: int, test_images: int) -> int:
    """Test images at each point; 0: too few are affordable, and none is evaluated."""
    affordable = int(SHARE * PASSES * images_seen / points) if points else 0
    count = min(affordable, test_images)
    return count if count >= FEWEST else 0
