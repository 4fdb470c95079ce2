"""From the name of a recipe and the fields that the user set to configurations, stage by stage."""

import functools
import inspect
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import cast

from experiments.cli.plugin_recipes import recipes_in
from experiments.cli.stage_options import resampled, stage_options, takes_image
from experiments.recipes import ade20k, camvid, cifar10, coco, folder, imagenet, nuclei, shapes
from experiments.stages import Function, chain_of, linked, only
from scaling.config.edit import edit, edit_where, value_of
from scaling.config.experiment import ExperimentConfig
from scaling.config.fields import check_name
from scaling.config.identity import bare
from scaling.config.initialization import Scratch
from scaling.config.plugin_files import check_loaded, guarded, loaded
from scaling.errors import ConfigError, PluginNeededError
from scaling.runs.config_file import config_path, read_config

MODULES = (shapes, folder, cifar10, imagenet, ade20k, camvid, coco, nuclei)
OF_PLUGIN = ("recipes", "recipes_digest")  # fields that name the plug-in of a run, which it has already
LISTED = "`python experiments/run.py --help`"  # where all recipes are


def recipes() -> dict[str, Function]:
    """Every recipe by its name on the command line, as "shapes.deit_nano": a function of the patch size [px], and where
    its stages depend on it of the image size."""
    found: dict[str, Function] = {}
    for module in MODULES:
        found |= recipes_in(module, module.__name__.rpartition(".")[2])
    plugin = loaded()
    if plugin is None:
        return found
    if any(name.startswith(f"{plugin.name}.") for name in found):
        raise ConfigError(
            f"--recipes {plugin.source}: its recipes would be {plugin.name}.NAME, as those that are there already; "
            "rename it"
        )
    return found | {name: guarded(one, plugin) for name, one in recipes_in(plugin.module, plugin.name).items()}


def by_module() -> dict[str, list[str]]:
    """The names of recipes by the first part: {"shapes": ["deit_nano", ...]}."""
    found: dict[str, list[str]] = {}
    for name in recipes():
        module, _, last = name.partition(".")
        found.setdefault(module, []).append(last)
    return found


def resolve(
    name: str,
    patch: int,
    given: Mapping[str, object],
    idle: Collection[str] = frozenset(),
    before: ExperimentConfig | None = None,
) -> list[ExperimentConfig]:
    """The configurations of the recipe called name at a patch size [px], stage by stage, with the fields in given
    replaced in all of them, but for img_size and stage, which choose among the stages, and initial weights, which are
    the first stage's. idle: fields that are ignored where they do not apply. before: the run that the first stage must
    start from; None: any. name may be the folder of a run that was begun. Raises ConfigError."""
    if (run := config_path(Path(name))) is not None:
        return [_of_run(Path(name), run, given)]
    known = recipes()
    check_name("recipe", name, known, LISTED)
    function = known[name]
    if "train_images" in inspect.signature(function).parameters:
        function = functools.partial(function, **_counted(function, given))
    options = stage_options(function, given)
    first = options.first
    try:
        base = chain_of(function(patch, **options.image))
    except ConfigError:  # the recipe's own image does not fit the patch; the one that the user asks for may
        if takes_image(function):
            raise
        base = chain_of(function(1))
    shared = {**options.shared, "patch_size": patch}
    stages = [edit_where(edit(config, init=Scratch()), shared, idle) for config in base]
    if not first:  # the run of another task that it starts from; earlier stages are linked below
        stages[0] = edit(stages[0], init=base[0].init)
    chosen = only(linked(stages) if len(stages) > 1 else stages, options.stage)
    if first:  # instead of an earlier stage's
        start = edit(edit(chosen[0], init=Scratch()), **first)
        chosen = linked([start, *chosen[1:]]) if len(chosen) > 1 else [start]
    if before is not None and not first:
        _check_before(name, chosen[0], before)
    return resampled(chosen, options.resampling, required="pos_embed_resampling" not in idle)


def _check_before(name: str, config: ExperimentConfig, before: ExperimentConfig) -> None:
    """Raise ConfigError unless a configuration starts from the run before, wherever its data are."""
    if config.predecessor is None or bare(config.predecessor) != bare(before):
        raise ConfigError(
            f"the file's configuration starts from {before.run_id}, which is not the stage before in recipe {name}; "
            "for other weights there is --initial-checkpoint"
        )


def _counted(function: Function, given: Mapping[str, object]) -> dict[str, int]:
    """Arguments of a recipe for a folder of own images: number of classes, and of images to train on. Raises
    ConfigError."""
    from scaling.data.batch import IGNORE_INDEX
    from scaling.data.files.folder_survey import survey

    (example,) = chain_of(function(1))
    names = ("task", "dataset", "data_root", "ignore_index")
    task, data, data_root, ignored = (given.get(name, value_of(example, name)) for name in names)
    found = survey(  # the casts: options were parsed by the types of their fields
        task=cast(str, task),
        data=cast(str, data),
        data_root=cast(str | None, data_root) or "",
        ignore_index=IGNORE_INDEX if ignored is None else cast(int, ignored),
        classes=cast(int, given.get("num_classes", 0)),
    )
    images = min(found.train_images, cast(int | None, given.get("num_train")) or found.train_images)
    held_out = cast(float, given.get("val_split", 0.0))
    return {"classes": found.classes, "train_images": math.floor(images * (1 - held_out))}


def _of_run(folder: Path, run: Path, given: Mapping[str, object]) -> ExperimentConfig:
    """The configuration of a run that was begun. run: its file. Raises ConfigError."""
    if others := sorted(set(given) - set(OF_PLUGIN)):
        raise ConfigError(f"{folder} is a run, whose configuration is settled; leave out {', '.join(others)}")
    try:
        config = read_config(run)
    except PluginNeededError as e:
        raise ConfigError(f"{folder}: {e}") from e
    except (OSError, ValueError, RecursionError) as e:
        raise ConfigError(f"{run} cannot be read as a configuration ({e})") from e
    check_loaded(config.plugin, str(folder))
    return config
