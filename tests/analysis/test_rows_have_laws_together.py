"""Rows of a table fitted at once, exponents drawn from one normal distribution: found again, and what a row gains."""

import numpy as np
import pandas as pd
import pytest

from analysis.fitting.hierarchical import fit_rows, gain
from analysis.fitting.laws import fit
from analysis.records.groups import Group
from analysis.report.hierarchical_text import hierarchical_sentences

PATCH = np.array([16.0, 8, 4, 2, 1])


def rows(spread: float, many: int = 10, noise: float = 0.006, seed: int = 0):
    rng = np.random.default_rng(seed)
    exponents = rng.normal(1.2, spread, many)
    floors = 17 + rng.uniform(-2, 2, many)
    return exponents, [
        (PATCH, (floor + 0.25 * PATCH**alpha) * np.exp(noise * rng.normal(size=5)))
        for alpha, floor in zip(exponents, floors, strict=True)
    ]


def test_the_distribution_of_exponents_is_found_again():
    together = fit_rows(rows(0.0)[1])
    assert together.mu == pytest.approx(1.2, abs=0.1)
    assert together.tau < 0.15
    assert together.sigma == pytest.approx(0.006, rel=0.4)
    assert fit_rows(rows(0.4, noise=0.002)[1]).tau == pytest.approx(0.4, abs=0.15)


def test_rows_together_have_narrower_intervals_that_hold_their_exponents():
    exponents, its = rows(0.0, noise=0.015)
    together = fit_rows(its)
    held = [law.interval[0] <= alpha <= law.interval[1] for law, alpha in zip(together.laws, exponents, strict=True)]
    assert sum(held) >= 8
    assert all(law.interval[0] < law.alpha < law.interval[1] for law in together.laws)
    widths = [np.ptp(law.interval) for law in together.laws]
    alone = [np.ptp(fit(x, y, "shifted").intervals["alpha"]) for x, y in its]
    assert np.median(widths) < 0.8 * np.median(alone)


def test_the_unit_of_a_row_scales_its_floor_and_nothing_else():
    _, its = rows(0.2)
    one, other = fit_rows(its), fit_rows([(x, 1e-9 * y) for x, y in its])
    for law, scaled in zip(one.laws, other.laws, strict=True):
        assert scaled.floor == pytest.approx(1e-9 * law.floor, rel=1e-6)
        assert scaled.interval == pytest.approx(law.interval, rel=1e-4)
        assert scaled.predict([1, 3]) == pytest.approx(1e-9 * law.predict([1, 3]), rel=1e-6)


def test_what_rows_gain_is_told_by_table_and_only_of_enough_rows():
    _, its = rows(0.0, many=5)
    groups = [
        Group(
            f"row {n}",
            f"row {n}",
            "Table 0",
            pd.DataFrame({"patch": x, "y": y}),
            "top-1 error",
            "%",
            about={"data": "d"},
        )
        for n, (x, y) in enumerate(its)
    ]
    (said,) = hierarchical_sentences(groups)
    gained = gain(its)
    assert said.startswith("Table 0, top-1 error on d, 5 rows, exponents")
    assert f"{100 * gained.held_out_error:.2f} % (separate fits {100 * gained.held_out_error_separate:.2f} %)" in said
    assert gained.width < 1.1 * gained.width_separate
    assert hierarchical_sentences(groups[:3]) == []
    with pytest.raises(ValueError, match="3 rows; 4 or more"):
        fit_rows(its[:3])
