"""The launchers that runs can have, by the name of the option --launcher."""

from argparse import ArgumentParser
from collections.abc import Callable

from experiments.launch.launcher import Launcher, Watch
from experiments.launch.local import LocalPool
from experiments.launch.slurm import SlurmPool
from experiments.launch.slurm_options import in_job
from experiments.launch.slurm_queue import check_slurm
from scaling.config.fields import check_name
from scaling.config.runtime import RuntimeConfig
from scaling.errors import ConfigError

# made of jobs at a time (0: not limited), and who watches
LAUNCHERS: dict[str, Callable[[int, Watch], Launcher]] = {"local": LocalPool, "slurm": SlurmPool}


def add_option(parser: ArgumentParser) -> None:
    """The option --launcher of a program."""
    names = ", ".join(LAUNCHERS)
    parser.add_argument("--launcher", default="local", metavar="NAME", help=f"where runs are trained: {names}")


def settings_for(launcher: str, settings: RuntimeConfig) -> RuntimeConfig:
    """The settings as runs of this launcher have them. Raises ConfigError."""
    check_name("launcher", launcher, LAUNCHERS)
    if launcher == "slurm":
        return in_job(settings)
    if settings.slurm:
        raise ConfigError(f"--slurm is for --launcher slurm, and this is --launcher {launcher}")
    return settings


def check_here(launcher: str) -> None:
    """Raise ConfigError where this host has no such launcher."""
    if launcher == "slurm":
        check_slurm()
