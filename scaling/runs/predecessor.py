"""The run whose weights another run starts from, found in a results folder. No torch."""

from pathlib import Path

from scaling.config.experiment import ExperimentConfig
from scaling.config.identity import bare
from scaling.errors import ConfigError
from scaling.runs.identity import alike, check_one, config_in, folder_of
from scaling.runs.record import RECORD, WEIGHTS, RunRecord


def find_start(config: ExperimentConfig, results: Path) -> Path | None:
    """The folder of the finished run that this one starts from, wherever its data are now (scaling/runs/identity.py);
    None where it starts from none. Raises ConfigError where no such run has left its weights, or several have."""
    before = config.predecessor
    if before is None:
        return None
    name = f"stage {(before.stage or '')}" if before.stage else "its start"
    check_one(before, [f for f in alike(before, results) if (f / RECORD).is_file()])
    folder = folder_of(before, results)
    try:
        record = RunRecord.load(folder)
    except FileNotFoundError as e:
        other = (
            ", or use other weights: --pretrained NAME, --initial-checkpoint FILE, or --init scratch"
            if before.task.kind != config.task.kind
            else ""
        )
        raise ConfigError(f"{name}, run {before.run_id}, is not finished in {results}; run it first{other}") from e
    if record.status != "finished":
        reason = record.failure.get("reason")
        raise ConfigError(
            f"{name}, run {folder.name}, failed ({reason}); fix the cause, delete its folder, run it again"
        )
    if not (folder / WEIGHTS).is_file():
        raise ConfigError(f"{name}, run {folder.name}, has no {WEIGHTS} any more; delete its folder and run it again")
    return folder


def check_start(config: ExperimentConfig, results: Path) -> None:
    """The check of `find_start` before the recipe's own data are read. Raises ConfigError where the run has no record
    yet and no run in results, whatever its data, can be the one that it starts from."""
    before = config.predecessor
    if before is None or (folder_of(config, results) / RECORD).is_file():
        return
    held = (config_in(folder) for folder in sorted(results.glob("*")) if (folder / RECORD).is_file())
    if not any(there is not None and bare(there) == bare(before) for there in held):
        find_start(config, results)
