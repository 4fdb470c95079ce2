"""The configuration in a run's folder: config.json, or recipe.json of version 1. Standard library only."""

import json
import os
from pathlib import Path

from scaling.config.experiment import ExperimentConfig
from scaling.config.legacy import from_flat
from scaling.errors import ConfigError
from scaling.runs.atomic_files import write_atomically

CONFIG = "config.json"
RECIPE = "recipe.json"  # of version 1


def write_config(config: ExperimentConfig, folder: Path) -> None:
    """Write folder/config.json: the run_id and the configuration, all of it or nothing. One that is there stays."""
    run_id = stored_id(folder / CONFIG) or config.run_id
    text = json.dumps({"run_id": run_id, "config": config.to_dict()}, indent=1, allow_nan=False)
    write_atomically(folder / CONFIG, text + "\n")


def config_path(folder: Path) -> Path | None:
    """The file in a run's folder that holds its configuration; None where there is none."""
    # Path.is_file raises where a name is too long
    return next((folder / name for name in (CONFIG, RECIPE) if os.path.isfile(folder / name)), None)


def stored_id(path: Path) -> str:
    """The run_id in config.json or a record; empty where there is none."""
    try:
        return str(json.loads(path.read_text())["run_id"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""


def read_config(path: Path) -> ExperimentConfig:
    """The configuration in a file of a run's folder. Raises ConfigError, OSError, ValueError or RecursionError."""
    values = json.loads(path.read_text())
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {values!r}, not a mapping")
    return from_flat(values) if path.name == RECIPE else config_of(values)


def config_of(values: dict[str, object]) -> ExperimentConfig:
    """The configuration of a record or of config.json, of version 1 too. Raises ConfigError."""
    recipe = values.get("recipe")
    if "config" not in values and isinstance(recipe, dict):
        return from_flat(recipe)
    return ExperimentConfig.from_dict(values.get("config"))
