"""Each step to a smaller patch is tested by its seeds, and the power of the test is stated."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import chi2, norm, ttest_rel
from scipy.stats import t as student

from analysis.records.patch_tests import detectable, patch_tests, power, sign_flip_p
from analysis.report.patch_test_text import patch_test_lines


def points(losses: dict[float, list[float]], seeds: dict[float, list[int]] | None = None) -> pd.DataFrame:
    rows = [
        (patch, seed, loss)
        for patch, its in losses.items()
        for seed, loss in zip((seeds or {}).get(patch, range(len(its))), its, strict=True)
    ]
    return pd.DataFrame(rows, columns=["patch", "seed", "y"])


def drawn(steps: dict[float, float], seeds: int = 4, spread: float = 0.01, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return points({patch: list(loss * np.exp(spread * rng.normal(size=seeds))) for patch, loss in steps.items()})


def test_the_paired_test_is_scipys_on_log_loss():
    its = drawn({8: 1.0, 4: 0.9})
    (step,) = patch_tests(its).to_dict("records")
    log = np.log(its.pivot(index="seed", columns="patch", values="y"))
    wanted = ttest_rel(log[4], log[8])
    assert step["p"] == pytest.approx(wanted.pvalue) == step["p_holm"]
    assert (step["low"], step["high"]) == pytest.approx(tuple(np.expm1(list(wanted.confidence_interval()))))
    assert (step["test"], step["verdict"]) == ("paired t test, 4 seeds", "better")


def test_sign_flips_are_counted_one_by_one():
    values = np.array([0.3, -0.1, 0.2, 0.15, 0.4])
    means = [abs(np.mean(values * signs)) for signs in itertools.product((-1, 1), repeat=5)]
    share = np.mean(np.array(means) >= abs(values.mean()) - 1e-12)
    assert sign_flip_p(pd.Series(values)) == pytest.approx(share)
    assert sign_flip_p(pd.Series([0.1, 0.2, 0.3])) == pytest.approx(2 / 2**3)  # the least of 3 seeds
    assert math.isnan(sign_flip_p(pd.Series(np.ones(14))))


@pytest.mark.parametrize(("df", "level"), [(1, 0.05), (2, 0.0125), (4, 0.05), (8, 0.01)])
def test_power_is_that_of_the_definition(df, level):
    """T = (Z + shift) / sqrt(V / df): the probability over Z, integrated over V."""
    critical = student.isf(level / 2, df)
    for shift in (0.0, 1.0, 1.2 * critical):

        def given(v, shift=shift):
            reach = critical * math.sqrt(v / df)
            return (norm.sf(reach - shift) + norm.cdf(-reach - shift)) * chi2.pdf(v, df)

        whole = quad(given, 0, 1, limit=200)[0] + quad(given, 1, np.inf, limit=200)[0]
        assert power(shift, df, level) == pytest.approx(whole, abs=1e-5)
    assert power(0.0, df, level) == pytest.approx(level)


def test_a_published_power_is_met():
    """Cohen 1988: a paired test of 34 pairs with an effect of 0.5 has a power of 0.81 at 5 % (G*Power: 0.8077775)."""
    assert power(0.5 * 34**0.5, 33, 0.05) == pytest.approx(0.8077775, abs=1e-5)


def test_what_is_said_to_be_found_in_80_of_100_cases_is():
    """3,000 draws at the true spread: the standard error is 1 % and known to the sizes of the test."""
    rng, seeds, tests = np.random.default_rng(1), 3, 2
    reach = student.isf(0.025, seeds - 1) * 0.01
    decrease = detectable(-reach, reach, seeds - 1, tests)
    off_SN = math.log1p(-decrease) + 0.01 * math.sqrt(seeds) * rng.normal(size=(3000, seeds))
    t_S = off_SN.mean(1) / (off_SN.std(1, ddof=1) / math.sqrt(seeds))
    found = np.mean(2 * student.sf(abs(t_S), seeds - 1) < 0.05 / tests)
    assert 0.77 < found < 0.83


def test_verdicts_heed_the_number_of_steps():
    """Alone, the last step would be decided; with three it is not, by Holm."""
    first = np.array([1.0, 1.01, 0.99])

    sharper = np.array([-0.010, -0.008, -0.006])
    last = points({2: list(first), 1: list(first * np.exp(sharper))})
    whole = drawn({8: 1.0, 4: 1.0}, seeds=3)
    whole = pd.concat([whole, last], ignore_index=True)
    assert patch_tests(last)["verdict"].tolist() == ["better"]
    assert patch_tests(whole)["verdict"].tolist()[-1] == "undecided"


def test_of_no_true_step_few_are_called_one():
    """Four steps without a difference, 150 sweeps: some step is called one in 5 of 100 at most (+ 2.5 errors)."""
    called = [
        patch_tests(drawn(dict.fromkeys((16, 8, 4, 2, 1), 1.0), seed=n))["verdict"].ne("undecided").any()
        for n in range(150)
    ]
    assert np.mean(called) <= 0.095


def test_other_seeds_are_welchs_and_single_ones_untested():
    its = points({4: [1.0, 1.1, 1.05], 2: [0.8, 0.82, 0.81], 1: [0.7]}, {2: [5, 6, 7]})
    table = patch_tests(its)
    assert table["test"].iloc[0] == "Welch's t test, 3 and 3 runs"
    assert math.isnan(table["p_exact"].iloc[0])
    single = patch_tests(points({4: [1.0], 2: [0.8]}))
    assert single["verdict"].tolist() == ["untested"]
    assert list(patch_test_lines(points({4: [1.0], 2: [0.8]}))) == []


def test_the_report_says_what_the_seeds_could_have_found():
    text = "\n".join(patch_test_lines(drawn({8: 1.0, 4: 0.9, 2: 0.899}, seeds=3)))
    assert "| 8 to 4 | " in text
    assert "| better |" in text
    assert "| undecided |" in text
    assert "3 seeds allow no p below 0.25" in text
