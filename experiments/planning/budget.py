"""Budget: the model, patch and image that FLOPs or GPU-hours of training buy the least error with.

python experiments/plan.py --budget 1e20 [--gpu a100] [--out DIR]
python experiments/plan.py --budget-hours 100,1000 --gpu h100
First the frontier of what was measured, Adventurer's numbers in Tables 1 and 4 of arXiv 2502.03738, which needs no law;
then what a law of these numbers picks (analysis/planning/allocation.py), how often each pick wins among laws that might
have been fitted, and what the law misses of rows and released models that it has not seen
(analysis/fitting/surface_selection.py). Costs are those of all stages of imagenet.adventurer_*. Prints, and writes
tables and a figure to DIR.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.report.output import Parser, print_wrapped, write_files
from experiments.cli.arguments import resolve
from experiments.planning.cost_estimate import Device, device, forecast
from scaling import costs
from scaling.costs.hardware import CARDS
from scaling.errors import ConfigError
from scaling.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

    from analysis.planning.allocation import Surface

OPTIONS = ("--budget", "--budget-hours")
SPAN = (1e17, 1e22)  # of the frontier that is printed [FLOPs]
CURVES = (1e19, 1e20, 1e21, 1e22)  # budgets that are drawn by patch size [FLOPs]
COARSEST = 16  # patch of the paper's usual models [px]
DRAWS = 200  # resampled laws: a share of them is known to 7 points, twice its standard error, at most
OUT = "results/plan"


def asked(argv: Sequence[str]) -> bool:
    """Whether a command line of plan.py asks for a budget."""
    options = Parser("plan.py --help", add_help=False, allow_abbrev=False)
    for option in OPTIONS:
        options.add_argument(option, nargs="?", const="", dest="asked")
    return options.parse_known_args(list(argv))[0].asked is not None


def main(argv: Sequence[str]) -> int:
    """Print what the budgets buy and the frontier, and write both. Raises ConfigError."""
    args = _parser().parse_args(argv)
    hours = args.budget_hours is not None
    budgets = _numbers(args.budget_hours if hours else args.budget, OPTIONS[hours])
    on = device(args.gpu, args.devices, Path(args.results))

    from analysis.fitting.surface_selection import wins
    from analysis.planning.allocation import best, configurations, frontier, published_surface
    from analysis.planning.measured_pareto import measured, steps
    from analysis.plots import style
    from analysis.plots.allocation import optimal_figure

    surface = published_surface()
    configured = configurations(surface, training=training_flops)
    if hours:
        configured = configured.assign(gpu_hours=[gpu_hours(row, on) for row in configured.to_dict("records")])
    cost = "gpu_hours" if hours else "training_flops"
    bought, won = best(configured, budgets, cost), wins(surface, configured, budgets, cost, DRAWS)
    points = measured(training_flops)
    print("\n".join(measured_lines(points, steps(points))) + "\n")
    print(f"What training buys, by a law of {surface.source}\n")
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
    files |= style.files("optimal", optimal_figure(surface, configured, points, CURVES))
    out = Path(args.out)
    write_files(out, files)
    print_wrapped(f"wrote to {out}: {', '.join(f'{name}.csv' for name in tables)}, optimal.png|pdf", indent=2)
    return 0


NOTES = (
    "FLOPs: of all stages, forward and backward. error: top-1 error on ImageNet-1k with the 95 % interval of one "
    "measurement there. wins: of laws refitted to errors that rows have in common, how many pick it; else: what most "
    "of the others pick. beyond: extrapolated, in what; pair: model and image were each measured, never together."
)


def measured_lines(points: "pd.DataFrame", gained: "pd.DataFrame") -> list[str]:
    """The measured frontier, and what a step from patch 16 gained."""
    on = points[points["frontier"]]
    lines = ["What was measured: Adventurer in Tables 1 and 4, no cheaper one as good", ""]
    lines += [f"{'model':<17}{'patch':>6}{'image':>6}{'FLOPs':>9}{'error':>7}", "-" * 45]
    lines += [f"{_named(row)}{row['y']:>7.1f}" for row in on.to_dict("records")]
    below = int((on["patch"] < COARSEST).sum())
    lines += ["", f"{below} of {len(on)} have patches below {COARSEST} px. Points of error an e-fold of FLOPs gained:"]
    lines += [f"{'from, at patch 16':<24}{'to patch 8':>11}{'to the next model':>19}"]
    for row in gained.to_dict("records"):
        name = f"{row['model']} {row['image']:g} px"
        lines.append(f"{name:<24}{row['by_patch']:>11.2f}{row['by_model']:>19.2f}")
    return lines


def trust_lines(surface: "Surface") -> list[str]:
    """What the law misses of what it has not seen."""
    from analysis.fitting.surface_selection import forms_weighed, released
    from analysis.planning.allocation import row_misses

    misses = 100 * (row_misses(surface.points, surface.law.form)["miss"].map(math.exp) - 1)
    worst, unseen = misses.abs().max(), released(surface)
    of = unseen.assign(off=100 * (unseen["predicted"] / unseen["measured"] - 1))
    forms = ", ".join(f"{row.form} {row.aicc:.1f}" for row in forms_weighed(surface).itertuples())
    return [
        f"AICc: {forms}",
        f"rows (a model at an image size) that are left out are missed by {math.sqrt((misses**2).mean()):.1f} % rms, "
        f"{worst:.1f} % at most; {len(of)} released models that are in no table by {of['off'].abs().max():.1f} % at "
        f"most, {int(of['inside'].sum())} of them inside their intervals",
    ]


def stages(model: str, image: int, patch: int) -> list[Recipe]:
    """The recipes that train a model of Table 7 on ImageNet-1k as the paper did."""
    return resolve(f"imagenet.{model.lower().replace('-', '_')}", patch, {"image": image})


def training_flops(model: str, image: int, patch: int) -> float:
    """FLOPs of all stages."""
    return sum(costs.recipe_training_flops(run, costs.IMAGENET_IMAGES) for run in stages(model, image, patch))


def gpu_hours(row: dict[Any, Any], on: Device) -> float:
    """Device-hours of all stages of a configuration; inf where it does not fit."""
    runs = stages(row["model"], int(row["image"]), int(row["patch"]))
    hours = sum(forecast(run, on).device_hours for run in runs)
    return math.inf if math.isnan(hours) else hours


def _named(row: dict[Any, Any]) -> str:
    """A configuration and its cost."""
    flops = f"{row['training_flops']:.1e}".replace("e+", "e")
    return f"{row['model']:<17}{row['patch']:>6g}{row['image']:>6g}{flops:>9}"


def _error(row: dict[Any, Any]) -> str:
    return f"{row['predicted']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"


def _bought(rows: "pd.DataFrame", won: "pd.DataFrame", budget: str) -> list[str]:
    """What each budget buys, and how often; under it what else it might."""
    lines = [f"{budget:>13} {'model':<17}{'patch':>6}{'image':>6}{'FLOPs':>9}  {'error':<18} wins", "-" * 80]
    for row in rows.to_dict("records"):
        its = won[won["budget"] == row["budget"]]
        mine = (its["model"] == row["model"]) & (its["patch"] == row["patch"]) & (its["image"] == row["image"])
        share = float(its.loc[mine, "share"].sum())
        lines.append(f"{row['budget']:>13.3g} {_named(row)}  {_error(row):<18}{share:>5.0%}")
        for other in its[~mine].head(1).itertuples():
            lines.append(f"{'else':>13} {other.model:<17}{other.patch:>6g}{other.image:>6g}{other.share:>34.0%}")
    return lines


def _frontier(rows: "pd.DataFrame") -> list[str]:
    """A configuration a line."""
    lines = [f"{'model':<17}{'patch':>6}{'image':>6}{'FLOPs':>9}  {'error':<18} beyond", "-" * 80]
    lines += [f"{_named(row)}  {_error(row):<18} {row['beyond']}".rstrip() for row in rows.to_dict("records")]
    return lines


def _numbers(text: str, option: str) -> list[float]:
    try:
        found = [float(word) for word in text.split(",") if word.strip()]
    except ValueError:
        found = []
    if not found or not all(0 < number < float("inf") for number in found):
        raise ConfigError(f"{option} {text!r} is no budget; numbers above 0 are, separated by commas, as 1e20,1e21")
    return found


def _parser() -> argparse.ArgumentParser:
    how = "plan.py --budget 1e20 --help"
    parser = Parser(how, prog="plan.py", description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    one = parser.add_mutually_exclusive_group(required=True)
    one.add_argument("--budget", metavar="FLOPS", help="of training, forward and backward, with commas between several")
    one.add_argument("--budget-hours", metavar="HOURS", help="of one device's time, with commas between several")
    parser.add_argument("--gpu", default="a100", help=f"of the hours: {', '.join(CARDS)} (default: %(default)s)")
    parser.add_argument("--devices", type=int, default=1, help="that share a run (default: %(default)s)")
    parser.add_argument("--results", metavar="DIR", default="results", help="records that correct the hours")
    parser.add_argument("--out", metavar="DIR", default=OUT, help="where it writes (default: %(default)s)")
    return parser
