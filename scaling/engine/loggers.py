"""External loggers by name: tensorboard, wandb, mlflow. curve.csv is always written and needs none."""

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.config.experiment import ExperimentConfig
from scaling.config.fields import check_name
from scaling.errors import ConfigError

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

NAMES = ("tensorboard", "wandb", "mlflow")


def names_of(text: str) -> list[str]:
    """The names in "tensorboard,wandb". Raises ConfigError for an unknown one."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        check_name("logger", name, (*NAMES, "csv"))
    return [name for name in dict.fromkeys(names) if name != "csv"]


def check_loggers(text: str) -> None:
    """Raise ConfigError where a logger's package is missing."""
    for name in names_of(text):
        packages = {"tensorboard": ("tensorboard", "tensorboardX")}.get(name, (name,))
        if not any(importlib.util.find_spec(package) for package in packages):
            raise ConfigError(f"logger {name} needs a package that is not installed: pip install {packages[0]}")


def logged_nothing(text: str) -> str:
    """The note for a run that is finished already."""
    return f"a finished run is not trained again, so nothing is logged to {text}; its losses are in curve.csv"


def make_loggers(text: str, config: ExperimentConfig, folder: Path) -> "list[Logger]":
    """The loggers of a run, all of whose files are in its folder. Raises ConfigError where a package is missing."""
    from lightning.pytorch import loggers  # here, so that a name can be checked without torch

    made = []
    os.environ.setdefault("WANDB_SILENT", "true")  # the terminal shows the runs
    for name in names_of(text):
        try:
            if name == "tensorboard":
                logger: Logger = loggers.TensorBoardLogger(
                    str(folder), name="tensorboard", version="", default_hp_metric=False
                )
            elif name == "wandb":
                logger = loggers.WandbLogger(
                    name=folder.name,
                    id=folder.name,
                    group=config.group,
                    save_dir=str(folder),
                    project="patch-scaling",
                )
            else:
                server = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{(folder / 'mlflow.db').absolute()}")
                logger = loggers.MLFlowLogger(
                    experiment_name=config.group,
                    run_name=folder.name,
                    tracking_uri=server,
                    artifact_location=str((folder / "mlflow").absolute()),
                )
        except ModuleNotFoundError as e:
            raise ConfigError(f"logger {name} needs a package that is not installed: pip install {name}") from e
        logger.log_hyperparams(config.to_dict())
        made.append(logger)
    return made
