"""What cannot be fitted is a ValueError of one line; what may be taken amiss is remarked."""

from decimal import Decimal

import numpy as np
import pytest

from analysis.fitting.laws import fit, fit2
from analysis.fitting.model_selection import compare_forms

PATCH = np.array([16.0, 8, 4, 2, 1])
LOSS = np.array([1.1125, 0.9305, 0.8675, 0.8404, 0.8155])


@pytest.mark.parametrize(
    ("x", "y", "options", "says"),
    [
        (PATCH, np.ma.masked_greater(LOSS, 1), {}, "y has masked values"),
        (np.ma.masked_array(PATCH, [1, 0, 0, 0, 0]), LOSS, {}, "x has masked values"),
        (PATCH, LOSS + 0j, {}, "y holds complex128 values; real numbers are needed"),
        (PATCH, dict(enumerate(LOSS)), {}, "y is a dict; a list of numbers is needed"),
        (PATCH, set(LOSS), {}, "y is a set"),
        (PATCH, (value for value in LOSS), {}, "y is a generator"),
        (PATCH, "12345", {}, "y is a str"),
        (PATCH, [None, *LOSS[1:]], {}, "y holds nan"),
        (PATCH, ["a", *LOSS[1:]], {}, "y is not a list of numbers"),
        (PATCH, [object()] * 5, {}, "y is not a list of numbers"),
        (PATCH, [[1, 2], [3]], {}, "y is not a list of numbers"),
        (PATCH, np.array(["2020-01-01"] * 5, "datetime64[D]"), {}, "y holds datetime64"),
        (PATCH, LOSS > 0.9, {}, "y holds bool values"),
        (PATCH, LOSS, {"loss": "huber", "delta": 1e300}, "delta 1e.300 exceeds every residual .1e.06."),
        (PATCH, LOSS, {"loss": "huber", "delta": "1"}, "delta 1 must be finite"),
        (PATCH, [1e-300, 1e-100, 1, 1e100, 1e300], {}, "y ranges from 1e-300 to 1e.300, too wide a range for one law"),
        (PATCH, LOSS, {"confidence": "much"}, "confidence much must be between 0 and 1"),
        (
            PATCH,
            LOSS,
            {"form": "shifted", "given": {"L_inf": 2.0}},
            "y holds 0.8155; every value must be above L_inf, 2$",
        ),
        (PATCH, LOSS, {"form": "shifted", "given": {"L_inf": 0.8155}}, "must be above L_inf, 0.8155$"),
        (PATCH, LOSS, {"form": "shifted", "given": {"alpha": "1"}}, "alpha is given as 1; a finite number is needed"),
        (
            PATCH,
            LOSS,
            {"form": "m4", "given": {"L_0": 3.0, "gamma": -1.0}},
            "gamma is given as -1; it must be between 0.02",
        ),
    ],
)
def test_what_has_no_law_is_refused_in_a_line(x, y, options, says):
    with pytest.raises(ValueError, match=says) as caught:
        fit(x, y, **options)
    assert "\n" not in str(caught.value)


def test_a_floor_above_the_data_is_refused_of_two_variables_too():
    with pytest.raises(ValueError, match=r"every value must be above E, 5$"):
        fit2([1, 2, 3, 4, 5, 6], [1, 2, 4, 3, 5, 1], [1, 2, 3, 4, 5, 6], "joint", given={"E": 5.0})


def test_a_mask_that_hides_nothing_and_decimals_are_numbers():
    law = fit(np.ma.masked_array(PATCH), [Decimal(str(value)) for value in LOSS])
    assert law is fit(PATCH, LOSS)


def test_an_exponent_of_either_sign_may_be_given():
    tokens = (64 / PATCH) ** 2
    law = fit(tokens, LOSS, "shifted", given={"alpha": -0.6})
    other = fit(PATCH, LOSS, "shifted", given={"alpha": 1.2})
    assert law.converged
    assert law.parameters["alpha"] == -0.6
    assert law.parameters["L_inf"] == pytest.approx(other.parameters["L_inf"], rel=1e-6)
    assert law.loss == pytest.approx(other.loss, rel=1e-6)


def test_a_floor_of_losses_that_rise_towards_small_patches_is_said_to_be_at_the_other_end():
    rising = fit(PATCH, LOSS[::-1], "shifted")
    assert rising.identified["L_inf"]
    assert rising.summary().endswith("the law falls as p grows: L_inf is the limit of large p, not of small")
    assert fit(PATCH, LOSS, "shifted").remarks == ()
    assert fit(PATCH, LOSS[::-1]).summary("p").endswith("the law falls as p grows")


def test_laws_of_other_errors_and_other_places_are_not_weighed():
    with pytest.raises(ValueError, match="minimise errors of log L and some of L;"):
        compare_forms([fit(PATCH, LOSS), fit(PATCH, LOSS, space="linear")])
    with pytest.raises(ValueError, match="different x"):
        compare_forms([fit(PATCH, LOSS), fit(PATCH * 2, LOSS)])
    assert compare_forms([fit(PATCH, LOSS, loss="huber")])["note"][0].startswith("undefined for Huber's loss")
