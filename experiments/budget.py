"""Budget: the model, patch and image that FLOPs or GPU-hours of training buy the least error with.

python experiments/plan.py --budget 1e20 [--gpu a100] [--out DIR]
python experiments/plan.py --budget-hours 100,1000 --gpu h100
By the law of Adventurer's numbers in Tables 1 and 4 of arXiv 2502.03738 (analysis/optimal.py) and what all stages of
imagenet.adventurer_* cost. Prints, and writes the frontier and the curves of equal cost to DIR.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.output import Parser, print_wrapped, write_files
from experiments.cli import resolve
from experiments.forecast import Device, device, forecast
from scaling import costs
from scaling.costs_cards import CARDS
from scaling.recipe import BadInput, Recipe

if TYPE_CHECKING:
    import pandas as pd

OPTIONS = ("--budget", "--budget-hours")
SPAN = (1e17, 1e22)  # of the frontier that is printed [FLOPs]
CURVES = (1e19, 1e20, 1e21, 1e22)  # of equal cost that are drawn [FLOPs]
OUT = "results/plan"


def asked(argv: Sequence[str]) -> bool:
    """Whether a command line of plan.py asks for a budget."""
    return any(word.split("=")[0] in OPTIONS for word in argv)


def main(argv: Sequence[str]) -> int:
    """Print what the budgets buy and the frontier, and write both. Raises BadInput."""
    args = _parser().parse_args(argv)
    hours = args.budget_hours is not None
    budgets = _numbers(args.budget_hours if hours else args.budget, OPTIONS[hours])
    on = device(args.gpu, args.devices, Path(args.results))

    from analysis import drawing
    from analysis.optimal import best, configurations, frontier, published_surface
    from analysis.optimal_figures import optimal_figure

    surface = published_surface()
    configured = configurations(surface, training=training_flops)
    if hours:
        configured = configured.assign(gpu_hours=[gpu_hours(row, on) for row in configured.to_dict("records")])
    bought = best(configured, budgets, "gpu_hours" if hours else "training_flops")
    unit = f"GPU-h on {on.card.name}" if hours else "FLOPs"
    print(f"What training buys, by the law of {surface.source}\n")
    print("\n".join(_table(bought, unit)) + "\n")
    steps = frontier(configured)
    steps = steps[steps["training_flops"].between(*SPAN)]
    print(f"The frontier from {SPAN[0]:.0e} to {SPAN[1]:.0e} FLOPs\n".replace("e+", "e"))
    print("\n".join(_table(steps, "")) + "\n")
    print_wrapped(surface.law.summary(y="error [%]"), indent=2)
    print_wrapped(NOTES.format(n=len(surface.points)), indent=0)
    files = {"frontier.csv": steps.to_csv(index=False).encode(), "budget.csv": bought.to_csv(index=False).encode()}
    files |= drawing.files("optimal", optimal_figure(surface, configured, CURVES))
    out = Path(args.out)
    write_files(out, files)
    print_wrapped(f"wrote to {out}: frontier.csv, budget.csv, optimal.png|pdf", indent=2)
    return 0


NOTES = (
    "FLOPs: of all stages, forward and backward. error: top-1 error on ImageNet-1k with the 95 % interval of the law, "
    "which rests on {n} numbers of one seed each. beyond: extrapolated, in what; pair: model and image were each "
    "measured, never together."
)


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


def _table(rows: "pd.DataFrame", budget: str) -> list[str]:
    """A configuration a line."""
    head = (f"{budget:>16} " if budget else "") + f"{'model':<17}{'patch':>6}{'image':>6}{'FLOPs':>9}  "
    lines = [head + ("error" if budget else f"{'error':<19} beyond"), "-" * 80]
    for row in rows.to_dict("records"):
        given = f"{row['budget']:>16.3g} " if budget else ""
        error = f"{row['predicted']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"
        size = f"{row['patch']:>6g}{row['image']:>6g}{row['training_flops']:>9.1e}".replace("e+", "e")
        lines.append(f"{given}{row['model']:<17}{size}  {error:<19} {row['beyond']}".rstrip())
    return lines


def _numbers(text: str, option: str) -> list[float]:
    try:
        found = [float(word) for word in text.split(",") if word.strip()]
    except ValueError:
        found = []
    if not found or not all(0 < number < float("inf") for number in found):
        raise BadInput(f"{option} {text!r} is no budget; numbers above 0 are, separated by commas, as 1e20,1e21")
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
