"""What jobs of the launcher slurm ask for: the option --slurm KEY=VALUE,… as values. No torch."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from scaling.config.runtime import RuntimeConfig
from scaling.costs.hardware import card_called
from scaling.errors import ConfigError

# Lines of sbatch that follow from other options or that the launcher needs for itself: what sets them.
TAKEN = {
    "nodes": "--num-nodes",
    "ntasks": "--devices and --num-nodes",
    "ntasks-per-node": "--devices",
    "gpus-per-node": "gpus",
    "gpus-per-task": "gpus",
    "array": "runs, and --max-parallel-runs for the jobs at a time",
    "dependency": "the stages of a recipe",
    "signal": "warn",
    **dict.fromkeys(("output", "error", "open-mode", "requeue", "no-requeue", "chdir", "wait", "wrap"), "the launcher"),
}
NAME = re.compile(r"[a-z][a-z0-9-]*")
CPUS_PER_GPU = 8  # cores that a GPU's job asks for, which read and decode its images, where cpus-per-task is not given


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """lines: further lines of sbatch, by name; among them time and mem where they replace the plan's."""

    gpus: int = 0  # per node
    runs: int = 1  # per job, one after the other in one process
    card: str = ""  # GPU that the plan's hours are for, as plan.py --gpu names it
    factor: float = 2.0  # time and memory of a job over those of its plan [1]
    warn: int = 120  # before its time limit at which a job is to save its run [s]
    lines: tuple[tuple[str, str], ...] = ()

    def line(self, name: str) -> str:
        """The value of a line of sbatch; empty: there is none."""
        return dict(self.lines).get(name, "")

    def cpus(self, settings: RuntimeConfig) -> int:
        """Cores per task."""
        given = self.line("cpus-per-task")
        return int(given) if given else CPUS_PER_GPU if self.gpus else settings.threads or 1


def parse(text: str) -> SlurmOptions:
    """The options in "partition=gpu,gpus=2,nodelist=n1,n2": a part without "=" belongs to the value before it. Raises
    ConfigError."""
    given: dict[str, str] = {}
    last = ""
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, value = part.partition("=")
        name = name.strip().lstrip("-").replace("_", "-")
        if not equals:
            if not last:
                raise ConfigError(f"--slurm {text!r}: {part!r} is no KEY=VALUE, as in partition=gpu,time=4:00:00")
            given[last] += f",{part}"
            continue
        _check_line(name, value.strip())
        given[name], last = value.strip(), name
    own: dict[str, object] = {}
    for name, read in READ.items():
        if name in given:
            own[name] = read(name, given.pop(name))
    if "cpus-per-task" in given:
        _whole("cpus-per-task", given["cpus-per-task"])
    make: Callable[..., SlurmOptions] = SlurmOptions  # values were parsed by READ
    return make(**own, lines=tuple(given.items()))


def _check_line(name: str, value: str) -> None:
    if name in TAKEN:
        raise ConfigError(f"--slurm {name}: it is set by {TAKEN[name]}")
    if not NAME.fullmatch(name):
        raise ConfigError(f"--slurm {name}={value}: {name!r} is no long option of sbatch")
    if not value or not value.isprintable():
        raise ConfigError(f"--slurm {name}: it has no value; an option of sbatch without one is {name}=yes")


def _whole(name: str, text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ConfigError(f"--slurm {name}={text} must be a whole number above 0")
    return int(text)


def _factor(name: str, text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 1 <= found <= 100:
        raise ConfigError(f"--slurm {name}={text} must be a number between 1 and 100")
    return found


def _card(name: str, text: str) -> str:
    return card_called(text).name  # which names the cards that there are


READ: dict[str, Callable[[str, str], object]] = {
    "gpus": _whole,
    "runs": _whole,
    "card": _card,
    "factor": _factor,
    "warn": _whole,
}


def in_job(settings: RuntimeConfig) -> RuntimeConfig:
    """The settings of a run in its job: as many devices as the job has GPUs, or one processor. Raises ConfigError."""
    options = parse(settings.slurm)
    devices = str(options.gpus or 1) if settings.devices == "auto" else settings.devices
    if not devices.isdecimal() or not int(devices):
        raise ConfigError(f"devices {settings.devices!r}: with --launcher slurm a number of devices per node, as 2")
    accelerator = settings.accelerator
    if accelerator == "auto":
        accelerator = "gpu" if options.gpus else "cpu"
    if accelerator == "cpu":
        if options.gpus:
            raise ConfigError(f"--slurm gpus={options.gpus} with --accelerator cpu: leave one of them out")
        settings = replace(settings, threads=settings.threads or options.cpus(settings))
    elif options.gpus != int(devices):
        raise ConfigError(
            f"{devices} devices per node and {options.gpus} GPUs: --slurm gpus=N asks for them, and --devices follows"
        )
    return replace(settings, accelerator=accelerator, devices=devices)
