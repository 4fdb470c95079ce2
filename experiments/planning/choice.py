"""Choice of a recommendation: the candidate with the lowest predicted error within hours, memory and object size, and
what other choices would change."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.planning.object_size import NEEDED, spans
from analysis.planning.predicted_error import Predicted
from experiments.planning.candidates import Candidate

FACTORS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # of hours and memory, until one changes the choice
ALIKE = 1.1  # factor between excesses that make no difference
Mask = NDArray[np.bool_]


class Limits(NamedTuple):
    """What a recommendation must keep to."""

    hours: float  # wall time [h]; inf: any
    memory: float  # of a card [bytes]
    object_px: float  # side of the smallest object in the original image [px]; 0: any
    original: int  # side of the original image [px]


class Other(NamedTuple):
    """Another choice than the recommended one."""

    what: str  # "half the cost"
    number: int  # of the candidate; -1: there is none


@dataclass(frozen=True, eq=False)
class Choice:
    """The candidates with their predicted errors, and which of them are possible."""

    task: str
    candidates: Sequence[Candidate]
    predicted: Predicted
    limits: Limits

    def spans(self, one: Candidate) -> float:
        """Patches that the smallest object spans [1]."""
        return spans(self.limits.object_px, one.patch, one.image, self.limits.original)

    def resolves(self, one: Candidate) -> bool:
        """Whether the smallest object spans as many patches as the task needs."""
        return not self.limits.object_px or self.spans(one) >= NEEDED[self.task]

    def possible(self, factor: float = 1.0) -> Mask:
        """(M,) whether a candidate resolves the object within `factor` times the hours and the memory."""
        hours, memory = factor * self.limits.hours, factor * self.limits.memory
        return np.array(
            [
                self.resolves(one) and one.hours <= hours and (one.fits or one.need_bytes <= memory)
                for one in self.candidates
            ]
        )

    def best(self, among: Mask) -> int:
        """The number of the candidate with the lowest predicted error, the first of equal ones; -1: there is none."""
        value = np.where(among, self.predicted.value_M, np.inf)
        return int(np.argmin(value)) if among.any() else -1

    def select(self, among: Mask) -> int:
        """As best; but one that the law extrapolates to only where its 95 % interval is below that of the best one that
        the law interpolates: intervals over resampled laws do not contain an error of the form."""
        first, inside = self.best(among), self.best(among & self._interpolated)
        if first < 0 or inside < 0 or self._interpolated[first]:
            return first
        return first if self.predicted.high_M[first] < self.predicted.low_M[inside] else inside

    @cached_property
    def answer(self) -> int:
        return self.select(self.within)

    @cached_property
    def within(self) -> Mask:
        """Candidates within the limits, without a larger card."""
        return self.possible() & np.array([one.fits for one in self.candidates])

    @property
    def least(self) -> int:
        """The candidate that resolves the object and exceeds the limits by the smallest factor: the first, which has
        the largest image, of those within ALIKE of it; -1: none resolves the object."""
        over = np.array([self._excess(one) if self.resolves(one) else math.inf for one in self.candidates])
        least = over.min(initial=math.inf)
        return int(np.argmax(over <= ALIKE * least)) if least < math.inf else -1

    @cached_property
    def _interpolated(self) -> Mask:
        """(M,) whether each variable of a candidate is in the range of the law's points."""
        return np.array([beyond in ("", "pair") for beyond in self.predicted.beyond])

    def shares(self) -> dict[int, float]:
        """Shares of the resampled laws by the candidate that each selects, largest first; {}: there are none. Of a
        choice that the law interpolates, among such candidates."""
        if not len(self.predicted.draws_SM):
            return {}
        among = self.within & (self._interpolated if self._interpolated[self.answer] else True)
        picked = np.argmin(np.where(among, self.predicted.draws_SM, np.inf), axis=1)
        numbers, counts = np.unique(picked, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {int(numbers[n]): float(counts[n] / len(picked)) for n in order}

    def others(self) -> Iterator[Other]:
        """One step cheaper, one step dearer, and the best choices with another patch, model or image that the limits
        allow."""
        at = self.candidates[self.answer]
        cheaper = np.array([one.hours <= at.hours / 2 for one in self.candidates])
        yield Other("half the hours", self.select(self.within & cheaper))
        yield self._dearer()
        size = at.last.parameters
        rivals: dict[str, Callable[[Candidate], bool]] = {
            "a smaller patch": lambda one: one.patch * at.image < at.patch * one.image,
            "a larger model": lambda one: one.model != at.model and one.last.parameters > size,
            "a smaller model": lambda one: one.model != at.model and one.last.parameters < size,
            "another image": lambda one: one.image != at.image,
        }
        for what, differs in rivals.items():
            yield Other(what, self.select(self.within & np.array([differs(one) for one in self.candidates])))

    def _dearer(self) -> Other:
        """The first factor of FACTORS that buys a lower predicted error."""
        for factor in FACTORS:
            found = self.select(self.possible(factor))
            if self.predicted.value_M[found] < self.predicted.value_M[self.answer]:
                return Other(f"{factor} x the budget", found)
        return Other("a larger budget", -1)

    def _excess(self, one: Candidate) -> float:
        over = one.hours / self.limits.hours
        if math.isnan(over):
            return math.inf
        return max(over, 1.0 if one.fits else one.need_bytes / self.limits.memory)
