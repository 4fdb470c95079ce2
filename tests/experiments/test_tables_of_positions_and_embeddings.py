"""Cells of the tables of docs/positions.md and docs/embeddings.md, on frames whose numbers are known by arithmetic."""

import itertools
import math

import pandas as pd
import pytest

from analysis.studies import transfer
from analysis.studies.exponents import slopes
from experiments.documentation import patch_embedding_tables, position_tables
from experiments.documentation.data import signed
from tests.analysis.test_claims_on_embeddings import embedded
from tests.analysis.test_claims_on_positions import moved

HALF = 4.302653 * 0.01 / math.sqrt(3)  # of the intervals of these frames


def test_a_difference_has_its_sign_and_its_interval_if_there_is_one():
    assert signed(0.12345, -0.1, 0.3) == "+0.123 [-0.100, +0.300]"
    assert signed(-0.5, math.nan, math.nan) == "-0.500"


def test_losses_at_other_grids_are_those_at_once_and_after_finetuning():
    """Trained there 0.6 at twice the side; 0.2 more at once, and 0.1 less than that after 100 steps."""
    shown = position_tables._losses_by_side(moved({"learned": {"bicubic": 0.2}})).set_index("rule")
    assert list(shown.columns) == ["positions", "0.5 x [nats]", "2 x [nats]", "3 x [nats]"]
    assert shown.loc["bicubic", "2 x [nats]"] == "0.800, 0.700"
    assert shown.loc[transfer.DIRECT, "2 x [nats]"] == "0.600"


def test_a_rule_that_a_side_does_not_have_is_a_dash():
    runs = moved({"rope": {"interpolate": 0.2, "ntk": 0.1}})
    compared = transfer.comparisons(runs[(runs["rule"] != "ntk") | (runs["side"] > 1)])
    at_once = compared[(compared["against"] == transfer.DIRECT) & (compared["steps"] == 0)]
    shown = position_tables._changes_by_side(at_once).set_index("rule")
    assert shown.loc["ntk", "0.5 x [nats]"] == "-"
    assert shown.loc["ntk", "2 x [nats]"] == f"+0.100 [{0.1 - HALF:+.3f}, {0.1 + HALF:+.3f}]"


def test_exponents_have_the_interval_of_their_mean_over_seeds():
    rows = [
        ("deit_nano", kind, patch, seed, 0.2 * patch ** (0.5 + more + 0.01 * (seed - 1)))
        for (kind, more), patch, seed in itertools.product([("sincos", 0), ("rope", 0.1)], (8, 4, 2), range(3))
    ]
    runs = pd.DataFrame(rows, columns=["backbone", "positions", "patch", "seed", "test_loss"])
    shown = position_tables._exponents(slopes(runs, "positions", "sincos")).set_index("positions")
    assert shown.loc["sincos", "alpha"] == f"0.500 [{0.5 - HALF:.3f}, {0.5 + HALF:.3f}]"
    assert shown.loc["sincos", "less that of sincos"] == "-"
    assert shown.loc["rope", "alpha"].startswith("0.600")


def test_embeddings_have_their_difference_at_every_patch_and_its_slope():
    shown = patch_embedding_tables._differences(embedded()).set_index(["embedding", "equal"])
    row = shown.loc[("hierarchical", "FLOPs")]
    assert row["16 px [nats]"] == f"-0.040 [{-0.04 - HALF:+.3f}, {-0.04 + HALF:+.3f}]"
    assert row["per doubling of the patch"].startswith("-0.010")
    losses = patch_embedding_tables._losses(embedded()).set_index(["embedding", "equal"])
    assert losses.loc[("conv", "images"), "16 px [nats]"] == "0.700 ± 0.200"


@pytest.mark.parametrize(("patch", "inputs", "largest"), [(1, 3, 3), (8, 192, 48)])
def test_ranks_stand_beside_the_largest_possible_one(patch, inputs, largest):
    runs = pd.DataFrame({"patch": patch, "filters": 48, "inputs": inputs, "effective_rank": [1.0, 2.0, 3.0]})
    assert patch_embedding_tables._ranks(runs).iloc[0, 0] == f"2.0 ± 1.0 of {largest}"
