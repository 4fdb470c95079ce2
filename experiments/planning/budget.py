"""Budget: model, patch size and image size with the lowest predicted error for a training budget.

python experiments/plan.py --budget 1e20 [--gpu a100] [--out DIR]
python experiments/plan.py --budget-hours 100,1000 --gpu h100
First the measured Pareto frontier, Adventurer in Tables 1 and 4 of arXiv 2502.03738, without any law; then the choice
of a law fitted to these numbers (analysis/planning/allocation.py), the share of resampled laws that agree with it, and
the law's error on held-out rows and released models (analysis/planning/surface_selection.py). Costs are those of all
stages of imagenet.adventurer_*. Prints, and writes tables and a figure to DIR.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from analysis.report.figure_options import add_figure_options, as_chosen
from analysis.report.output import Parser, print_wrapped, write_files
from experiments.cli.resolve import resolve
from experiments.planning.cost_estimate import Device, device, forecast
from scaling import costs
from scaling.config.experiment import ExperimentConfig
from scaling.costs.hardware import CARDS
from scaling.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from analysis.planning.allocation import Surface

OPTIONS = ("--budget", "--budget-hours")
SPAN = (1e17, 1e22)  # of the printed frontier [FLOPs]
CURVES = (1e19, 1e20, 1e21, 1e22)  # budgets drawn over patch size in the figure [FLOPs]
COARSEST = 16  # patch of the paper's usual models [px]
DRAWS = 200  # resampled laws; twice the standard error of a share of them is at most 7 points
OUT = "results/plan"


class Configuration(TypedDict):
    """A row of a frame of configurations (analysis/planning/allocation.py): the columns that are printed."""

    model: str  # its name in Table 7
    patch: float  # [px]
    image: float  # [px]
    training_flops: float  # [FLOPs]
    predicted: float  # in the unit of the law, and low, high
    low: float
    high: float
    beyond: str
    budget: float  # of best; in the unit of the cost
    y: float  # of measured, in the unit of the law


def asked(argv: Sequence[str]) -> bool:
    """Whether a command line of plan.py asks for a budget."""
    options = Parser("plan.py --help", add_help=False, allow_abbrev=False)
    for option in OPTIONS:
        options.add_argument(option, nargs="?", const="", dest="asked")
    return options.parse_known_args(list(argv))[0].asked is not None


def main(argv: Sequence[str]) -> int:
    """Print and write the best configurations and both frontiers. Raises ConfigError for bad options."""
    args = _parser().parse_args(argv)
    hours, drawn_as = args.budget_hours is not None, as_chosen(args)
    budgets = _numbers(args.budget_hours if hours else args.budget, OPTIONS[hours])
    on = device(args.gpu, args.devices, Path(args.results))

    from analysis.planning.allocation import best, configurations, frontier, published_surface
    from analysis.planning.measured_pareto import measured, steps
    from analysis.planning.surface_selection import wins
    from analysis.plots import style
    from analysis.plots.allocation import optimal_figure
    from analysis.plots.printed import chosen

    surface = published_surface()
    configured = configurations(surface, training=training_flops)
    if hours:
        configured = configured.assign(gpu_hours=[gpu_hours(row, on) for row in _rows(configured)])
    cost = "gpu_hours" if hours else "training_flops"
    bought, won = best(configured, budgets, cost), wins(surface, configured, budgets, cost, DRAWS)
    points = measured(training_flops)
    print("\n".join(measured_lines(points, steps(points))) + "\n")
    print(f"Predicted optimum per budget, by a law of {surface.source}\n")
    print("\n".join(_bought(bought, won, f"GPU-h on {on.card.name}" if hours else "FLOPs")) + "\n")
    found = frontier(configured)
    found = found[found["training_flops"].between(*SPAN)]
    print(f"The law's frontier from {SPAN[0]:.0e} to {SPAN[1]:.0e} FLOPs\n".replace("e+", "e"))
    print("\n".join(_frontier(found)) + "\n")
    print_wrapped(surface.law.summary(y="error [%]"), indent=2)
    for line in trust_lines(surface):
        print_wrapped(line, indent=2)
    print_wrapped(NOTES, indent=0)
    tables = {"measured": points, "frontier": found, "budget": bought, "wins": won}
    files = {f"{name}.csv": table.to_csv(index=False).encode() for name, table in tables.items()}
    with drawn_as:
        files |= style.files("optimal", optimal_figure(surface, configured, points, CURVES))
        endings = chosen().endings
    out = Path(args.out)
    write_files(out, files)
    print_wrapped(f"wrote to {out}: {', '.join(f'{name}.csv' for name in tables)}, optimal.{endings}", indent=2)
    return 0


NOTES = (
    "FLOPs: all stages, forward and backward. error: predicted top-1 error on ImageNet-1k with the 95 % prediction "
    "interval. wins: share of laws refitted to resampled rows that choose this configuration; else: the most frequent "
    "other choice. beyond: what is extrapolated; pair: model and image size were measured, but not together."
)


def measured_lines(points: "pd.DataFrame", gained: "pd.DataFrame") -> list[str]:
    """The measured Pareto frontier, and the error reduction of a step from patch 16."""
    on = points[points["frontier"]]
    lines = ["Measured Pareto frontier: Adventurer, Tables 1 and 4", ""]
    lines += [f"{'model':<17}{'patch':>6}{'image':>6}{'FLOPs':>9}{'error':>7}", "-" * 45]
    lines += [f"{_named(row)}{row['y']:>7.1f}" for row in _rows(on)]
    below = int((on["patch"] < COARSEST).sum())
    lines += [
        "",
        f"{below} of {len(on)} have patches below {COARSEST} px. Error reduction [points] per e-fold of FLOPs:",
    ]
    lines += [f"{'from, at patch 16':<24}{'to patch 8':>11}{'to the next model':>19}"]
    for row in gained.to_dict("records"):
        name = f"{row['model']} {row['image']:g} px"
        lines.append(f"{name:<24}{row['by_patch']:>11.2f}{row['by_model']:>19.2f}")
    return lines


def trust_lines(surface: "Surface") -> list[str]:
    """AICc of the forms, and errors of the law on data that it was not fitted to."""
    from analysis.planning.allocation import row_misses
    from analysis.planning.surface_selection import forms_weighed, released

    misses = 100 * (row_misses(surface.points, surface.law.form)["miss"].map(math.exp) - 1)
    worst, unseen = misses.abs().max(), released(surface)
    of = unseen.assign(off=100 * (unseen["predicted"] / unseen["measured"] - 1))
    forms = ", ".join(f"{row.form} {row.aicc:.1f}" for row in forms_weighed(surface).itertuples())
    return [
        f"AICc: {forms}",
        f"error on held-out rows (a model at an image size): {math.sqrt((misses**2).mean()):.1f} % rms, {worst:.1f} % "
        f"at most; on {len(of)} released models that are in no table: {of['off'].abs().max():.1f} % at most, "
        f"{int(of['inside'].sum())} of them inside their intervals",
    ]


def stages(model: str, image: int, patch: int) -> list[ExperimentConfig]:
    """Recipes of all stages that train a model of Table 7 on ImageNet-1k as in the paper. image, patch: sides [px]."""
    return resolve(f"imagenet.{model.lower().replace('-', '_')}", patch, {"img_size": image})


def training_flops(model: str, image: int, patch: int) -> float:
    """FLOPs of all stages, forward and backward."""
    return sum(costs.recipe_training_flops(run, costs.IMAGENET_IMAGES) for run in stages(model, image, patch))


def gpu_hours(row: Configuration, on: Device) -> float:
    """Device-hours of all stages of a configuration [h]; inf where it does not fit."""
    runs = stages(row["model"], int(row["image"]), int(row["patch"]))
    hours = sum(forecast(run, on).device_hours for run in runs)
    return math.inf if math.isnan(hours) else hours


def _rows(frame: "pd.DataFrame") -> list[Configuration]:
    return cast(list[Configuration], frame.to_dict("records"))


def _named(row: Configuration) -> str:
    """Cells of a configuration and its FLOPs."""
    flops = f"{row['training_flops']:.1e}".replace("e+", "e")
    return f"{row['model']:<17}{row['patch']:>6g}{row['image']:>6g}{flops:>9}"


def _error(row: Configuration) -> str:
    return f"{row['predicted']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"


def _bought(rows: "pd.DataFrame", won: "pd.DataFrame", budget: str) -> list[str]:
    """One line per budget; under it the most frequent other choice of resampled laws."""
    lines = [f"{budget:>13} {'model':<17}{'patch':>6}{'image':>6}{'FLOPs':>9}  {'error':<18} wins", "-" * 80]
    for row in _rows(rows):
        chosen = won[won["budget"] == row["budget"]]
        same = (chosen[["model", "patch", "image"]] == [row["model"], row["patch"], row["image"]]).all(axis=1)
        share = float(chosen.loc[same, "share"].sum())
        lines.append(f"{row['budget']:>13.3g} {_named(row)}  {_error(row):<18}{share:>5.0%}")
        for other in chosen[~same].head(1).itertuples():
            lines.append(f"{'else':>13} {other.model:<17}{other.patch:>6g}{other.image:>6g}{other.share:>34.0%}")
    return lines


def _frontier(rows: "pd.DataFrame") -> list[str]:
    """One line per configuration."""
    lines = [f"{'model':<17}{'patch':>6}{'image':>6}{'FLOPs':>9}  {'error':<18} beyond", "-" * 80]
    lines += [f"{_named(row)}  {_error(row):<18} {row['beyond']}".rstrip() for row in _rows(rows)]
    return lines


def _numbers(text: str, option: str) -> list[float]:
    try:
        found = [float(word) for word in text.split(",") if word.strip()]
    except ValueError:
        found = []
    if not found or not all(0 < number < float("inf") for number in found):
        raise ConfigError(
            f"{option} {text!r} must be one or more numbers above 0, separated by commas, such as 1e20,1e21"
        )
    return found


def _parser() -> argparse.ArgumentParser:
    how = "plan.py --budget 1e20 --help"
    parser = Parser(how, prog="plan.py", description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    one = parser.add_mutually_exclusive_group(required=True)
    one.add_argument(
        "--budget", metavar="FLOPS", help="training FLOPs, forward and backward; several separated by commas"
    )
    one.add_argument("--budget-hours", metavar="HOURS", help="hours of one device; several separated by commas")
    parser.add_argument(
        "--gpu", default="a100", help=f"card that hours refer to: {', '.join(CARDS)} (default: %(default)s)"
    )
    parser.add_argument("--devices", type=int, default=1, help="devices that share a run (default: %(default)s)")
    parser.add_argument(
        "--results",
        metavar="DIR",
        default="results",
        help="folder of records that calibrate the hours (default: %(default)s)",
    )
    parser.add_argument("--out", metavar="DIR", default=OUT, help="output folder (default: %(default)s)")
    add_figure_options(parser)
    return parser
