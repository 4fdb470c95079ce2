"""Runs in a results folder, found by their configuration; also one that was renamed, or made by a version without
fingerprints. Data and weights are compared by fingerprints where both runs have them (scaling/data/fingerprints.py).

os.path.isfile and isdir, as those of Path raise where a name is too long.
"""

import json
import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from scaling.config.experiment import ExperimentConfig
from scaling.config.identity import bare, is_public, last_name
from scaling.config.objectives import Distillation
from scaling.errors import ConfigError
from scaling.runs.config_file import CONFIG, config_of, config_path, read_config, stored_id
from scaling.runs.kept_inside import KeptInside
from scaling.runs.record import CHECKPOINT, RECORD


def folder_of(config: ExperimentConfig, results: Path) -> Path:
    """The folder of a recipe's run: results/run_id, or else one with a record of the same run (`same_run`)."""
    exact = Path(results) / config.run_id
    if config_path(exact) is not None or os.path.isfile(exact / RECORD):
        return exact
    found = list(alike(config, results))
    recorded = (folder for folder in found if (folder / RECORD).is_file())
    return next(recorded, None) or _begun_in(found, config, exact)


def training_folder(config: ExperimentConfig, results: Path) -> Path:
    """The folder in which a run is trained, named by its run_id: that under which it was begun, as config.json has it,
    although a later version may compute another; else results/run_id."""
    return _begun_in(alike(config, results), config, Path(results) / config.run_id)


def _begun_in(folders: Iterable[Path], config: ExperimentConfig, exact: Path) -> Path:
    """training_folder, of the folders that hold this run; they are not looked for where exact, results/run_id, is
    one."""
    if config_path(exact) is not None:
        return exact
    return next((folder for folder in folders if _begun_here(config, folder)), exact)


def _begun_here(config: ExperimentConfig, folder: Path) -> bool:
    there = config_in(folder)
    same = there is not None and there.canonical == config.canonical
    return same and stored_id(folder / CONFIG) == folder.name


def recorded_id(config: ExperimentConfig, results: Path) -> str:
    """The run_id by which a recipe's run is recorded: a version without fingerprints gave it another."""
    return stored_id(folder_of(config, results) / RECORD) or config.run_id


def alike(config: ExperimentConfig, results: Path) -> Iterator[Path]:
    """The folders of a results folder that hold this run."""
    if _kept.inside:
        folders = _kept.value(results, lambda: _by_key(results)).get(_key(config), [])
    else:
        folders = _folders(results)
    for folder in folders:
        there = config_in(folder)
        if there is not None and same_run(config, there):
            yield folder


# Results folders are looked through once inside looked_through_once: for the plan of many runs, while none of them is
# begun in this process. Otherwise a thousand runs that are not begun look into a thousand folders each.
_kept = KeptInside()
looked_through_once = _kept.block


def _folders(results: Path) -> list[Path]:
    try:
        return sorted(Path(results).iterdir())
    except OSError:
        return []


def _by_key(results: Path) -> dict[Hashable, list[Path]]:
    found: dict[Hashable, list[Path]] = {}
    for folder in _folders(results):
        there = config_in(folder)
        if there is not None:
            found.setdefault(_key(there), []).append(folder)
    return found


def _key(config: ExperimentConfig) -> Hashable:
    """What is equal in two recipes that are one run, and differs between most that are not."""
    return config.model.patch_size, config.seed, config.model.backbone


def renamed(config: ExperimentConfig, results: Path) -> list[str]:
    """One line for each folder in which this run was begun under another name. Such folders are left alone."""
    found = list(alike(config, results))
    own = _begun_in(found, config, Path(results) / config.run_id)
    held = [f for f in found if f != own and (f / CHECKPOINT).is_file()]
    return [f"{f} is this run, interrupted, under another name; to resume it, rename it {own.name}" for f in held]


def config_in(folder: Path) -> ExperimentConfig | None:
    """The configuration of a run's folder, by its own file or its record; None where neither can be read."""
    for path in filter(None, (config_path(folder), folder / RECORD)):
        try:
            changed = os.stat(path).st_mtime_ns
        except OSError:
            continue
        if (config := _read(path, changed)) is not None:
            return config
    return None


@lru_cache(maxsize=100_000)
def _read(path: Path, changed: int) -> ExperimentConfig | None:
    try:
        return config_of(json.loads(path.read_text())) if path.name == RECORD else read_config(path)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


_bare = lru_cache(maxsize=100_000)(bare)


def same_run(wanted: ExperimentConfig, there: ExperimentConfig) -> bool:
    """Whether two recipes are one run: equal except for the locations of data and weights. By fingerprints where both
    have them; else the data must be a public set, at the same place, or moved: under the same name, with nothing left
    at the old place."""
    if _key(wanted) != _key(there):
        return False
    return _bare(wanted) == _bare(there) and _same_content(wanted, there, first=True)


def _same_content(a: ExperimentConfig, b: ExperimentConfig, first: bool) -> bool:
    before, other = a.predecessor, b.predecessor
    data = is_public(a.data.dataset) or not first or _same_place(a.data.data_root or "", b.data.data_root or "")
    weights = not first or _same_place(a.init.source or "", b.init.source or "")
    if a.data.data_digest and b.data.data_digest:
        data = a.data.data_digest == b.data.data_digest
    if a.weights_digest and b.weights_digest:
        weights = a.weights_digest == b.weights_digest
    teacher = _same_teacher(a.distillation, b.distillation)
    chain = before is None or other is None or _same_content(before, other, first=False)
    return data and weights and teacher and chain


def _same_teacher(a: Distillation | None, b: Distillation | None) -> bool:
    if a is None or b is None:
        return a is b
    if a.teacher_digest and b.teacher_digest:
        return a.teacher_digest == b.teacher_digest
    return _same_place(a.teacher, b.teacher)


def _same_place(a: str, b: str) -> bool:
    if a == b or (a and b and os.path.realpath(a) == os.path.realpath(b)):
        return True
    return last_name(a) == last_name(b) and not (os.path.exists(a) and os.path.exists(b))


def check_one(config: ExperimentConfig, found: Sequence[Path]) -> None:
    """Raise ConfigError where runs that are alike but for their data are several: it is not clear which is meant."""
    digests = {
        (there.data.data_digest or "")
        for folder in found
        if (there := config_in(folder)) is not None and (there.data.data_digest or "")
    }
    if len(digests) > 1 and not config.data.data_digest:
        names = ", ".join(folder.name for folder in found)
        raise ConfigError(f"{names} are runs of one recipe on different data: move all but one of them away")
