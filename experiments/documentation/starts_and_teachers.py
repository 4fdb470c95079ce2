"""Tables of what a flexible model starts from and learns from, DeiT-nano on shapes, three seeds, from
distillation_shapes.csv and coarse_tuning_shapes.csv in analysis/measured."""

from analysis.studies.cell_text import spread
from experiments.documentation.data import numbers, table


def distillation() -> list[str]:
    """Test loss of students, by training loss and start."""
    return _by_patch("distillation_shapes", ("loss", "start"))


def coarse_tuning() -> list[str]:
    """Test loss of a flexible and a fixed model before and after tuning at 8 px."""
    return _by_patch("coarse_tuning_shapes", ("start", "when"))


def _by_patch(name: str, keys: tuple[str, str]) -> list[str]:
    """Mean ± standard deviation of the test loss [nats] at each patch size, a row per pair of the keys' values."""
    runs = numbers(name)
    patches = sorted(runs["patch"].unique(), reverse=True)
    rows = []
    for values, its in runs.groupby(list(keys), sort=False):
        rows.append([*map(str, values), *(spread(its.loc[its["patch"] == patch, "test_loss"], 3) for patch in patches)])
    return table([*keys, *(f"{patch} px" for patch in patches)], rows, left=(0, 1))
