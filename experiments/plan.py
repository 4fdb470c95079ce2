"""Plan of runs before they begin: tokens, FLOPs, memory, micro-batch, hours, GPU-hours and money.

python experiments/plan.py imagenet.adventurer_base --patch 16,8,4,2,1 --gpu a100 [--devices 8] [--price 2.5]
python experiments/plan.py --budget 1e20 | --budget-hours 100 [--gpu a100]      # best model, patch and image for it
python experiments/plan.py --recommend --task segment --image 512 --object 12px --memory 24 --hours 100 --gpu 4090
Takes all options of sweep.py. Nothing is trained; only a budget (experiments/planning/budget.py) writes files.
"""

import sys
from argparse import Namespace
from pathlib import Path
from typing import NoReturn

from analysis.report.output import print_wrapped
from experiments.cli import arguments as cli
from experiments.cli.sweep_options import parser, runs_of
from experiments.launch.local import with_parallel_runs
from experiments.planning import budget, phase_report, plan_report
from experiments.planning.cost_estimate import Chain, Device, chains, device_of
from experiments.planning.plan_report import print_lines
from scaling.config.experiment import ExperimentConfig
from scaling.costs.hardware import CARDS, CPU
from scaling.errors import ConfigError
from scaling.runs.identity import folder_of
from scaling.runs.record import RECORD

LEGEND = (
    "tokens: per image; FLOPs: per epoch, forward and backward; MB/image: training memory; micro: micro-batch per "
    "device; accum: micro-batches per optimiser step; h or min: all epochs and evaluations"
)

OF_CORES = ", on one core; machine-h or -min: with one run per core"


def arguments(argv: list[str]) -> tuple[list[ExperimentConfig], Namespace]:
    """The recipes of all runs, and all options. Raises ConfigError for bad options."""
    p = parser(
        "plan.py",
        "Estimate memory, hours and cost of runs on a device. Nothing is trained. RECIPE: recipes and studies (below), "
        "separated by commas. --recommend --help, --budget 1e20 --help: the best patch, model and image within limits.",
    )
    cards = ", ".join([*CARDS, CPU])
    p.add_argument("--gpu", type=str, default="", help=f"card to plan for: {cards} (default: this machine's)")
    p.add_argument("--price", type=float, default=0.0, help="price of one device-hour, in any currency")
    p.add_argument("--memory", type=float, default=0.0, help="memory of a device, instead of the data sheet's [GB]")
    p.add_argument("--residuals", action="store_true", help="print Table 6, published and predicted, for any card")
    p.add_argument(
        "--measured", action="store_true", help="print measured and predicted times of finished runs on this card"
    )
    args = p.parse_args(argv)
    for name in ("price", "memory"):
        if not 0 <= getattr(args, name) < float("inf"):
            raise ConfigError(f"{name} {getattr(args, name)} must be 0 or more")
    return runs_of(args), args


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if budget.asked(words):
        return budget.main(words)
    if "--recommend" in words:
        from experiments.planning import recommend  # which imports pandas

        return recommend.main(words)
    runs, args = arguments(words)
    if args.print_config:
        cli.print_configs(runs)
        return 0
    # How many runs share a card of another machine is unknown; a GPU is planned for one run.
    accelerator = "" if not args.gpu else "cpu" if args.gpu == CPU else "gpu"
    settings = with_parallel_runs(cli.runtime(args), accelerator)
    on = device_of(settings, Path(args.results), args.gpu)
    if args.memory:
        on = on._replace(card=on.card._replace(memory=1e9 * args.memory))
    show(runs, on, args.price)
    if args.residuals or on.card.name == "a100":
        print()
        print_lines(plan_report.residual_lines())
    if args.measured:
        print()
        print_lines(plan_report.measured_lines(runs, on))
    return 0


def show(runs: list[ExperimentConfig], on: Device, price: float) -> None:
    """Print the tables of every backbone, the total and its assumptions. price: of one device-hour; 0: no cost."""
    found = chains(runs, on)
    by_title: dict[str, list[Chain]] = {}
    for chain in found:
        by_title.setdefault(chain.title, []).append(chain)
    for its in by_title.values():
        print_wrapped(plan_report.heading(its[0], on), indent=2)
        print_lines(plan_report.stage_table(its))
        print()
        if phases := phase_report.phase_table(its, on):
            print_lines(phases)
            print()
        print_lines(plan_report.bill_table(its, on, price))
        print()
    forecasts = [one for chain in found for one in chain.runs]
    print_lines(plan_report.notes(forecasts, on, price))
    done = [one for one in forecasts if (folder_of(one.run, Path(on.where)) / RECORD).exists()]
    if done:
        left = [one for one in forecasts if one not in done]
        print_wrapped(plan_report.total_line(left, on, price, f"left to do in {on.where}"))
    print_wrapped(LEGEND + (OF_CORES if on.card.cores else ""), indent=0)


def program() -> NoReturn:
    """The console script patch-plan."""
    cli.guarded(main)


if __name__ == "__main__":
    program()
