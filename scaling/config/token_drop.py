"""Token dropping: the share of the patches of a training image that is left out (NaViT, arXiv 2307.06304, section 2.1
and appendices A.4 and A.5). Registered kinds: none, constant, beta, resolution, schedule.

A kind is a frozen dataclass with `kind`, `words` and one pure function, `rates`. Which patches are left out is in
scaling/packing/token_drop.py. Rates are shares of the patches, in [0, 1). scipy is imported where it is used: it takes
0.3 s.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from scaling.config.fields import Bounds, check, check_fields, config_field

Numbers = NDArray[np.float64]
RATE = Bounds(at_least=0, below=1)
SPREAD = 0.3  # variance of u ~ Beta over that of 0 or 1 with the same mean (appendix A.4)
DEVIATION, CUT = 0.02, 2.0  # standard deviation of the normal distribution, and where it is cut, in deviations (A.4)


class TokenDrop(Protocol):
    """How many patches are left out."""

    kind: ClassVar[str]

    def rates(self, share: Numbers, place: Numbers, progress: Numbers) -> Numbers:
        """Rates of images [1], in an array that can be broadcast to the shapes of the arguments. share: in [0, 1), the
        argument of the inverse distribution function. place: from 0 for the fewest patches that an image may have to 1
        for the most. progress: share of the run's steps before this one."""

    @property
    def words(self) -> str:
        """Name for tables."""


@dataclass(frozen=True, kw_only=True)
class NoDrop:
    """All patches are kept."""

    kind: ClassVar[str] = "none"

    def rates(self, share: Numbers, place: Numbers, progress: Numbers) -> Numbers:
        return np.zeros(1)

    @property
    def words(self) -> str:
        return self.kind


@dataclass(frozen=True, kw_only=True)
class ConstantDrop:
    """The same rate for all images."""

    kind: ClassVar[str] = "constant"
    drop_rate: float = config_field("share of the patches of every training image that is left out", 0.5, bounds=RATE)

    def __post_init__(self) -> None:
        check_fields(self)

    def rates(self, share: Numbers, place: Numbers, progress: Numbers) -> Numbers:
        return np.full(1, self.drop_rate)

    @property
    def words(self) -> str:
        return f"{self.kind} {self.drop_rate:g}"


@dataclass(frozen=True, kw_only=True)
class BetaDrop:
    """A rate per image: u * drop_most, where u has a Beta distribution of mean m = drop_mean / drop_most and variance
    0.3 m (1 - m) (appendix A.4), so that some images are nearly whole."""

    kind: ClassVar[str] = "beta"
    drop_mean: float = config_field("mean share of the patches that is left out", 0.5, bounds=RATE)
    drop_most: float = config_field("largest share of the patches that is left out", 0.9, bounds=RATE)

    def __post_init__(self) -> None:
        check_fields(self)
        rule = f"must be above 0 and below drop_most, {self.drop_most:g}"
        check(0 < self.drop_mean < self.drop_most, "drop_mean", self.drop_mean, rule)

    def rates(self, share: Numbers, place: Numbers, progress: Numbers) -> Numbers:
        from scipy.special import betaincinv

        mean, both = self.drop_mean / self.drop_most, 1 / SPREAD - 1  # both: the sum of the two parameters
        return self.drop_most * np.asarray(betaincinv(both * mean, both * (1 - mean), share))

    @property
    def words(self) -> str:
        return f"{self.kind} {self.drop_mean:g} up to {self.drop_most:g}"


@dataclass(frozen=True, kw_only=True)
class ResolutionDrop:
    """A rate per image, normal around a mean that is linear in the image's number of patches, with a standard deviation
    of 0.02 and cut at two of these (appendix A.4; that 0.02 is not the variance is taken, not stated there)."""

    kind: ClassVar[str] = "resolution"
    drop_smallest: float = config_field("mean rate of the smallest images of image_sizes", 0.25, bounds=RATE)
    drop_largest: float = config_field("mean rate of the largest images of image_sizes", 0.75, bounds=RATE)

    def __post_init__(self) -> None:
        check_fields(self)

    def rates(self, share: Numbers, place: Numbers, progress: Numbers) -> Numbers:
        from scipy.special import ndtr, ndtri

        normal = ndtri(ndtr(-CUT) + share * (ndtr(CUT) - ndtr(-CUT)))
        mean = self.drop_smallest + (self.drop_largest - self.drop_smallest) * place
        return np.asarray(np.clip(mean + DEVIATION * normal, 0, np.nextafter(1, 0)))

    @property
    def words(self) -> str:
        return f"{self.kind} {self.drop_smallest:g}..{self.drop_largest:g}"


@dataclass(frozen=True, kw_only=True)
class ScheduledDrop:
    """The same rate for all images of a step, which moves from one value to another along a logistic curve:
    drop_start + (drop_end - drop_start) / (1 + exp((drop_middle - progress) / drop_width)) (appendix A.5, where
    progress is the number of images seen)."""

    kind: ClassVar[str] = "schedule"
    drop_start: float = config_field("share of the patches that is left out at first", 0.8, bounds=RATE)
    drop_end: float = config_field("share of the patches that is left out in the end", 0.2, bounds=RATE)
    drop_middle: float = config_field(
        "share of the run's steps after which the rate is half-way",
        0.5,
        bounds=Bounds(at_least=0, at_most=1),
    )
    drop_width: float = config_field(
        "share of the run's steps in which the rate moves from half-way to 73 % of the way", 0.1, bounds=Bounds(above=0)
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def rates(self, share: Numbers, place: Numbers, progress: Numbers) -> Numbers:
        from scipy.special import expit

        way = expit((progress - self.drop_middle) / self.drop_width)
        return np.asarray(self.drop_start + (self.drop_end - self.drop_start) * way)

    @property
    def words(self) -> str:
        return f"{self.kind} {self.drop_start:g}..{self.drop_end:g}"


TOKEN_DROPS: dict[str, type] = {c.kind: c for c in (NoDrop, ConstantDrop, BetaDrop, ResolutionDrop, ScheduledDrop)}
