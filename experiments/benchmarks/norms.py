"""A training step with BatchNorm over one with LayerNorm, by patch size: time.

All variants of a model and patch size are built in one process and take a step each in turn. A ratio is of the medians
of a round; the range over rounds shows how far this machine reproduces it.
"""

import torch
from rich.table import Table

from experiments.benchmarks.speed_options import one_step
from experiments.benchmarks.timing import interleaved, progress
from experiments.cli.resolve import resolve

ROUNDS, TURNS, WARM = 5, 9, 2
NORMS = ("layer", "batch")
# model, image [px], patch sizes [px], images of a step: something for a CPU, something for a GPU
MODELS: dict[str, list[tuple[str, int, tuple[int, ...], int]]] = {
    "cpu": [("deit_nano", 16, (8, 4, 2), 32), ("deit_tiny", 64, (8,), 16)],
    "cuda": [("deit_base", 224, (16, 8), 64)],
}


def norms() -> Table:
    """Milliseconds of a step with LayerNorm, and the time with BatchNorm over it in each round."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    table = Table("model", "px", "LayerNorm [ms]", "BatchNorm over it, by round", title=f"norms on {device}")
    cases = [(name, image, patch, batch) for name, image, patches, batch in MODELS[device] for patch in patches]
    for name, image, patch, batch in progress(cases, "norms"):
        given = {"img_size": image, "backbone": name, "global_batch_size": batch}
        steps = {
            norm: one_step(resolve("shapes.deit_nano", patch, given | {"norm": norm})[0], device) for norm in NORMS
        }
        rounds = [interleaved(steps, TURNS, WARM) for _ in range(ROUNDS)]
        ratios = " ".join(f"{seconds['batch'] / seconds['layer']:.3f}" for seconds in rounds)
        least = min(seconds["layer"] for seconds in rounds)
        table.add_row(name, f"{image}/{patch}", f"{1000 * least:.1f}", ratios)
    return table
