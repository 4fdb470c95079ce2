"""Estimates of claims on BatchNorm, from batch_statistics_shapes.csv and norm_steps.csv."""

from collections.abc import Callable

from analysis.claims.measured import NAMES, measured, of_values
from analysis.claims.verdict import Estimate


def gap_by_patch() -> list[Estimate]:
    """Loss with statistics of each batch less the loss with running ones, shared by all patch sizes: the largest less
    the smallest among patch sizes of a seed [nats]."""
    runs = measured("batch_statistics_shapes")
    found = []
    for patches, its in runs[runs["norm"] == "batch"].groupby("patches", sort=False):
        of_seed = its.groupby("seed")["gap"]
        found.append(of_values(f"{NAMES['deit_nano']}, trained at {patches}", of_seed.max() - of_seed.min()))
    return found


def step_time() -> list[Estimate]:
    """Time of a training step with BatchNorm over one with LayerNorm, a mean over rounds [x]."""
    cases = measured("norm_steps").groupby(["model", "image", "patch"], sort=False)
    return [
        of_values(f"{model}, {image} px, patch {patch}", its.set_index("round")["ratio"])
        for (model, image, patch), its in cases
    ]


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "batch_norm_gap": gap_by_patch,
    "batch_norm_step": step_time,
}
