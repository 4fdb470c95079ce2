"""A sweep: train every recipe at every patch size and seed, then fit the laws. Or a study: the runs of one of the
paper's ablations, then its table and figure.

python experiments/sweep.py shapes.deit_nano,shapes.adventurer_nano --patch 16,8,4,2,1 --results DIR [--dry-run]
python experiments/sweep.py shapes.table5 --results DIR
Finished runs are skipped and interrupted ones resumed: after any interruption, run the same command again.
On a cluster: --launcher slurm --slurm partition=gpu,gpus=1,card=a100 (docs/clusters.md).
"""

import sys
from argparse import Namespace
from pathlib import Path
from typing import NoReturn

from analysis.report.figure_options import add_figure_options, as_chosen
from analysis.report.output import print_wrapped
from experiments.cli import arguments as cli
from experiments.cli.data_check import check_data
from experiments.cli.sweep_options import parser, planned, runs_of
from experiments.launch import registry
from experiments.launch.local import with_parallel_runs
from experiments.launch.outcome import recorded
from experiments.launch.progress_display import Console, differing_fields, told_apart, what_else
from experiments.launch.slurm_jobs import check_not_queued
from experiments.launch.slurm_request import device_of_job
from experiments.launch.train_all import train_all
from experiments.stages import waits_for
from experiments.sweep_report import report, report_failures
from experiments.sweep_status import cancel, show
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import SequencePacking
from scaling.config.runtime import RuntimeConfig
from scaling.costs.token_limit import check_tokens
from scaling.data.fingerprints import with_fingerprints
from scaling.errors import ConfigError
from scaling.runs.identity import folder_of, looked_through_once
from scaling.runs.outputs import check_outputs
from scaling.runs.predecessor import check_start
from scaling.runs.run_folder import State, state
from scaling.runs.stop_signals import as_ctrl_c
from scaling.runs.teacher import check_teacher

SEARCH = "--search"  # an option that hands the others to search.py
LIMIT = 24.0  # hours of one device above which a sweep begins with --yes only
PLANNED = {State.NOT_BEGUN: "run", State.RUNNING: "running", State.INTERRUPTED: "resume"}  # of runs without a record


def arguments(argv: list[str]) -> tuple[list[ExperimentConfig], Namespace]:
    """The recipes of all runs, and all options. Raises ConfigError."""
    p = parser(
        "sweep.py",
        "Train every recipe at every patch size and fit the laws; or the runs of a study. RECIPE: recipes and studies "
        "(below), separated by commas.",
    )
    p.add_argument("--dry-run", action="store_true", help="print the planned runs and exit")
    registry.add_option(p)
    p.add_argument(SEARCH, choices=("optuna",), help="search the fields of --vary, as search.py")
    p.add_argument("--status", action="store_true", help="show the state of the runs and exit")
    p.add_argument("--cancel", action="store_true", help="end the runs' jobs on a cluster and exit")
    add_limit(p)
    add_figure_options(p)
    p.without_recipe = ("status", "cancel")
    args = p.parse_args(argv)
    return (runs_of(args) if args.recipe else []), args


def add_limit(p: cli.Parser) -> None:
    """The options that print_plan reads."""
    p.add_argument("--yes", action="store_true", help="start even if the plan exceeds --limit")
    p.add_argument("--limit", type=float, default=LIMIT, help="hours of one device above which a plan needs --yes [h]")


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if SEARCH in argv:
        return _search(argv)
    runs, args = arguments(argv)
    drawn_as = as_chosen(args)
    results = Path(args.results)
    settings = registry.settings_for(args.launcher, cli.runtime(args))
    if args.launcher != "slurm":
        settings = with_parallel_runs(settings)
    if args.print_config:
        cli.print_configs(runs)
        return 0
    if args.status or args.cancel:
        return show(runs, results) if args.status else cancel(runs, results)
    check_possible(runs, settings)  # a sweep would find it out at that run only, a dry run never
    if args.dry_run:
        return print_states(runs, results, settings)
    registry.check_here(args.launcher)
    as_ctrl_c()
    named, runs, expected = prepared(runs, args, settings, args.launcher)
    with Console(names=told_apart(runs)) as console:
        outcomes = train_all(runs, results, settings, console, expected, args.launcher)
    ordinary, studies = planned(args)
    ordinary, studies = (
        [named[run.run_id] for run in ordinary],
        {name: [named[run.run_id] for run in its] for name, its in studies.items()},
    )
    with drawn_as:
        done = {run_id for run_id, outcome in outcomes.items() if outcome.status == 0}
        report(ordinary, studies, results, done, settings.logger)
    return report_failures({run_id: o for run_id, o in outcomes.items() if o.status}, results, console)


def _search(argv: list[str]) -> int:
    """The program search.py, which has options of its own."""
    from experiments import search

    at = argv.index(SEARCH)
    if argv[at + 1 : at + 2] != ["optuna"]:
        raise ConfigError(f"{SEARCH} takes optuna: the fields of --vary are searched, as by search.py")
    return search.main([*argv[:at], *argv[at + 2 :]])


@looked_through_once()
def print_states(runs: list[ExperimentConfig], results: Path, settings: RuntimeConfig) -> int:
    """The dry run: a line for each run, with its outcome or what would be done, and the padding of packed images."""
    known = list(with_fingerprints(runs, results, read=False).values())
    told = {run.run_id: f"{run.run_id.rpartition('-')[0]} {what_else(run)}" for run in known}
    differing = differing_fields(known, told)
    for run in known:
        folder = folder_of(run, results)
        outcome = recorded(folder)
        status = outcome.text if outcome else PLANNED[state(folder)]
        print(" ".join(filter(None, (f"{status:6}", run.run_id, what_else(run), differing[run.run_id]))))
    if packed := [run for run in runs if isinstance(run.packing, SequencePacking)]:
        from experiments.planning import cost_estimate, predicted_packing

        on = device_of_job(settings, results)
        named = [(cost_estimate.title(run), run, cost_estimate.forecast(run, on).micro_batch_size) for run in packed]
        for line in predicted_packing.packing_lines(named, results):
            print_wrapped(line, indent=2)
    return 0


def check_possible(runs: list[ExperimentConfig], settings: RuntimeConfig) -> None:
    """Raise ConfigError where a run would have too many tokens, or none of the outputs that it is asked for."""
    for run in runs:
        check_tokens(run)
        check_outputs(run, settings.save_predictions, settings.export_coco)


def prepared(
    runs: list[ExperimentConfig], args: Namespace, settings: RuntimeConfig, launcher: str, more: int = 0
) -> tuple[dict[str, ExperimentConfig], list[ExperimentConfig], dict[str, float]]:
    """The runs as `checked` returns them, each once, and the training time of each by run_id as `print_plan` does,
    after the checks of the results folder and the data. more: runs like these that follow. Raises ConfigError."""
    results = Path(args.results)
    with looked_through_once():
        named = checked(runs, results)
        todo = list({run.run_id: run for run in named.values()}.values())
        if any(recorded(folder_of(run, results)) is None for run in todo):
            cli.check_writable(results)
    if launcher != "slurm":
        check_not_queued(todo, results)
    expected = print_plan(todo, args, settings, more)
    for line in check_data(todo, results):
        print_wrapped(line)
    return named, todo, expected


def checked(runs: list[ExperimentConfig], results: Path) -> dict[str, ExperimentConfig]:
    """The runs as they are to be trained, by the run_ids of the given ones: with fingerprints of their data and
    weights, by which finished ones are found. Raises ConfigError where one starts from a run that is neither here nor
    among them, or has a teacher that cannot teach."""
    ours = {run.run_id for run in runs}
    for run in runs:
        if waits_for(run) not in ours:
            check_start(run, results)
        check_teacher(run, results)
    return with_fingerprints(runs, results, notify=print)


@looked_through_once()
def print_plan(
    runs: list[ExperimentConfig], args: Namespace, settings: RuntimeConfig, more: int = 0
) -> dict[str, float]:
    """Print a plan of the runs without a record. Returns the training time of each, by run_id [s]; nan: not known.
    more: runs like these that follow.

    Raises ConfigError where all of them take longer than the limit, without --yes."""
    from experiments.planning import cost_estimate, plan_report

    left = [run for run in runs if recorded(folder_of(run, Path(args.results))) is None]
    if not left:
        return {}
    try:
        on = device_of_job(settings, Path(args.results))
    except ConfigError as e:
        print(f"no plan: {e}")
        return {}
    found = cost_estimate.chains(left, on)
    its = [one for chain in found for one in chain.runs]
    plan_report.print_lines([*plan_report.sweep_table(found, on), *plan_report.notes(its, on, what="left to do")])
    hours = cost_estimate.total(its) * (1 + more / len(left))
    if more:
        print(f"with {more:,} runs that follow: {plan_report.duration(hours, on)}")
    if not (hours <= args.limit or args.yes):
        took = f"{plan_report.number(hours)} {plan_report.unit_of(on)} on {on.name}"
        raise ConfigError(
            f"the plan is {took}, above the limit of {args.limit:g} h; --yes begins it, --limit sets another, and "
            "larger patches or fewer --epochs take less"
        )
    return {one.run.run_id: 3600 * one.hours / max(1, cost_estimate.conditions(one.run, on).threads) for one in its}


def program() -> NoReturn:
    """The console script patch-sweep."""
    cli.guarded(main)


if __name__ == "__main__":
    program()
