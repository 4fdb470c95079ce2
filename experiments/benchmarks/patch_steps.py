"""FLOPs and time of a training step of a flexible model by patch size: where these differ, runs of equal FLOPs are not
runs of equal seconds. Time is that of the CPU, which other programs on the machine prolong less than the clock's."""

import time

from rich.table import Table

from experiments.benchmarks.speed_options import one_step
from experiments.benchmarks.timing import interleaved
from experiments.recipes import cifar10, shapes
from scaling.config.edit import edit
from scaling.costs import recipe_step_flops

TURNS, WARM = 41, 3
# recipe, patches from coarse to fine [px]
MODELS = (
    (shapes.deit_nano, (16, 8, 4, 2)),
    (shapes.adventurer_nano, (16, 8, 4, 2)),
    (cifar10.deit_nano, (16, 8, 4)),
    (cifar10.adventurer_nano, (16, 8, 4)),
)


def patch_steps() -> Table:
    """Median CPU time of a step of 32 images at each patch size, a step of each in turn; both costs also in multiples
    of those of the largest patch."""
    table = Table("data", "model", "patch, px", "step, ms", "time, x", "FLOPs, x", title="steps by patch size on cpu")
    for recipe, patches in MODELS:
        runs = {patch: edit(recipe(patch), patch_embed="flexible") for patch in patches}
        calls = {str(patch): one_step(run, "cpu") for patch, run in runs.items()}
        took = interleaved(calls, TURNS, WARM, clock=time.process_time)
        first = patches[0]
        for patch, run in runs.items():
            spent, flops = took[str(patch)], recipe_step_flops(run)
            ratios = spent / took[str(first)], flops / recipe_step_flops(runs[first])
            cells = [f"{1000 * spent:.2f}", *(f"{ratio:.1f}" for ratio in ratios)]
            table.add_row(run.data.dataset, run.model.backbone, str(patch), *cells)
    return table
