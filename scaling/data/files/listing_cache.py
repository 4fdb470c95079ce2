"""Listings of a data folder, made once per start. A start lists its data to count images, for their fingerprint and to
open them; of a million files, or of COCO's JSON, each listing takes seconds."""

import functools
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

Listing = TypeVar("Listing")
_kept: dict[tuple[Hashable, ...], object] | None = None  # None: outside of listed_once


@contextmanager
def listed_once() -> Iterator[None]:
    """Inside, a listing is made once in this process: the data are not expected to change. Nested blocks share it."""
    global _kept
    outer = _kept
    _kept = {} if outer is None else outer
    try:
        yield
    finally:
        _kept = outer


def forget_listings() -> None:
    """Free the listings: the data have been opened."""
    if _kept is not None:
        _kept.clear()


def listing(function: Callable[..., Listing]) -> Callable[..., Listing]:
    """A function of hashable arguments whose value, which nobody changes, is kept inside listed_once."""

    @functools.wraps(function)
    def once(*args: Hashable) -> Listing:
        key = (function, *args)
        if _kept is None:
            return function(*args)
        if key not in _kept:
            _kept[key] = function(*args)
        return cast(Listing, _kept[key])

    return once
