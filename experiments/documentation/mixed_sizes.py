"""Tables and figures of images of several sizes, three seeds: mixed and fixed sizes (analysis/measured/navit_*.csv),
position encodings at other sizes (positions_*.csv), dropped tokens (token_drop_shapes.csv), and images that are no
squares (rectangles_shapes.csv)."""

import pandas as pd

from analysis.plots.mixed_sizes import mixed_sizes_figure
from analysis.plots.studies import Figure
from analysis.studies import mixed_sizes, token_drop
from experiments.documentation.data import grouped, numbers, table


def losses(data: str) -> list[str]:
    """Mean ± standard deviation of the test loss at every size of test images, a row per way of training."""
    return grouped(numbers(f"navit_{data}"), ["backbone"], mixed_sizes.printed, left=(0, 1))


def losses_compared(data: str) -> list[str]:
    """The change of the loss against the full size alone, with its interval, a row per way of training."""
    found = mixed_sizes.comparisons(numbers(f"navit_{data}"))
    return grouped(found, ["backbone"], mixed_sizes.compared, left=(0, 1))


def positions(data: str) -> list[str]:
    """Losses of the study positions, a row per encoding."""
    return grouped(
        _encodings(data),
        ["backbone"],
        lambda its: mixed_sizes.printed(its, "positions").drop(columns=["images", "FLOPs"]),
        left=(0, 1),
    )


def positions_figure(data: str, where: str) -> Figure:
    """Without fractions of the longer side, which are those of each side on square images."""
    found = _encodings(data)
    found = found[~found["trained"].str.endswith("fractional_ar")]
    return mixed_sizes_figure(found, f"Position encodings by size of test images ({where})", "positions")


def _encodings(data: str) -> pd.DataFrame:
    return numbers(f"positions_{data}").rename(columns={"positions": "trained"})


def dropped() -> list[str]:
    """Loss, cost and the largest rise of the training loss, a row per way of dropping and number of images."""
    return grouped(numbers("token_drop_shapes"), ["backbone", "sizes"], token_drop.printed, left=(0, 1, 2))


def dropped_compared() -> list[str]:
    """The change of the loss by each way of dropping, with its interval."""
    found = token_drop.comparisons(numbers("token_drop_shapes"))
    return grouped(found, ["backbone", "sizes"], token_drop.compared, left=(0, 1, 2, 3, 4))


def figure(data: str, where: str) -> Figure:
    return mixed_sizes_figure(numbers(f"navit_{data}"), f"Mixed and fixed sizes of training images ({where})")


def rectangles() -> list[str]:
    """Test loss of every seed, a row per backbone and way of resizing."""
    runs = numbers("rectangles_shapes")
    losses = runs.pivot_table("test_loss", ["backbone", "images"], "seed", sort=False)
    rows = [[*row[0], *(f"{loss:.3f}" for loss in row[1:])] for row in losses.itertuples(name=None)]
    return table(["backbone", "images", *(f"seed {seed} [nats]" for seed in losses)], rows, (0, 1))
