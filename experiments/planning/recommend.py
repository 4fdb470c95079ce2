"""Recommendation: patch, model and image size for a task, a budget and the smallest object.

python experiments/plan.py --recommend --task segment --image 512 --object 12px --memory 24 --hours 100 --gpu 4090
Hours and memory are those that plan.py computes for the task's recipe of the paper, or for the runs in --results of
this task and at most this image size; predicted errors are those of a published law, or of these runs. Prints, and
writes nothing. Status 1: an answer, but nothing fits.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from analysis.claims.applications import application_for
from analysis.planning.object_size import NEEDED
from analysis.report.output import Parser, print_wrapped
from analysis.report.recipes_option import add_recipes
from experiments.planning.candidates import own_candidates, patches_of, published_candidates
from experiments.planning.choice import Choice, Limits
from experiments.planning.cost_estimate import Device, device
from scaling.costs.hardware import CARDS, CPU
from scaling.errors import ConfigError

if TYPE_CHECKING:
    from analysis.records.groups import Group
    from scaling.config.experiment import ExperimentConfig

SMALLEST, LARGEST = 8, 2**16  # sides of an image [px]
NOTHING = 1  # exit status where nothing fits


class OwnRuns(NamedTuple):
    """Groups of a results folder that have a law, largest images first, and the configuration of a run of each."""

    groups: list["Group"]
    configs: list["ExperimentConfig"]


def main(argv: Sequence[str]) -> int:
    """Print a recommendation. Raises ConfigError for bad options."""
    args = _parser().parse_args(argv)
    _check_ranges(args)
    own_data = _own_data(args)
    on = device(args.gpu, args.devices or 0, Path(args.results))
    if args.memory:
        on = on._replace(card=on.card._replace(memory=1e9 * args.memory))
    limits = Limits(args.hours, on.card.memory, _pixels(args.object), args.image)
    prior = application_for(args.task, args.application)
    patches_of(args.task, args.image)  # refuses an image that no patch divides, before laws are fitted

    from experiments.planning.recommend_text import Asked, nothing_line, recommendation

    found = choice(args.task, limits, on, Path(args.results), own_data)
    if found.answer < 0:
        print_wrapped(nothing_line(found, on), indent=2)
        return NOTHING
    if not args.application and (own_data or found.candidates[0].group >= 0):
        prior = None  # the table's row for a task is of ImageNet or COCO
    for line in recommendation(found, Asked(on, prior, args.results, args.gpu, args.memory, args.devices or 0)):
        print_wrapped(line, indent=len(line) - len(line.lstrip()) + 2)
    return 0


def choice(task: str, limits: Limits, on: Device, results: Path, own_data: tuple[int, int] | None) -> Choice:
    """The candidates with their predictions: of own runs where the folder has a law of the task, else published."""
    from analysis.planning import predicted_error as laws

    own = own_runs(task, limits.original, results)
    if own.groups:
        candidates = list(own_candidates(own.configs, task, on))
        which, sizes = [one.group for one in candidates], [one.patch for one in candidates]
        return Choice(task, candidates, laws.own(own.groups, which, sizes, str(results)), limits)
    models = laws.published_models(task)
    candidates = list(published_candidates(task, models, limits.original, on, own_data))
    dense = task != "classify"  # the law's patch is then in pixels of the original image
    patches = [one.patch * limits.original / one.image if dense else float(one.patch) for one in candidates]
    images = [float(one.image) for one in candidates]
    predicted = laws.published(task, [one.model for one in candidates], patches, images)
    return Choice(task, candidates, predicted, limits)


def own_runs(task: str, image: int, results: Path) -> OwnRuns:
    """The groups of a folder of this task whose images are at most `image` px and that have a law, where some are of
    this size. Raises ConfigError where they are of several data sets, whose losses cannot be compared."""
    if not results.is_dir():
        return OwnRuns([], [])
    from analysis.planning.predicted_error import has_law
    from analysis.records.groups import own_groups
    from analysis.records.run_set import load
    from scaling.runs.record import RunRecord

    groups = [
        group
        for group in own_groups(load(results))[0]
        if group.about["task"] == task and int(group.about["image"]) <= image and has_law(group)
    ]
    if all(int(group.about["image"]) != image for group in groups):
        return OwnRuns([], [])
    data = sorted({str(group.about["data"]) for group in groups})
    if len(data) > 1:
        raise ConfigError(
            f"{results} has runs of {' and '.join(data)}, whose losses cannot be compared; name a folder of one data "
            "set with --results"
        )
    groups.sort(key=lambda group: -int(group.about["image"]))
    firsts = (str(group.points["run_id"].iloc[0]) for group in groups)
    return OwnRuns(groups, [RunRecord.load(results / run).experiment() for run in firsts])


def _pixels(text: str | None) -> float:
    """12px or 12: 12.0; None: 0, no size is required. Raises ConfigError."""
    if text is None:
        return 0.0
    try:
        found = float(text.removesuffix("px"))
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise ConfigError(f"--object {text!r} must be the side of the smallest object in pixels, such as 12px")
    return found


def _check_ranges(args: argparse.Namespace) -> None:
    """Raise ConfigError for limits and sizes out of their range."""
    for name in ("memory", "hours"):
        value = getattr(args, name)
        if value is not None and not value > 0:  # also nan
            raise ConfigError(f"--{name} {value:g} must be above 0")
    if args.devices is not None and args.devices < 1:
        raise ConfigError(f"--devices {args.devices} must be 1 or more")
    if Path(args.results).is_file():
        raise ConfigError(f"--results {args.results} is a file, not a results folder")
    if not SMALLEST <= args.image <= LARGEST:
        raise ConfigError(f"--image {args.image} must be a side of {SMALLEST} to {LARGEST:,} px")
    if _pixels(args.object) > args.image:
        raise ConfigError(f"--object {args.object} is larger than the image; --image {args.image} is its side")


def _own_data(args: argparse.Namespace) -> tuple[int, int] | None:
    """Training images and epochs; None: those of the recipe. Raises ConfigError."""
    given = [args.images is not None, args.epochs is not None]
    if not any(given):
        return None
    if not all(given):
        raise ConfigError("--images and --epochs go together: your training images, and how often each is seen")
    if args.images < 1 or args.epochs < 1:
        raise ConfigError(f"--images {args.images} and --epochs {args.epochs} must be 1 or more")
    return args.images, args.epochs


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "plan.py --recommend --help", prog="plan.py", description=(__doc__ or "").splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--recommend", action="store_true", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--task", choices=tuple(NEEDED), required=True, help="what the model is for")
    parser.add_argument("--image", type=int, required=True, metavar="PX", help="side of your images, or of their crops")
    parser.add_argument(
        "--object", metavar="PX", help="side of the smallest object that must be found, as 12px (default: any)"
    )
    parser.add_argument("--memory", type=float, metavar="GB", help="memory of a card (default: the data sheet's)")
    parser.add_argument(
        "--hours", type=float, default=math.inf, metavar="H", help="wall time of training on all devices (default: any)"
    )
    parser.add_argument("--gpu", default="", help=f"card: {', '.join([*CARDS, CPU])} (default: this machine's)")
    parser.add_argument("--devices", type=int, metavar="N", help="cards that share the run (default: one)")
    of_paper = "(default: those of the paper's recipe)"
    parser.add_argument("--images", type=int, metavar="N", help=f"your training images, with --epochs {of_paper}")
    parser.add_argument("--epochs", type=int, metavar="E", help=f"how often each is seen {of_paper}")
    parser.add_argument(
        "--application", default="", metavar="NAME", help="row of the prior table: medical, satellite, face, mobile ..."
    )
    parser.add_argument(
        "--results",
        metavar="DIR",
        default="results",
        help="runs of yours, whose laws and speed are used (default: %(default)s)",
    )
    add_recipes(parser)
    return parser
