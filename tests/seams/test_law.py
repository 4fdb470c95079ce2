"""A law is added from this file, without an edit of analysis: fitted with intervals, and known to `--form`."""

import numpy as np
import pytest

from analysis.fitting.laws import fit
from analysis.fitting.model import FORMS, Form, Move

ANY = float("inf")
PATCH = np.array([16.0, 8.0, 4.0, 2.0, 1.0])


def logarithmic(x, c, k):
    return c + k * np.log(x)


def line(problem, _):
    z_N = problem.z_VN[0] - problem.pivot_V[0]
    return [list(np.polynomial.polynomial.polyfit(z_N, problem.y_N, 1))]


TOY = Form(
    logarithmic,
    ("c", "k"),
    lambda t, z: t[0] + t[1] * z[0],
    lambda L, t, z: L - t[1] * z[0],
    (False, False),
    (-ANY, -ANY),
    (ANY, ANY),
    (Move(0, 1, 0, -1),),
    0,
    "{c} + {k} log {x}",
    (1, 1),
    line,
)


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(FORMS, "logarithmic", TOY)


def test_an_added_law_is_fitted_with_intervals(toy):
    noise = np.array([0.01, -0.015, 0.0, 0.012, -0.008])
    law = fit(PATCH, logarithmic(PATCH, 0.5, 0.3) * np.exp(noise), form="logarithmic")
    assert tuple(law.parameters) == ("c", "k")
    for name, truth in (("c", 0.5), ("k", 0.3)):
        low, high = law.intervals[name]
        assert low < law.parameters[name] < high
        assert law.parameters[name] == pytest.approx(truth, abs=0.05)
    straight = np.polynomial.polynomial.polyfit(np.log(PATCH), logarithmic(PATCH, 0.5, 0.3), 1)
    exact = fit(PATCH, logarithmic(PATCH, 0.5, 0.3), form="logarithmic")
    assert [exact.parameters["c"], exact.parameters["k"]] == pytest.approx(list(straight), rel=1e-6)


def test_units_of_patch_size_change_the_offset_alone(toy):
    loss = logarithmic(PATCH, 0.5, 0.3) * np.exp([0.01, -0.015, 0.0, 0.012, -0.008])
    here, there = (fit(scale * PATCH, loss, form="logarithmic") for scale in (1.0, 1e3))
    assert there.parameters["k"] == pytest.approx(here.parameters["k"], rel=1e-6)
    assert there.parameters["c"] == pytest.approx(here.parameters["c"] - here.parameters["k"] * np.log(1e3), rel=1e-6)


def test_without_it_the_name_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match=r"logarithmic.*shifted"):
        fit(PATCH, PATCH, form="logarithmic")
