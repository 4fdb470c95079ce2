"""Benchmarks on this machine: python experiments/benchmark.py [NAME ...]; `make bench` runs the quick ones.

overhead       a training step through the framework (Lightning, checkpoints, curve, progress) over a bare PyTorch loop
               with the same model, data and batch, a step of each in turn. Target: at most 1.03 over the main job.
instruments    what instruments (docs/stability.md) add to a training step, by blocks of steps with them and without in
               turn. Target: at most 1 %. Minutes.
test-losses    time of the test losses along a run (--test-points) over that of its training steps, planned for 3 %. 4
               minutes.
data-loading   images/s of the embedded data set, and of JPEG files here and in a bare torchvision loop.
mixer          forward and backward of a Mamba-2 mixer against public plain-torch ones: time, memory, time per token.
scans          implementations of Adventurer's mixer by length: which is fastest where. For a GPU; minutes on a CPU.
long           Adventurer on one 224 px image at patch 1 (50,176 tokens): time and memory. Minutes on a CPU.
crossing       DeiT and Adventurer by tokens: where the linear one gets ahead. Minutes on a CPU.
speed-options  bf16, torch.compile, activation checkpointing, channels-last, fused AdamW and copies, each on and off:
               time and memory.
norms          a training step with BatchNorm over one with LayerNorm, by patch size.
flexible       a step of a flexible model over one of a fixed patch, and an evaluation at several patch sizes over the
               sum of one at each. Targets: at most 1.02 and 1.
packing        padding of rows of several images by plan, and steps of packed, padded and square images.
packing-overhead  steps of packed images by length of a row and width of the model. A minute.
adaptive       a training step with adaptive patches over one with as many uniform ones, and the share of the trees.
patch-steps    FLOPs and CPU time of a training step by patch size.
rope           a training step with rope, rope_mixed, relative and relative_mlp over one with learned positions, at 256
               and 1,024 tokens. Target for rope: at most 1.05.
detection      a training step and an image of Cascade Mask R-CNN and of torchvision's Mask R-CNN, on the same backbone.
table6         Table 6 on this machine: hours and memory of both backbones over patch sizes, measured, predicted,
               published. 224 px on a GPU, 64 px elsewhere.
laws           fits, intervals and bootstraps of laws, compared with scipy's least_squares in a loop.
coverage       how often the intervals of laws contain the truth. 25 minutes.
coverage-sizes how often the intervals of L(N, p, D), its best patch sizes and directions contain the truth. 3 minutes.
folders        load, --status and --dry-run with 10,000 generated runs in the results folder. Target: 5 s each. Minutes.
fuzz           intervals of 10,000 random curves: kinds of errors, and how often they occur. Minutes.
"""

import sys
from collections.abc import Callable
from typing import NoReturn

from experiments.cli import arguments  # before torch: experiments/__init__.py sets how threads wait
from scaling.config.fields import check_name


def _benchmarks() -> dict[str, list[Callable[[], object]]]:
    from experiments.benchmarks import (
        adaptive,
        curve_coverage,
        curve_losses,
        data_loading,
        detection,
        flexible,
        instruments,
        large_folders,
        law_checks,
        laws,
        mixer,
        models,
        norms,
        overhead,
        packing,
        packing_overhead,
        patch_steps,
        positions,
        scans,
        size_law_checks,
        speed_options,
        table6,
    )

    return {
        "overhead": [overhead.overhead],
        "instruments": [instruments.instruments],
        "test-losses": [curve_losses.curve_losses],
        "data-loading": [data_loading.generation, data_loading.decoding],
        "mixer": [mixer.against_peers, mixer.by_length],
        "scans": [scans.scans],
        "long": [models.long],
        "crossing": [models.crossing],
        "speed-options": [speed_options.speed_options],
        "norms": [norms.norms],
        "flexible": [flexible.steps, flexible.evaluations],
        "packing": [packing.padding, packing.steps],
        "packing-overhead": [packing_overhead.overhead],
        "rope": [positions.steps],
        "adaptive": [adaptive.steps],
        "patch-steps": [patch_steps.patch_steps],
        "detection": [detection.detection],
        "table6": [table6.table6],
        "laws": [laws.laws],
        "coverage": [law_checks.coverage, curve_coverage.coverage_images],
        "coverage-sizes": [size_law_checks.coverage],
        "folders": [large_folders.folders],
        "fuzz": [law_checks.fuzz],
    }


QUICK = (
    "overhead",
    "instruments",
    "data-loading",
    "mixer",
    "speed-options",
    "flexible",
    "patch-steps",
    "adaptive",
    "packing",
    "rope",
    "detection",
)
SLOW = (
    *(
        "test-losses",
        "norms",
        "packing-overhead",
        "scans",
        "long",
        "crossing",
        "table6",
        "laws",
        "coverage",
        "coverage-sizes",
    ),
    *("folders", "fuzz"),
)
OLD_NAMES = {"tax": "overhead", "data": "data-loading", "switches": "speed-options"}


def main() -> int:
    names = [OLD_NAMES.get(word, word) for word in sys.argv[1:]] or list(QUICK)
    if names[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    for name in names:
        check_name("benchmark", name, (*QUICK, *SLOW))
    import torch
    from rich.console import Console

    from scaling.costs.hardware import usable_cores
    from scaling.engine.environment import machine
    from scaling.engine.trainer import hush

    torch.set_num_threads(usable_cores())
    hush()
    console = Console()
    facts, known = machine(), _benchmarks()
    where = ", ".join([facts["processor"], f"{facts['cores']} cores", *facts["gpus"]])
    console.print(f"{where}; torch {torch.__version__}", highlight=False)
    for name in names:
        for benchmark in known[name]:
            console.print(benchmark(), highlight=False)
    return 0


def program() -> NoReturn:
    """The console script patch-bench."""
    arguments.guarded(main)


if __name__ == "__main__":
    program()
