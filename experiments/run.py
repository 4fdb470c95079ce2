"""Train one run: python experiments/run.py shapes.deit_nano --patch 4 [--epochs 1] [--results DIR] [any field]."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import NoReturn, cast

from experiments.cli import arguments as cli
from experiments.cli.data_check import check_data
from experiments.cli.resolve import resolve
from experiments.launch import registry
from experiments.launch.progress_display import Console, told_apart
from experiments.launch.slurm_jobs import check_not_queued
from experiments.launch.train_all import train_all
from experiments.launch.worker import run_quietly
from scaling.config.experiment import ExperimentConfig
from scaling.config.runtime import RuntimeConfig
from scaling.costs.token_limit import check_tokens
from scaling.data.files.listing_cache import listed_once
from scaling.data.fingerprints import with_fingerprints
from scaling.engine.distributed import is_first_process
from scaling.errors import ConfigError
from scaling.runs.outputs import check_outputs
from scaling.runs.predecessor import check_start
from scaling.runs.teacher import check_teacher


def arguments(argv: list[str]) -> tuple[list[ExperimentConfig], Namespace]:
    """The resolved recipe, stage by stage, and all options. Raises ConfigError."""
    p = cli.parser("run.py", "Train, evaluate and record one run. RECIPE: a recipe (below), or the folder of a run.")
    registry.add_option(p)
    args = p.parse_args(argv)
    given, idle = cli.fields(args)
    patch = cast(int, given.get("patch_size", 16))  # parsed by the type of its field
    return resolve(args.recipe, patch, given, idle, args.before), args


@listed_once()
def main(argv: list[str] | None = None) -> int:
    stages, args = arguments(sys.argv[1:] if argv is None else argv)
    if args.print_config:
        cli.print_configs(stages)
        return 0
    settings, results = registry.settings_for(args.launcher, cli.runtime(args)), Path(args.results)
    registry.check_here(args.launcher)
    cli.check_writable(results)
    check_start(stages[0], results)
    for recipe in stages:
        check_teacher(recipe, results)
        check_tokens(recipe)
        check_outputs(recipe, settings.save_predictions, settings.export_coco)
    # Of several processes that share a run, torchrun's or those that Lightning starts, only the first one prints.
    with Console(quiet=not is_first_process()) as console:
        runs = with_fingerprints(stages, results, notify=console.line).values()
        console.names = told_apart(runs)
        for line in check_data(runs, results):
            console.line(line)
        if args.launcher == "slurm":
            outcomes = train_all(list(runs), results, settings, console, {}, args.launcher)
            return max(outcome.status for outcome in outcomes.values())
        check_not_queued(runs, results)
        for recipe in runs:
            status = _run(recipe, results, settings, console)
            if status:
                return status
    return 0


def _run(recipe: ExperimentConfig, results: Path, settings: RuntimeConfig, console: Console) -> int:
    console.begin(recipe.run_id)
    outcome = run_quietly(recipe, results, settings, lambda event: console.show(recipe.run_id, event))
    if outcome.status == 2:
        raise ConfigError(outcome.text)
    console.finish(recipe.run_id, outcome)
    return outcome.status


def program() -> NoReturn:
    """The console script patch-run."""
    cli.guarded(main)


if __name__ == "__main__":
    program()
