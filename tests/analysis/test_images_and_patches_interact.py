"""The interaction of training images and patch size, of laws whose coefficient is known."""

import math

import pandas as pd
import pytest

from analysis.claims.images_by_patch import interaction

REACH = 4.302653 / math.sqrt(3)  # of a 95 % interval of three seeds, in standard deviations


def runs(coefficient):
    """Log losses with a coefficient by seed of log n log p."""
    rows = []
    for seed, d in enumerate(coefficient):
        for n in (1000, 5000, 50000):
            for p in (8, 4, 2):
                log_loss = 2 + 0.1 * seed - 0.3 * math.log(n) + 0.2 * math.log(p) + d * math.log(n) * math.log(p)
                rows.append(("deit_nano", p, n, seed, math.exp(log_loss)))
    return pd.DataFrame(rows, columns=["backbone", "patch", "train_images", "seed", "test_loss"])


def test_the_coefficient_of_each_seed_is_found():
    (found,) = interaction(runs([0.01, 0.02, 0.03]))
    assert found.what == "DeiT-nano"
    assert found.value == pytest.approx(0.02)
    assert (found.low, found.high) == pytest.approx((0.02 - 0.01 * REACH, 0.02 + 0.01 * REACH))
