"""Evidence for a form: what it says of a patch that it has not seen, and AICc where that is defined."""

import math

import numpy as np
import pytest

from analysis.fitting.laws import fit
from analysis.fitting.model_selection import compare_forms, fewest_points, hold_out

PATCH = np.array([16.0, 8, 4, 2, 1])


def test_the_smallest_patch_is_left_out_and_said_by_the_others():
    x, loss = np.repeat(PATCH, 2), np.repeat(0.4 + 0.3 * PATCH**0.6, 2)
    loss[-2:] *= [1.1, 1 / 1.1]
    held = hold_out(x, loss)
    assert (held.x, held.n) == (1.0, 8)
    assert held.measured == pytest.approx(0.7)
    assert held.predicted == pytest.approx(0.7, rel=1e-6)
    assert held.relative == pytest.approx(0, abs=1e-6)


def test_a_power_law_misses_below_a_floor_and_says_by_how_much():
    loss = 0.4 + 0.3 * PATCH**0.6
    held = hold_out(PATCH, loss, "power")
    law = fit(PATCH[:-1], loss[:-1], "power")
    assert held.error == pytest.approx(law.predict(1)[0] - 0.7)
    assert held.error < -0.02
    assert held.low < held.predicted < held.high


def test_of_tokens_the_largest_number_is_left_out():
    held = hold_out((16 / PATCH) ** 2, 0.4 + 0.3 * PATCH**0.6, end="largest")
    assert held.x == 256
    assert held.predicted == pytest.approx(0.7, rel=1e-5)


@pytest.mark.parametrize(
    ("x", "y", "options", "says"),
    [
        ([4, 2, 1], [3, 2, 1.5], {}, "2 distinct x are too few"),
        ([4, 2], [3, 2, 1], {}, "two lists of equal length"),
        ([4, 2, 1], [3, 2, 1], {"end": "middle"}, "unknown end 'middle'"),
    ],
)
def test_too_little_to_hold_out_is_refused(x, y, options, says):
    with pytest.raises(ValueError, match=says):
        hold_out(x, y, **options)


def test_aicc_is_the_textbook_one():
    """Of a straight line in logs: n log(RSS / n) + 2 k + 2 k (k + 1) / (n - k - 1), k = 3 with the errors' size."""
    rng = np.random.default_rng(0)
    y = np.log(0.5) + 0.4 * np.log(PATCH) + 0.02 * rng.normal(size=5)
    squares = float(np.polyfit(np.log(PATCH), y, 1, full=True)[1][0])
    law = fit(PATCH, np.exp(y), "power")
    assert law.aicc == pytest.approx(5 * math.log(squares / 5) + 6 + 2 * 3 * 4 / 1, rel=1e-6)


def test_five_points_cannot_weigh_a_floor_and_say_so():
    rng = np.random.default_rng(0)
    loss = (0.4 + 0.3 * PATCH**0.6) * np.exp(0.01 * rng.normal(size=5))
    table = compare_forms([fit(PATCH, loss, form) for form in ("power", "shifted")]).set_index("form")
    assert math.isfinite(table.loc["power", "aicc"])
    assert math.isnan(table.loc["shifted", "aicc"])
    assert table.loc["shifted", "note"] == "undefined at this n: 5 points, more than 5 are needed"
    assert table["weight"].isna().all()


def test_with_seeds_the_form_that_made_the_data_wins():
    rng = np.random.default_rng(0)
    x = np.repeat(PATCH, 3)
    laws = [
        fit(x, (0.4 + 0.3 * x**0.6) * np.exp(0.01 * np.random.default_rng(0).normal(size=15)), form)
        for form in ("power", "shifted")
    ]
    table = compare_forms(laws).set_index("form")
    assert table.loc["shifted", "weight"] > 0.99
    assert table["weight"].sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="different data"):
        compare_forms([laws[0], fit(x, 1 + x * rng.uniform(size=15))])


def test_a_form_needs_a_point_more_than_it_has_parameters():
    assert {form: fewest_points(form) for form in ("power", "shifted", "bounded", "m4", "broken")} == {
        "power": 3,
        "shifted": 4,
        "bounded": 4,
        "m4": 5,
        "broken": 8,
    }
