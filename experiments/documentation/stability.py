"""Tables and figure of clipping, warm-up and norm, with fixed and with drawn patch sizes, on shapes, three seeds, from
analysis/measured/stability_shapes.csv."""

from analysis.plots.effects import effects_figure
from analysis.plots.studies import Figure
from analysis.studies import stability
from experiments.documentation.data import grouped, numbers


def effects() -> list[str]:
    """Change of the test loss by each setting with its interval, a row per backbone, setting and patch sizes."""
    return grouped(stability.effects(numbers("stability_shapes")), ["backbone"], stability.compared, left=(0, 1, 2))


def steps() -> list[str]:
    """Clipped steps, spikes and the largest rise of the training loss, a row per backbone, patch sizes, norm and
    clipping."""
    runs = numbers("stability_shapes")
    return grouped(runs, ["backbone", "patches"], stability.printed_steps, left=(0, 1, 2, 3))


def figure() -> Figure:
    return effects_figure(
        stability.effects(numbers("stability_shapes")), "Settings of training and the patch size (shapes, 16 px)"
    )
