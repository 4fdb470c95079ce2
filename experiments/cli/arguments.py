"""The command line that run.py and sweep.py share: recipes by name, any field of a recipe as an option or from YAML.

Bad input is one line on stderr and exit status 2. Nothing here imports torch: --help answers at once.
"""

import dataclasses
import functools
import inspect
import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from analysis.report.output import until_closed
from experiments.cli.wrong_options import check_once, in_one_line
from experiments.recipes import ade20k, camvid, cifar10, coco, folder, imagenet, nuclei, shapes
from experiments.stages import Function, chain_of, linked, only
from scaling.engine.loggers import check_loggers
from scaling.errors import ConfigError
from scaling.recipe import Recipe, check_name
from scaling.recipe_identity import bare
from scaling.runs.record import RECIPE

LISTED = "`python experiments/run.py --help`"  # where all recipes are
FIELDS = dataclasses.fields(Recipe)
SETTINGS = {  # name: type, default, help; what scaling.engine.train.Settings takes
    "accelerator": (str, "auto", "where to compute: auto, cpu, gpu"),
    "devices": (str, "auto", "how many devices, or which: auto, 2, 0,1"),
    "threads": (int, 0, "CPU threads for arithmetic; 0: one a usable core, fewer where steps are small"),
    "workers": (int, -1, "processes that read and decode image files; -1: by the number of cores"),
    "checkpoint_minutes": (float, 10.0, "longest time between checkpoints [min]; every end of an epoch has one too"),
    "nodes": (int, 1, "machines that share a run, each started by torchrun or SLURM"),
    "strategy": (str, "auto", "how several devices share a run: auto (ddp), ddp, fsdp"),
    "micro_batch": (int, 0, "images that a device takes at a time; the batch stays what it is; 0: what memory holds"),
    "recompute": (bool, False, "activation checkpointing: less memory, more time"),
    "compile": (bool, False, "torch.compile the backbone"),
    "channels_last": (bool, False, "images in channels-last memory"),
    "save_predictions": (int, 0, "pictures of so many test images with their labels and predictions"),
    "export_coco": (bool, False, "detections on the test images as COCO results, in the run's folder"),
    "logger": (str, "", "tensorboard, wandb, mlflow, separated by commas; curve.csv is always written"),
}


def recipes() -> dict[str, Function]:
    """Every recipe by its name on the command line, as "shapes.deit_nano": a function of the patch size [px], and where
    its stages depend on it of the image size."""
    return {
        f"{module.__name__.rsplit('.', 1)[-1]}.{name}": function
        for module in (shapes, folder, cifar10, imagenet, ade20k, camvid, coco, nuclei)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


class Parser(ArgumentParser):
    """jsonargparse's, with errors of one line."""

    def parse_args(self, args: list[str], **more: Any) -> Namespace:  # type: ignore[override]
        for word, after in pairwise([*args, ""]):
            if word == "--config" or word.startswith("--config="):
                check_once(word.partition("=")[2] or after)
        found = super().parse_args(args, **more)
        for name in ("results", "weights"):  # no shell expands --results=~/here
            if found.get(name):
                found[name] = os.path.expanduser(found[name])
        return found

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # type: ignore[override]
        raise ConfigError(
            in_one_line(message, [name.lstrip("-").replace("-", "_") for name in self._option_string_actions])
        )


def parser(program: str, what: str, recipe: str) -> Parser:
    """A parser with the options that both programs have. recipe: the help of the positional argument."""
    p = Parser(prog=f"python experiments/{program}", description=what, allow_abbrev=False)
    p.add_argument("recipe", type=str, help=recipe)
    p.add_argument("--config", action="config", help="YAML file with any of the options below")
    p.add_argument("--results", type=str, default="results", help="folder with one folder a run")
    p.add_argument("--print-recipe", action="store_true", help="print the resolved recipe as YAML and exit")
    for name, (kind, default, text) in SETTINGS.items():
        if kind is bool:  # --compile alone, or --compile=false
            p.add_argument(*_spellings(name), action=ActionYesNo, nargs="?", default=default, help=text)
        else:
            p.add_argument(*_spellings(name), type=kind, default=default, help=text)
    return p


def add_fields(p: Parser, leave_out: tuple[str, ...] = ()) -> None:
    """An option for each field of Recipe; one that is not given keeps what the recipe says."""
    group = p.add_argument_group("fields of the recipe, each overriding what the named recipe says")
    for f in FIELDS:
        if f.name not in leave_out:
            text = f.metadata["help"].replace("%", "%%")
            group.add_argument(*_spellings(f.name), type=f.type, default=None, help=text)


def overrides(args: Namespace, leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields that the user set; leave_out: as for add_fields. Fingerprints, which --print-recipe shows of a run,
    every start finds for itself."""
    leave_out = (*leave_out, "data_digest", "weights_digest")
    given = {f.name: args.get(f.name) for f in FIELDS if f.name in args and f.name not in leave_out}
    return {name: value for name, value in given.items() if value is not None}


def resolve(name: str, patch: int, given: dict[str, Any]) -> list[Recipe]:
    """The recipe called name at a patch size [px], stage by stage, with the fields in given replaced in all of them,
    but for image and stage, which choose among the stages. name may be the folder of a run that was begun. Raises
    ConfigError."""
    if (Path(name) / RECIPE).is_file():
        return [_of_run(Path(name), given)]
    known = recipes()
    check_name("recipe", name, known, LISTED)
    function, given = known[name], dict(given)
    if "train_images" in inspect.signature(function).parameters:
        function = functools.partial(function, **_counted(function, given))
    sized = "image" in inspect.signature(function).parameters
    image = {"image": given.pop("image")} if sized and "image" in given else {}
    stage = given.pop("stage", "")
    said = given.pop("start", "")  # by --config with what --print-recipe has printed
    try:
        base = chain_of(function(patch, **image))
    except ConfigError:  # the recipe's own image does not fit the patch; the one that the user asks for may
        if sized:
            raise
        base = chain_of(function(1))
    weights = given.pop("weights", None)
    if said and not weights:  # both are in what was printed, and one of them is empty
        weights = None
    stages = [Recipe(**{**recipe.to_dict(), "patch": patch, **given, "start": ""}) for recipe in base]
    if weights is None:  # the run of another task that it starts from; earlier stages are linked below
        stages[0] = replace(stages[0], start=base[0].start)
    chosen = only(linked(stages) if len(stages) > 1 else stages, stage)
    if weights:  # instead of an earlier stage's
        first = Recipe(**{**chosen[0].to_dict(), **given, "start": "", "weights": weights})
        chosen = linked([first, *chosen[1:]]) if len(chosen) > 1 else [first]
    if said and bare(replace(chosen[0], start=said)) != bare(chosen[0]):
        raise ConfigError("start is what the stages of a recipe say themselves; for other weights there is --weights")
    return chosen


def _counted(function: Function, given: dict[str, Any]) -> dict[str, int]:
    """What a recipe for images of one's own has to know of them: classes, and images to train on. Raises
    ConfigError."""
    from scaling.data.folder_survey import survey

    (example,) = chain_of(function(1))
    said = {name: given.get(name, getattr(example, name)) for name in ("task", "data", "data_root", "unlabelled")}
    found = survey(**said, classes=given.get("classes", 0))
    images = min(found.train_images, given.get("train_images") or found.train_images)
    return {"classes": found.classes, "train_images": math.floor(images * (1 - given.get("val_split", 0.0)))}


def _of_run(folder: Path, given: dict[str, Any]) -> Recipe:
    """The recipe of a run that was begun. Raises ConfigError."""
    if given:
        raise ConfigError(f"{folder} is a run, whose recipe is settled; leave out {', '.join(sorted(given))}")
    try:
        recipe = Recipe.from_dict(json.loads((folder / RECIPE).read_text()))
    except (OSError, ValueError, RecursionError) as e:
        raise ConfigError(f"{folder / RECIPE} cannot be read as a recipe ({e})") from e
    return recipe


def settings(args: Namespace) -> dict[str, Any]:
    """What the machine decides, as keywords of scaling.engine.train.Settings. Raises ConfigError."""
    values = {name: args[name] for name in SETTINGS}
    check_name("accelerator", values["accelerator"], ("auto", "cpu", "gpu", "cuda", "mps"))
    check_name("strategy", values["strategy"], ("auto", "ddp", "fsdp"))
    check_loggers(values["logger"])  # before torch is imported or data are read
    for name in ("nodes", "micro_batch", "save_predictions"):
        if values[name] < (name == "nodes"):
            raise ConfigError(f"{name} {values[name]} must be {int(name == 'nodes')} or more")
    if values["threads"] < 0:
        raise ConfigError(f"threads {values['threads']} must be 0 or more")
    if values["checkpoint_minutes"] < 0:
        raise ConfigError(f"checkpoint_minutes {values['checkpoint_minutes']} must be 0 or more")
    return values


def numbers(text: str, what: str) -> list[int]:
    """Whole numbers from "16,8,4". Raises ConfigError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        found = [int(part) for part in parts]
    except ValueError:
        found = []
    if not found:
        raise ConfigError(f"{what} {text!r} is not a list of whole numbers such as 16,8,4")
    return list(dict.fromkeys(found))


def as_yaml(recipe: Recipe) -> str:
    """The resolved recipe, as --config reads it."""
    return yaml.safe_dump(recipe.to_dict(), sort_keys=False).rstrip()


def check_writable(results: Path) -> None:
    """Raise ConfigError unless a folder `results` is there, or can be made, and can be written; makes nothing."""
    try:
        existing = next(p for p in (results, *results.absolute().parents) if p.exists())
    except OSError as e:  # such as a name that is too long
        raise ConfigError(f"results folder {str(results)[:80]}: {e.strerror}; name another: --results") from e
    if not existing.is_dir():
        raise ConfigError(f"results folder {results}: {existing} is a file; name another: --results")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f"results folder {results}: {existing} cannot be written; name another: --results")


def guarded(main: Callable[[], int]) -> NoReturn:
    """Run a program's main and exit with its status; bad input is one line on stderr and status 2, and a pipe that is
    read no longer, as by `head`, ends it without a word."""
    try:
        sys.exit(until_closed(main))
    except ConfigError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def _spellings(name: str) -> list[str]:
    return list(dict.fromkeys([f"--{name.replace('_', '-')}", f"--{name}"]))
