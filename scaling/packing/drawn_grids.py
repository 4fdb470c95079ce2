"""The grids of patches of the images of a batch: their sizes, and how many of their patches are kept.

Functions of the recipe, the run's seed, the images' sides and their sample keys, without torch: data loaders and plans
compute the same numbers. N images.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from scaling.config.at_shape import SIZES
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import NATIVE, SequencePacking
from scaling.errors import ConfigError
from scaling.model_specs import CLASS_TOKENS
from scaling.packing.fitted_grid import fitted_grid, reduced_grid
from scaling.packing.token_drop import drop_rates, kept_counts
from scaling.rng import SampleKey, uniform

Grid = tuple[int, int]  # rows and columns of patches


class Grids(NamedTuple):
    """Of each image."""

    whole: list[Grid]
    kept: list[int]  # patches, at most as many as a row holds

    @property
    def are_equal(self) -> bool:
        """Whether all images have the same grid and keep all of it: such a batch is not packed."""
        return len(set(self.whole)) <= 1 and self.kept == [h * w for h, w in self.whole]


def drawn_grids(
    config: ExperimentConfig, sides_N: Sequence[tuple[int, int]], keys: Sequence[SampleKey], progress: float
) -> Grids:
    """Grids of training images. config: at the shape of the step. sides_N: heights and widths of the images [px].
    progress: share of the run's steps before this one. Raises ConfigError for an image that is too large, where the
    recipe refuses these."""
    packing = packing_of(config)
    if packing.image_sizes_per == "batch":
        sizes: list[float | None] = [float(config.model.img_size)] * len(keys)
    else:
        sizes = [packing.size_at(float(share)) for share in uniform(keys, config.seed, "image_size")[:, 0]]
    grids = _fitted(config, sides_N, sizes)
    pixels = [h * w * config.model.patch_size**2 for h, w in grids]
    rate_N = drop_rates(packing, pixels, keys, config.seed, progress)
    kept = kept_counts([h * w for h, w in grids], rate_N, keys, config.seed)
    limited = _limited(config, sides_N, grids, kept, (1 - rate_N).tolist())
    if limited != grids:
        kept = kept_counts([h * w for h, w in limited], rate_N, keys, config.seed)
    return Grids(limited, [min(count, most_patches(config)) for count in kept])


def grids_of_size(config: ExperimentConfig, sides_N: Sequence[tuple[int, int]], size: float | None) -> Grids:
    """Grids of images that all have one size [px] (None: each its own), as in evaluation: no patch is left out."""
    grids = _fitted(config, sides_N, [size] * len(sides_N))
    grids = _limited(config, sides_N, grids, [h * w for h, w in grids], [1.0] * len(grids))
    return Grids(grids, [h * w for h, w in grids])


def most_patches(config: ExperimentConfig) -> int:
    """Of an image in a row."""
    return packing_of(config).sequence_length - sum(CLASS_TOKENS[config.model.family])


def evaluated_size(config: ExperimentConfig) -> float | None:
    """To which size test images are resized [px]; None: they have their own."""
    return None if packing_of(config).image_sizes == NATIVE else float(config.model.img_size)


def mean_pixels(config: ExperimentConfig, sides_N: Sequence[tuple[int, int]]) -> float:
    """Pixels of a training image [px^2]: the mean over images of these heights and widths [px], and over the sizes that
    they are resized to, at equal steps of their distribution."""
    counts, packing, patch = Counter(sides_N), packing_of(config), config.model.patch_size
    sizes = Counter(packing.size_at((step + 0.5) / SIZES) for step in range(SIZES))
    patches = sum(
        n * times * h * w
        for size, times in sizes.items()
        for n, (h, w) in zip(counts.values(), grids_of_size(config, list(counts), size).whole, strict=True)
    )
    return patches * patch**2 / (len(sides_N) * SIZES)


def packing_of(config: ExperimentConfig) -> SequencePacking:
    """Raises ConfigError where images are not packed."""
    if not isinstance(config.packing, SequencePacking):
        raise ConfigError(f"packing is {config.packing.kind}, not sequences")
    return config.packing


def _shape(config: ExperimentConfig, sides: tuple[int, int]) -> tuple[float, float]:
    """Height and width of an image, or of a square of as many pixels [px]."""
    return sides if packing_of(config).keep_aspect_ratio else (math.sqrt(math.prod(sides)),) * 2


def _fitted(config: ExperimentConfig, sides_N: Sequence[tuple[int, int]], sizes: Sequence[float | None]) -> list[Grid]:
    patch, measure = config.model.patch_size, packing_of(config).size_measure
    shapes = [_shape(config, sides) for sides in sides_N]
    return [fitted_grid(*shape, patch, size, measure) for shape, size in zip(shapes, sizes, strict=True)]


def _limited(
    config: ExperimentConfig,
    sides_N: Sequence[tuple[int, int]],
    grids: Sequence[Grid],
    kept: Sequence[int],
    shares: Sequence[float],
) -> list[Grid]:
    """The grids, smaller where more patches are kept than a row holds. shares: of the patches that are kept [1]."""
    packing, most, found = packing_of(config), most_patches(config), []
    for sides, (h, w), count, share in zip(sides_N, grids, kept, shares, strict=True):
        if count > most and packing.on_large_image == "stop":
            of_which = f", of which {count} are kept" if count < h * w else ""
            raise ConfigError(
                f"an image of {sides[0]} x {sides[1]} px has {h * w} patches{of_which}, and a row of sequence_length "
                f"{packing.sequence_length} holds {most}: a longer one, or --on-large-image reduce"
            )
        patch = config.model.patch_size
        found.append(reduced_grid(*_shape(config, sides), patch, int(most / share)) if count > most else (h, w))
    return found
