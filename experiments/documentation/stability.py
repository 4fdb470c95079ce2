"""Tables and figures of the page on stability: clipping, warm-up, norm and learning rate with fixed and with drawn
patch sizes, BatchNorm, gradients and sharpness by patch size, on shapes."""

import pandas as pd

from analysis.claims.stability import rate_range_runs
from analysis.plots.effects import effects_figure
from analysis.plots.rate_range import rate_range_figure
from analysis.plots.studies import Figure
from analysis.studies import rate_range, stability
from analysis.studies.cell_text import spread
from experiments.documentation.data import grouped, numbers


def effects() -> list[str]:
    """Change of the test loss by each setting with its interval, a row per backbone, setting and patch sizes."""
    return grouped(stability.effects(numbers("stability_shapes")), ["backbone"], stability.compared, left=(0, 1, 2))


def steps() -> list[str]:
    """Clipped steps, spikes and the largest rise of the training loss, a row per backbone, patch sizes, norm and
    clipping."""
    runs = numbers("stability_shapes")
    return grouped(runs, ["backbone", "patches"], stability.printed_steps, left=(0, 1, 2, 3))


def gradients() -> list[str]:
    """Loss, squared norm of the mean gradient and variances, a row per backbone, weights and patch size."""
    return grouped(numbers("gradients_shapes"), ["backbone", "weights"], _by_patch, left=(0, 1))


def _by_patch(runs: pd.DataFrame) -> pd.DataFrame:
    """Means and standard deviations over seeds as text."""
    names = {
        "loss": "loss [nats]",
        "grad_signal": "\\|mean\\|²",
        "grad_noise": "of an image",
        "token_noise": "of a token",
    }
    rows = [
        {"patch [px]": patch, **{text: _mean_sd(its[name]) for name, text in names.items()}}
        for patch, its in runs.groupby("patch", sort=False)
    ]
    return pd.DataFrame(rows)


def gradient_steps() -> list[str]:
    """Variance of the gradient of a step, a row per backbone and weights."""
    names = {"drawn_per_step": "a size per step", "drawn_per_image": "a size per image"}
    return grouped(
        numbers("gradient_steps_shapes"),
        ["backbone", "weights"],
        lambda runs: pd.DataFrame([{text: _mean_sd(runs[name]) for name, text in names.items()}]),
        left=(0, 1),
    )


def batch_norm() -> list[str]:
    """BatchNorm with running statistics and with those of each batch, a row per norm, patches of the steps and patch
    size."""
    columns = {"loss_running": "loss [nats]", "gap": "gap [nats]", "mean_shift": "shift [sd]"}
    columns["variance_factor"] = "variance [x]"

    def by_patch(runs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(
            {"patch [px]": patch, **{text: spread(its[name], 3) for name, text in columns.items()}}
            for patch, its in runs.groupby("patch", sort=False)
        )

    return grouped(numbers("batch_statistics_shapes"), ["norm", "patches"], by_patch, left=(0, 1))


def norm_steps() -> list[str]:
    """Time of a step with BatchNorm over one with LayerNorm, a row per model and patch size."""
    return grouped(
        numbers("norm_steps"),
        ["model", "image", "patch"],
        lambda rounds: pd.DataFrame([{"BatchNorm over LayerNorm": spread(rounds["ratio"], 3)}]),
        left=(0,),
    )


def rates() -> list[str]:
    """The range of good learning rates, a row per backbone, clipping and patches of the steps."""
    return grouped(rate_range.ranges(rate_range_runs()), ["backbone"], rate_range.printed_ranges, left=(0, 1, 2, 3))


def rates_figure() -> Figure:
    return rate_range_figure(rate_range_runs(), "Learning rates with fixed and drawn patch sizes (shapes, 16 px)")


def sharpness_of_drawn() -> list[str]:
    """Top eigenvalue at 4 px of models trained at 4 px alone and at drawn patch sizes, a row per backbone."""
    return grouped(
        numbers("sharpness_drawn_shapes"),
        ["backbone", "patches"],
        lambda runs: pd.DataFrame(
            [{"loss [nats]": spread(runs["loss"], 3), "top eigenvalue [nats]": spread(runs["eigenvalue"], 1)}]
        ),
        left=(0, 1),
    )


def _mean_sd(values: pd.Series) -> str:
    """With three and two digits: the values differ by powers of ten."""
    return f"{values.mean():.3g} ± {values.std():.2g}"


def figure() -> Figure:
    return effects_figure(
        stability.effects(numbers("stability_shapes")), "Settings of training and the patch size (shapes, 16 px)"
    )
