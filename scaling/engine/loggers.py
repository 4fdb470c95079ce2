"""External loggers by name: tensorboard, wandb, mlflow. curve.csv is always written and needs none.

Their files are in the results folder: TensorBoard's in the folder of the run, the others' in results/wandb and
results/mlflow, which hold all runs of the folder. What they may send goes where the user's own settings of them point
to (WANDB_MODE, MLFLOW_TRACKING_URI); their reports on their own use are off.
"""

import contextlib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from scaling.config.fields import check_name
from scaling.errors import ConfigError

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

NAMES = ("tensorboard", "wandb", "mlflow")
INSTALL = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow-skinny"}
PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX")}  # one of them; else the one of the logger's name
PROJECT = "patch-scaling"  # at W&B
QUIET = {  # unless the user has set them
    "WANDB_SILENT": "true",  # the terminal shows the runs
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # files are what mlflow-skinny can write without a server
}


def names_of(text: str) -> list[str]:
    """The names in "tensorboard,wandb". Raises ConfigError for an unknown one."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        check_name("logger", name, (*NAMES, "csv"))
    return [name for name in dict.fromkeys(names) if name != "csv"]


def check_loggers(text: str) -> None:
    """Raise ConfigError where a logger's package is missing, or W&B would ask for a key."""
    for name in names_of(text):
        if not any(importlib.util.find_spec(package) for package in PACKAGES.get(name, (name,))):
            raise _missing(name)
        if name == "wandb" and not _may_log_in():
            raise ConfigError("logger wandb has no key: run `wandb login`, or set WANDB_MODE=offline to log to files")


def _missing(name: str) -> ConfigError:
    return ConfigError(f"logger {name} needs a package that is not installed: pip install {INSTALL[name]}")


def _may_log_in() -> bool:
    """Whether W&B is offline, or could find a key; a wrong key is its own error."""
    if os.environ.get("WANDB_MODE", "online") != "online" or "WANDB_API_KEY" in os.environ:
        return True
    places = os.environ.get("NETRC", "~/.netrc"), "~/_netrc"
    return any(Path(place).expanduser().is_file() for place in places)


def logged_nothing(text: str) -> str:
    """The note for a run that is finished already."""
    return f"a finished run is not trained again, so nothing is logged to {text}; its losses are in curve.csv"


def make_loggers(text: str, folder: Path, name: str, group: str, values: Mapping[str, object]) -> "list[Logger]":
    """The loggers of a run, or of the laws of a sweep. folder: in the results folder, for TensorBoard's files. name,
    group: what W&B and MLflow show it under. values: its hyper-parameters. Raises ConfigError where a package is
    missing."""
    if not names_of(text):
        return []
    from lightning.pytorch import loggers  # here, so that a name can be checked without torch

    made, results = [], folder.parent.absolute()
    store = results / "mlflow"
    for variable, value in {**QUIET, "WANDB_CACHE_DIR": str(results / "wandb" / "cache")}.items():
        os.environ.setdefault(variable, value)
    for kind in names_of(text):
        try:
            if kind == "tensorboard":
                logger: Logger = loggers.TensorBoardLogger(
                    str(folder), name="tensorboard", version="", default_hp_metric=False
                )
            elif kind == "wandb":
                logger = loggers.WandbLogger(name=name, id=name, group=group, save_dir=str(results), project=PROJECT)
            else:
                store.mkdir(exist_ok=True)
                server = os.environ.get("MLFLOW_TRACKING_URI", store.as_uri())
                logger = loggers.MLFlowLogger(experiment_name=group, run_name=name, tracking_uri=server)
        except ModuleNotFoundError as e:
            raise _missing(kind) from e
        with FileLock(store / ".lock") if kind == "mlflow" else contextlib.nullcontext():
            logger.log_hyperparams(dict(values))  # begins it; two runs of a group make its experiment once
        made.append(logger)
    return made
