"""Tables and figure of clipping, warm-up and norm, with fixed and with drawn patch sizes, on shapes, three seeds, from
analysis/measured/stability_shapes.csv."""

from analysis.plots.effects import effects_figure
from analysis.plots.studies import Figure
from analysis.studies import stability
from experiments.documentation.data import numbers, table


def effects() -> list[str]:
    """Change of the test loss by each setting with its interval, a row per backbone, setting and patch sizes."""
    rows, head = [], []
    for backbone, its in stability.effects(numbers("stability_shapes")).groupby("backbone", sort=False):
        shown = stability.compared(its)
        head = ["backbone", *shown]
        rows += [[str(backbone), *map(str, row)] for row in shown.itertuples(index=False)]
    return table(head, rows, left=(0, 1, 2))


def steps() -> list[str]:
    """Losses at the settings of the recipe but the norm, clipped steps, spikes and failed runs, a row per backbone,
    patch sizes, norm and clipping."""
    runs = numbers("stability_shapes")
    rows, head = [], []
    for (backbone, patches), its in runs.groupby(["backbone", "patches"], sort=False):
        shown = stability.printed_steps(its)
        head = ["backbone", "patches", *shown]
        rows += [[str(backbone), str(patches), *map(str, row)] for row in shown.itertuples(index=False)]
    return table(head, rows, left=(0, 1, 2, 3))


def figure() -> Figure:
    return effects_figure(
        stability.effects(numbers("stability_shapes")), "Settings of training and the patch size (shapes, 16 px)"
    )
