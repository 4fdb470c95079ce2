"""The harness from Python: a recipe by name, one run, a sweep. Options are those of the command line, with _ for -.

    from analysis import fit, load
    from experiments.api import recipe, sweep, train

Recipes and sweeps belong to the programs, so these functions are here: `scaling`, the library, does not import them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments import run as run_program
from experiments import sweep as sweep_program
from scaling.config.experiment import ExperimentConfig
from scaling.config.runtime import RuntimeConfig
from scaling.runs.identity import folder_of
from scaling.runs.record import RunRecord

One = str | float | bool | Path | None
Value = One | Sequence[One] | Mapping[str, Sequence[One]]


def recipe(name: str, **options: Value) -> ExperimentConfig:
    """The configuration of a recipe: recipe("shapes.deit_nano", patch=4, lr=1e-3). Of a recipe of several stages it is
    the last, which holds the ones before. options: those of run.py. Raises ConfigError."""
    stages, _ = run_program.arguments(_words(name, options))
    return stages[-1]


def train(
    config: ExperimentConfig, results: str | Path = "results", settings: RuntimeConfig | None = None
) -> RunRecord:
    """Train a run, after the stages before it, in this process; resume it where it was interrupted; or return the
    record of a finished one. Raises as scaling.engine.train.train."""
    from scaling.engine import train as engine

    if config.predecessor is not None:
        train(config.predecessor, results, settings)
    return engine.train(config, Path(results), settings)


def sweep(recipes: str, results: str | Path = "results", **options: Value) -> list[RunRecord]:
    """Train recipes or studies, separated by commas, at every patch size and seed, as sweep.py does, in processes of
    their own, and return the records of those that ended, in the order of the sweep.

    sweep("shapes.deit_nano", patch=[8, 4, 2], seeds=[0, 1, 2], vary={"lr": [1e-3, 2e-3]})
    A script that calls this needs `if __name__ == "__main__":`, as all that starts processes in Python. Raises
    ConfigError."""
    words = _words(recipes, {"results": str(results), **options})
    runs, _ = sweep_program.arguments(words)
    sweep_program.main(words)
    found = []
    for config in runs:
        try:
            found.append(RunRecord.load(folder_of(config, Path(results))))
        except FileNotFoundError:  # stopped, or its earlier stage failed
            continue
    return found


def _words(name: str, options: Mapping[str, Value]) -> list[str]:
    """A command line. True is an option without a value; of a mapping every item is one option NAME=VALUES."""
    words = [name] if name else []
    for key, value in options.items():
        option = f"--{key.replace('_', '-')}"
        if isinstance(value, Mapping):
            words += [f"{option}={field}={_text(values)}" for field, values in value.items()]
        else:
            words.append(option if value is True else f"{option}={_text(value)}")
    return words


def _text(value: One | Sequence[One]) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(_text, value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
