"""Table and figure of mixed and fixed image sizes on shapes, three seeds, from analysis/measured/navit_shapes.csv."""

from analysis.plots.mixed_sizes import mixed_sizes_figure
from analysis.plots.studies import Figure
from analysis.studies import mixed_sizes
from experiments.documentation.data import grouped, numbers


def losses() -> list[str]:
    """Mean ± standard deviation of the test loss at every size of test images, a row per way of training."""
    return grouped(numbers("navit_shapes"), ["backbone"], mixed_sizes.printed, left=(0, 1))


def figure() -> Figure:
    return mixed_sizes_figure(numbers("navit_shapes"), "Mixed and fixed sizes of training images (shapes, 16 px)")
