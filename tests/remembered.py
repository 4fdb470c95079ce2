"""Fits that several tests need are made once: the same points have the same law, its intervals and its band.

For tests of what is drawn, printed and written. Tests of the fits themselves make their own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from analysis import laws

_kept: dict[Any, Any] = {}
_fit, _band = laws._fit, laws.band


@contextmanager
def remember_fits() -> Iterator[None]:
    """In here laws are looked up among those that this process has fitted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(laws, "_fit", _fitted)
        patch.setattr(laws, "band", _banded)
        yield


def forget() -> None:
    _kept.clear()


def _key(value: Any) -> Any:
    return (value.shape, value.tobytes()) if isinstance(value, np.ndarray) else repr(value)


def _fitted(x: Any, y: Any, form: str, **options: Any) -> laws.Fit:
    numbers = tuple(_key(np.asarray(values, float)) for values in (*x, y))
    key = form, numbers, tuple((name, _key(options[name])) for name in sorted(options))
    if key not in _kept:
        _kept[key] = _fit(x, y, form, **options)
    return _kept[key]


def _banded(problem: Any, theta_K: np.ndarray, z_VM: np.ndarray) -> np.ndarray:
    key = id(problem), _key(theta_K), _key(z_VM)
    if key not in _kept:
        _kept[key] = problem, _band(problem, theta_K, z_VM)  # with the problem, so that its id stays its own
    return _kept[key][1]
