"""Tables and figures of the studies figure3, figure4 and learning_rate on shapes, and of runs with fewer images: three
seeds, analysis/measured."""

import pandas as pd

from analysis.plots.rates import rate_figure
from analysis.plots.studies import Figure
from analysis.studies import ablations, learning_rates
from analysis.studies.cell_text import spread
from analysis.studies.explained import equal_flops
from analysis.studies.larger_or_finer import spending
from experiments.documentation.data import grouped, numbers, table
from scaling.data.generated.ideal_observer import ideal_loss


def by_image_size() -> list[str]:
    """figure4: test loss at equal numbers of tokens, beside that of the ideal observer, equal for all sizes."""
    runs = numbers("figure4_shapes")
    sizes, rows = sorted(runs["image"].unique()), []
    for (backbone, tokens), its in runs.groupby(["backbone", "tokens"], sort=False):
        ideal = {ideal_loss(int(image), int(patch)) for image, patch in zip(its["image"], its["patch"], strict=True)}
        cells = [spread(its.loc[its["image"] == size, "test_loss"], 3) for size in sizes]
        rows.append([str(backbone), str(tokens), f"{min(ideal):.3f}", *cells])
    return table(["backbone", "tokens", "ideal observer", *(f"{size} px" for size in sizes)], rows)


def larger_or_finer() -> list[str]:
    """figure3: the next larger model at the same patch, or the same model at the next smaller patch."""
    return _shown(spending(numbers("figure3_shapes")))


def at_equal_flops() -> list[str]:
    """figure3: change of the loss from a larger model at a coarser patch to a smaller one at a finer patch."""
    return _shown(equal_flops(numbers("figure3_shapes")))


def by_training_images() -> list[str]:
    """Test loss by the number of training images, at equal steps."""
    return grouped(numbers("images_by_patch_shapes"), ["backbone", "patch"], _by_training_images, left=(0,))


def _by_training_images(runs: pd.DataFrame) -> pd.DataFrame:
    """runs: of one backbone and patch size."""
    by_number = runs.groupby("train_images")["test_loss"]
    return pd.DataFrame([{f"{number:,} images [nats]": spread(losses, 3) for number, losses in by_number}])


def rates() -> list[str]:
    """learning_rate: the best rate of each patch size."""
    return _shown(learning_rates.printed(learning_rates.rate_studies(numbers("rates_shapes"))))


def sizes_figure() -> Figure:
    return ablations.figure(numbers("figure3_shapes"), "figure3", "shapes, 16 px")


def images_figure() -> Figure:
    return ablations.figure(numbers("figure4_shapes"), "figure4", "shapes")


def rates_figure() -> Figure:
    runs = numbers("rates_shapes")
    whole = pd.concat([study.table for study in learning_rates.rate_studies(runs)], ignore_index=True)
    return rate_figure(runs, whole, "Best learning rate by patch size (shapes, 16 px)")


def _shown(found: pd.DataFrame) -> list[str]:
    """A table that a study prints, as Markdown."""
    rows = [[str(cell).replace("\n", " ") for cell in row] for row in found.itertuples(index=False)]
    return table([str(name).replace("\n", " ") for name in found], rows)
