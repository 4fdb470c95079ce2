"""Whether runs differ by more than seeds alone is tested: paired by seed, by Welch, or by a spread from elsewhere."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind, ttest_rel

from analysis.records.patch_tests import patch_tests
from analysis.records.seed_noise import difference, seed_spread
from analysis.report.patch_test_text import smallest_patch


def runs(values: dict[float, list[float]], seeds: dict[float, list[int]] | None = None) -> pd.DataFrame:
    """Losses by patch size."""
    rows = [
        ("g", patch, seed, loss)
        for patch, losses in values.items()
        for seed, loss in zip((seeds or {}).get(patch, range(len(losses))), losses, strict=True)
    ]
    return pd.DataFrame(rows, columns=["group", "patch", "seed", "y"])


def test_the_same_seeds_are_paired_as_scipy_pairs_them():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=4), rng.normal(size=4)
    found = difference(pd.Series(a), pd.Series(b[::-1], index=[3, 2, 1, 0]))
    wanted = ttest_rel(b, a)
    assert found.p == pytest.approx(wanted.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval()))
    assert found.test == "paired t test, 4 seeds"


def test_other_seeds_are_welchs_test():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=4), 3 * rng.normal(size=3)
    found = difference(pd.Series(a), pd.Series(b, index=[7, 8, 9]))
    wanted = ttest_ind(b, a, equal_var=False)
    assert found.p == pytest.approx(wanted.pvalue)
    assert (found.low, found.high, found.df) == pytest.approx((*wanted.confidence_interval(), wanted.df))


def test_a_single_run_is_held_against_the_variance_of_the_others():
    found = difference(pd.Series([1.0, 1.2, 1.1]), pd.Series([0.8]))
    assert found.p == pytest.approx(ttest_ind([0.8], [1.0, 1.2, 1.1]).pvalue)
    assert found.df == 2


def test_single_runs_are_not_tested():
    found = difference(pd.Series([1.0]), pd.Series([0.9]))
    assert found.test == ""
    assert math.isnan(found.p)
    said = smallest_patch(runs({2: [1.0], 1: [0.9]}))
    assert said == "1 vs 2 px untested, -10 (one seed; add --seeds 0,1,2)"


@pytest.mark.parametrize("case", ["paired", "seeds that go together", "welch", "one run"])
def test_a_difference_that_is_none_is_called_one_in_5_of_100_cases(case):
    """600 draws of no difference, give or take two standard errors of 0.9; the old rule: 22 to 48."""
    rng, alarms = np.random.default_rng(3), 0
    index = [5, 6, 7, 8] if case == "welch" else [0, 1, 2]
    for _ in range(600):
        first, second = rng.normal(size=3), rng.normal(size=len(index)) * (3 if case == "welch" else 1)
        if case == "seeds that go together":
            both = rng.normal(size=3)
            first, second = first + 2 * both, second + 2 * both
        a, b = pd.Series(first), pd.Series(second, index=index)
        found = difference(a, b.iloc[:1] if case == "one run" else b)
        alarms += found.p < 0.05
    assert alarms / 600 <= 0.065


def test_every_step_is_tested_and_their_number_is_heeded():
    rng = np.random.default_rng(0)
    frame = runs(
        {patch: list(level + 0.01 * rng.normal(size=4)) for patch, level in {8: 1.0, 4: 0.9, 2: 0.88, 1: 0.88}.items()}
    )
    table = patch_tests(frame)
    assert table[["coarse", "fine"]].to_numpy().tolist() == [[8, 4], [4, 2], [2, 1]]
    assert table["verdict"].iloc[0] == "better"
    assert (table["p_holm"] >= table["p"]).all()
    smallest = table.sort_values("p").iloc[0]
    assert smallest["p_holm"] == pytest.approx(3 * smallest["p"])
    assert table.sort_values("p")["p_holm"].is_monotonic_increasing
    assert seed_spread(frame, "y")["df"].tolist() == [12]


@pytest.mark.parametrize("other", [[0.1] * 3, [0.3] * 3, [0.3] * 2, [0.3]])
def test_seeds_that_do_not_differ_are_no_test(other):
    """As R says: data are essentially constant. What rounding makes of a variance is none (scipy #14418)."""
    first = pd.Series([0.1 + 0.2 - 0.2, 0.1, 0.1])
    found = difference(
        first, pd.Series(other, index=range(len(other)) if len(other) == 3 else range(7, 7 + len(other)))
    )
    assert found.test == ""
    assert math.isnan(found.p)
    alike = smallest_patch(runs({2: [0.1] * 3, 1: [0.3] * 3}))
    assert alike == "1 vs 2 px untested, +200 (seeds of one patch size do not differ)"
