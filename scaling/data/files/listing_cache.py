"""Listings of a data folder, made once per start. A start lists its data to count images, for their fingerprint and to
open them; of a million files, or of COCO's JSON, each listing takes seconds."""

import functools
from collections.abc import Callable, Hashable
from typing import TypeVar

from scaling.runs.kept_inside import KeptInside

Listing = TypeVar("Listing")
_kept = KeptInside()
listed_once = _kept.block  # a listing is made once in this process: the data are not expected to change
forget_listings = _kept.clear  # the data have been opened


def listing(function: Callable[..., Listing]) -> Callable[..., Listing]:
    """A function of hashable arguments whose value, which nobody changes, is kept inside listed_once."""

    @functools.wraps(function)
    def once(*args: Hashable) -> Listing:
        return _kept.value((function, *args), lambda: function(*args))

    return once
