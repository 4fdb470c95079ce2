"""Tokens and FLOPs, and information, each explain their part of a lower loss; the parts make the whole."""

import numpy as np
import pandas as pd

from analysis.studies.explained import equal_flops, explained

COLUMNS = ["backbone", "image", "patch", "extend", "seed", "tokens", "parameters", "flops_per_image", "test_loss"]


def runs(losses: dict[tuple[int, int], list[float]], seeds: int = 3, backbone: str = "deit_nano") -> pd.DataFrame:
    """losses by (patch, extend), multiplied by seeds that go together."""
    rows = [
        (backbone, 16, p, e, s, (16 // p) ** 2, 1e5, 1e6 * (16 / p) ** 2 * (1.02 if e else 1), loss[0] * (1 + 0.1 * s))
        for (p, e), loss in losses.items()
        for s in range(seeds)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def noisy(table: pd.DataFrame) -> pd.DataFrame:
    noise = np.random.default_rng(0).normal(size=len(table))
    return table.assign(test_loss=table["test_loss"] * np.exp(0.01 * noise))


def test_the_parts_multiply_to_the_whole():
    table = runs({(8, 0): [1.0], (4, 0): [0.5], (4, 8): [0.8]}, seeds=1)
    (row,) = explained(table).to_dict("records")
    assert row == {
        "tokens": "deit_nano from 4 to 16",
        "FLOPs": "x 1.02",
        "tokens, FLOPs [%]": "-20",
        "information [%]": "-38",
    }


def test_seeds_that_go_together_are_paired():
    """The seeds differ by 20 %, the parts only by 1 %: the intervals are narrow."""
    table = noisy(runs({(8, 0): [1.0], (4, 0): [0.5], (4, 8): [0.8]}))
    (row,) = explained(table).to_dict("records")
    for part, true in (("tokens, FLOPs [%]", -20), ("information [%]", -37.5)):
        mean, ends = row[part].split(" [")
        low, high = map(float, ends.rstrip("]").split(", "))
        assert low <= float(mean) <= high
        assert abs(float(mean) - true) < 3
        assert high - low < 12


def test_what_is_missing_has_no_row():
    assert explained(runs({(8, 0): [1.0], (4, 8): [0.8]})).empty
    assert explained(runs({(8, 0): [1.0], (4, 0): [0.8]})).empty
    assert equal_flops(runs({(8, 0): [1.0]})).empty


def test_equal_flops_compares_a_finer_patch_with_a_larger_model():
    small = runs({(8, 0): [1.2], (4, 0): [0.9]}, seeds=1, backbone="deit_pico")
    large = runs({(16, 0): [1.5], (8, 0): [1.0]}, seeds=1, backbone="deit_micro")
    large = large.assign(parameters=4e5, flops_per_image=4.4 * large["flops_per_image"])
    other = large.assign(backbone="adventurer_micro", test_loss=0.1)
    (row, coarser) = equal_flops(pd.concat([small, large, other], ignore_index=True)).to_dict("records")
    assert coarser["finer, not larger"] == "deit_pico at p4, not deit_micro at p8"
    assert (coarser["FLOPs"], coarser["change [%]"]) == ("x 0.91", "-10")
    assert row["finer, not larger"] == "deit_pico at p8, not deit_micro at p16"
