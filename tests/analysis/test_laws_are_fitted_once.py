"""A law of points that have one already is not fitted again: a table, a report and figures ask for the same."""

import numpy as np
import pytest

from analysis.fitting import laws, result
from analysis.fitting.laws import fit

PATCH = np.array([16.0, 8, 4, 2, 1])
LOSS = np.array([2.0, 1.6, 1.4, 1.25, 1.23])


@pytest.fixture
def bands(monkeypatch) -> list[np.ndarray]:
    """The places of the bands that are searched for."""
    asked: list[np.ndarray] = []
    search = result.band
    monkeypatch.setattr(
        result, "band", lambda problem, theta, rise, z: (asked.append(z), search(problem, theta, rise, z))[1]
    )
    laws._law.cache_clear()
    return asked


def test_the_same_points_have_the_same_law_and_its_band_is_searched_for_once(bands):
    first, second = fit(PATCH, LOSS, "shifted"), fit(list(PATCH), list(LOSS), "shifted")
    assert first is second
    low, high = first.band([0.5, 1])
    again = second.band([0.5, 1])
    assert np.array_equal([low, high], again)
    assert len(bands) == 1
    first.band([0.5, 2])
    assert len(bands) == 2


def test_other_points_options_and_known_parameters_have_laws_of_their_own():
    law = fit(PATCH, LOSS, "shifted")
    others = [
        fit(PATCH, LOSS * 1.01, "shifted"),
        fit(PATCH * 2, LOSS, "shifted"),
        fit(PATCH, LOSS, "power"),
        fit(PATCH, LOSS, "shifted", loss="huber"),
        fit(PATCH, LOSS, "shifted", space="linear"),
        fit(PATCH, LOSS, "shifted", loss="huber", delta=1.0),
        fit(PATCH, LOSS, "shifted", confidence=0.5),
        fit(PATCH, LOSS, "shifted", given={"L_inf": 0.5}),
    ]
    assert all(other is not law for other in others)


def test_what_is_kept_does_not_change_with_what_a_caller_changes():
    loss = LOSS.copy()
    law = fit(PATCH, loss, "shifted")
    loss *= 2
    assert np.array_equal(law.y, LOSS)
    assert fit(PATCH, loss, "shifted") is not law
    with pytest.raises(ValueError, match="read-only"):
        law.y[0] = 1
    low, _ = law.band([1.0])
    low[0] = 0
    assert law.band([1.0])[0][0] > 0
