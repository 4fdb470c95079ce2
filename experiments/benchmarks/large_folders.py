"""Times of what looks at all runs of a results folder, with thousands of runs in it whose records are generated.

Each is a process of its own, as a user starts it, on files that are in the page cache. Half of the runs are of a few
recipes with many seeds, half of many recipes with few.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.table import Table

from experiments.benchmarks.timing import progress
from experiments.recipes.shapes import adventurer_nano, deit_nano
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.runs.config_file import CONFIG
from scaling.runs.environment import REPOSITORY
from scaling.runs.evaluations import evaluation
from scaling.runs.record import RECORD, RunRecord

RUNS = 10_000
PATCHES = (16, 8, 4, 2, 1)
TURNS = 3
LOAD = "import sys; from analysis.records.run_set import load; load(sys.argv[1])"


def folders() -> Table:
    """A row per command: wall time and CPU time of it, mean and range over the turns."""
    table = Table("command", "wall time [s]", "CPU time [s]", title=f"{RUNS:,} generated runs in one folder")
    seeds = ",".join(map(str, range(RUNS // 2 // (2 * len(PATCHES)))))
    sweep = [sys.executable, "experiments/sweep.py"]
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        commands = {
            "analysis.records.run_set.load": [sys.executable, "-c", LOAD, folder],
            "sweep.py --status": [*sweep, "--status", "--results", folder],
            "sweep.py --dry-run (half of the runs)": [
                *(*sweep, "shapes.deit_nano,shapes.adventurer_nano", "--seeds", seeds),
                *("--dry-run", "--results", folder),
            ],
        }
        for name, command in commands.items():
            found = [_timed(command) for _ in progress(range(TURNS), name)]
            table.add_row(name, *(_spread(times) for times in zip(*found, strict=True)))
    return table


def generate(results: Path) -> None:
    """Write the folders of the runs: config.json and record.json."""
    both = (deit_nano, adventurer_nano)
    many_seeds = RUNS // 2 // (len(both) * len(PATCHES))
    for recipe in both:
        for patch in PATCHES:
            for number in range(many_seeds):
                _write(edit(recipe(patch), seed=number), results)
                _write(edit(recipe(patch), seed=number % 5, lr=3e-3 + 1e-5 * (number // 5)), results)


def _write(config: ExperimentConfig, results: Path) -> None:
    folder = results / config.run_id
    folder.mkdir()
    values, loss = config.to_dict(), 1 / config.model.patch_size
    (folder / CONFIG).write_text(json.dumps({"run_id": config.run_id, "config": values}))
    record = RunRecord(
        run_id=config.run_id,
        group=config.group,
        config=values,
        status="finished",
        test_loss=loss,
        metrics={"top1": 50.0, "train_loss": loss},
        tokens=16,
        parameters=100_000,
        flops_per_image=1e6,
        peak_memory=2**25,
        images_per_second=1e3,
        wall_time=1.0,
        evaluations=[evaluation(config.model.patch_size, 16, "raw", {"test_loss": loss, "top1": 50.0})],
    )
    (folder / RECORD).write_text(json.dumps(dataclasses.asdict(record)))


def _timed(command: list[str]) -> tuple[float, float]:
    """Wall and CPU time of a process [s]."""
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    spent = sum(after[2:4]) - sum(before[2:4])  # of children that have ended
    return time.perf_counter() - began, spent


def _spread(times: tuple[float, ...]) -> str:
    return f"{statistics.mean(times):.1f} ({min(times):.1f} to {max(times):.1f})"
