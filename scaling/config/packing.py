"""Packing: how images are laid out in a batch. Registered kinds: none (one image per row, all of one size), sequences.

Image sizes of sequences are text: native (the image's own), 64 or 32,64,128 (one of these, equally often), 64-256 (a
range). A size is the square root of the image's area in pixels, or its shorter side.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

from scaling.config.fields import Bounds, check_fields, config_field
from scaling.config.token_drop import TOKEN_DROPS, BetaDrop, ConstantDrop, NoDrop, ResolutionDrop, ScheduledDrop
from scaling.errors import ConfigError

NATIVE = "native"
PLANS = ("first-fit", "best-fit", "decreasing", "balanced")


@dataclass(frozen=True, kw_only=True)
class NoPacking:
    """One image per row of a batch, all of one size."""

    kind: ClassVar[str] = "none"


@dataclass(frozen=True, kw_only=True)
class SequencePacking:
    """Images of any sizes and shapes as rows of tokens, several images per row, and attention and scans within each
    image (NaViT, arXiv 2307.06304). Nothing is cropped."""

    kind: ClassVar[str] = "sequences"
    sequence_length: int = config_field(
        "most tokens of a row, class tokens among them: images share a row until it is full",
        8192,
        unit="tokens",
        bounds=Bounds(at_least=2),
    )
    on_large_image: str = config_field(
        "what is done with an image of more tokens than a row: reduce (to as many as fit) or stop",
        "reduce",
        choices=("reduce", "stop"),
    )
    packing_plan: str = config_field(
        "which image goes into which row: first-fit (as in arXiv 2307.06304), best-fit, decreasing (first-fit, longest "
        "image first), balanced (filled evenly and cut at the longest)",
        "balanced",
        choices=PLANS,
    )
    image_sizes: str = config_field(
        "sizes that training images are resized to: native (their own), 64 or 32,64 (one of these), 64-256 (a range)",
        NATIVE,
        unit="px",
    )
    image_sizes_per: str = config_field(
        "what shares a drawn size: an image (each has its own) or a batch (all images of an optimiser step)",
        "image",
        choices=("image", "batch"),
    )
    keep_aspect_ratio: bool = config_field(
        "whether images keep their aspect ratio; false: they are resized to squares of as many pixels", True
    )
    size_measure: str = config_field(
        "what a size is: area (its square root), or side (the shorter one)", "area", choices=("area", "side")
    )
    size_distribution: str = config_field(
        "how sizes are drawn from a range: uniform, or truncated_normal (standard deviation half the range)",
        "uniform",
        choices=("uniform", "truncated_normal"),
    )
    size_mean: float = config_field(
        "mean of the normal distribution that is truncated: -1 is the smallest size of the range, 1 the largest",
        -0.5,
        bounds=Bounds(at_least=-3, at_most=3),
    )
    token_drop: NoDrop | ConstantDrop | BetaDrop | ResolutionDrop | ScheduledDrop = config_field(
        "patches of training images that are left out, drawn for every image: none, constant (one rate), beta (a rate "
        "per image), resolution (a higher rate for larger images), schedule (a rate that changes over the run)",
        NoDrop(),
        registry=TOKEN_DROPS,
        by_leaf=True,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        sizes = parse_sizes(self.image_sizes)
        if self.image_sizes_per == "batch" and not sizes:
            raise ConfigError("image_sizes_per batch needs sizes to draw, and image_sizes is native: set --image-sizes")
        if isinstance(self.token_drop, ResolutionDrop) and len(set(sizes)) < 2:
            raise ConfigError(
                f"token_drop resolution needs images of several sizes, and image_sizes is {self.image_sizes}: give a "
                "range, as 64-256"
            )

    @property
    def sizes_words(self) -> str:
        """Sizes of training images for names of runs."""
        if self.image_sizes == NATIVE:
            return "native sizes"
        return f"{self.image_sizes} px" + (", per step" if self.image_sizes_per == "batch" else "")

    def size_at(self, share: float) -> float | None:
        """Size [px] below which this share of the training images lies, by the inverse of the distribution function;
        None: images have their own. arXiv 2307.06304 (appendix A.1) draws the square root of the area from
        U(64, 256)."""
        sizes = parse_sizes(self.image_sizes)
        if not sizes:
            return None
        if not isinstance(sizes, SizeRange):
            return float(sorted(sizes)[min(int(share * len(sizes)), len(sizes) - 1)])
        if self.size_distribution == "truncated_normal":
            normal = NormalDist(self.size_mean)
            low, high = normal.cdf(-1.0), normal.cdf(1.0)
            share = (normal.inv_cdf(min(max(low + share * (high - low), 1e-300), 1 - 1e-16)) + 1) / 2
        return sizes[0] + (sizes[1] - sizes[0]) * min(max(share, 0.0), 1.0)

    def place_of(self, pixels: float) -> float:
        """From 0 for an image of as many pixels as a square of the smallest of image_sizes to 1 for the largest, or 0
        where there are not several sizes."""
        sizes = parse_sizes(self.image_sizes)
        if len(set(sizes)) < 2:
            return 0.0
        least, most = min(sizes) ** 2, max(sizes) ** 2
        return min(max((pixels - least) / (most - least), 0.0), 1.0)


class SizeRange(tuple[int, int]):
    """Smallest and largest size [px]."""


def parse_sizes(text: str) -> SizeRange | tuple[int, ...]:
    """A range, or a list of sizes, empty for the images' own. Raises ConfigError."""
    if text == NATIVE:
        return ()
    parts = [part.strip() for part in text.replace("-", ",").split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) < 6 and int(part) for part in parts):
        raise ConfigError(f"image_sizes {text!r} is neither native, nor sizes as 32,64, nor a range as 64-256")
    sizes = tuple(map(int, parts))
    if "-" not in text:
        if len(set(sizes)) < len(sizes):
            raise ConfigError(f"image_sizes {text!r} has a size twice; all of them are drawn equally often")
        return sizes
    if len(sizes) != 2 or "," in text or sizes[0] > sizes[1]:
        raise ConfigError(f"image_sizes {text!r} is not a range from a size to a larger one, as 64-256")
    return SizeRange(sizes)


PACKINGS: dict[str, type] = {c.kind: c for c in (NoPacking, SequencePacking)}
