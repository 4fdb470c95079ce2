"""Laws as bare functions, and what fitting makes of them: the same numbers, exact slopes, a way back."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.fitting.lineshapes import bounded, broken, general, joint, m4, power, shifted, surface
from analysis.fitting.model import FORMS
from analysis.fitting.problem import with_slopes

RANGES = {
    "L_inf": (0.0, 1.0),
    "E": (0.0, 1.0),
    "A": (0.01, 3.0),
    "B": (0.01, 3.0),
    "alpha": (-1.5, 1.5),
    "beta": (-1.0, 1.0),
    "a": (0.05, 1.5),
    "b": (0.05, 1.5),
    "C": (0.01, 3.0),
    "c": (0.05, 1.5),
    "d": (0.05, 1.5),
    "e": (0.05, 1.5),
    "F": (0.01, 3.0),
    "M": (0.05, 20.0),
    "gamma": (0.1, 4.0),
    "x_break": (1.0, 16.0),
    "width": (0.05, 1.0),
    "L_0": (2.0, 5.0),
}
X = np.array([0.5, 1.0, 3.0, 16.0])
X2 = np.array([2.0, 0.25, 7.0, 1.0])
X3 = np.array([1.5, 4.0, 0.5, 9.0])


@st.composite
def drawn(draw):
    form = draw(st.sampled_from(sorted(FORMS)))
    return form, {name: draw(st.floats(*RANGES[name])) for name in FORMS[form].names}


def as_fitted(form, values):
    return np.array([math.log(v) if log else v for v, log in zip(values.values(), FORMS[form].logs, strict=True)])


def places(form):
    return (X, X2, X3)[: FORMS[form].variables]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(drawn())
def test_what_is_fitted_is_the_bare_law(case):
    form, values = case
    x = places(form)
    plain = FORMS[form].law(*x, **values)
    assert FORMS[form].value(as_fitted(form, values), np.log(np.stack(x))) == pytest.approx(plain, rel=1e-11)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(drawn())
def test_slopes_by_complex_step_are_those_of_differences(case):
    form, values = case
    theta, z = as_fitted(form, values), np.log(np.stack(places(form)))
    f, J = with_slopes(FORMS[form].value, theta[None], z[None])
    for k, step in enumerate(1e-5 * np.maximum(np.abs(theta), 0.1)):
        off = step * np.eye(len(theta))[k]
        ahead, behind = (FORMS[form].value(theta + side * off, z) for side in (1, -1))
        assert J[0, :, k] == pytest.approx((ahead - behind) / (2 * step), rel=1e-5, abs=1e-7 * f.max())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(drawn())
def test_a_law_is_solved_for_its_size_from_a_value(case):
    form, values = case
    shape, theta, z = FORMS[form], as_fitted(form, values), np.log(np.stack(places(form)))[:, 1:2]
    level = shape.value(theta, z)
    rise = float(level[0]) - values.get("L_inf", values.get("E", 0.0))
    if rise > 1e-6 and values.get("L_0", 1e9) - level[0] > 1e-6:
        assert shape.solve(level, theta, z)[0] == pytest.approx(theta[shape.anchor], abs=1e-6)


def test_laws_by_hand():
    assert power(16, 0.5, 0.5) == 2.0
    assert shifted(4, 0.25, 0.5, 0.5) == 1.25
    assert bounded(1, 10.0, 1.0, 0.7, 90.0) == 50.0  # odds of one: half way
    assert broken(1.0, 0.0, 2.0, 1.0, -1.0, 1.0, 1.0) == 1.0
    assert general(4, 16, 1.0, 2.0, 0.5, 8.0, 0.25) == 1.0 + 1.0 + 4.0
    assert joint(4, 16, 1.0, 2.0, 0.5, 8.0, 0.25) == 1.0 + 1.0 + 16.0
    assert surface(4, 16, 9, 12.0, 0.5, 0.5, 3.0, 0.25, 1.0, 0.5) == 12.0 / 2 / 3 * (1 + 3.0 * 2 / 4 / 3)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    floor=st.floats(0, 1),
    size=st.floats(1e-4, 1e4),
    alpha=st.floats(-2, 2),
    gamma=st.floats(0.05, 5),
    ceiling=st.floats(1.5, 100),
)
def test_m4_solves_its_own_equation_and_stays_between_its_bounds(floor, size, alpha, gamma, ceiling):
    loss = m4(X, floor, size, alpha, gamma, ceiling)
    assert np.all((loss >= floor) & (loss <= ceiling))
    inside = (loss - floor > 1e-6) & (ceiling - loss > 1e-6)
    left = (loss - floor)[inside] / (ceiling - loss)[inside] ** gamma
    assert left == pytest.approx((size * X**alpha)[inside], rel=1e-4)


def test_m4_with_gamma_1_is_the_bounded_law():
    assert m4(X, 0.3, 0.4, 0.8, 1.0, 2.5) == pytest.approx(bounded(X, 0.3, 0.4, 0.8, 2.5), rel=1e-12)


def test_a_broken_law_has_its_two_exponents_far_from_the_break():
    x = np.array([1e-6, 1e-5, 1e5, 1e6])
    log = np.log(broken(x, 0.0, 2.0, 0.9, -0.6, 1.0, 0.3))
    slopes = np.diff(log) / np.diff(np.log(x))
    assert slopes[[0, 2]] == pytest.approx([0.9, 0.3], abs=1e-9)
