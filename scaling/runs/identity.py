"""Runs are identified by the contents of their data and weights, not by paths, and found again in a results folder.

Entry points call `settled` once, on all recipes: it replaces paths by fingerprints of the files, so that
moving or copying a data folder, a file of weights or the results changes no run_id. `folder_of` finds the folder of a
run, also one that was renamed, or made by a version without fingerprints. No torch, unless the data needs it.

os.path.isfile and isdir, as those of Path raise where a name is too long.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.config.edit import value_of
from scaling.config.experiment import ExperimentConfig
from scaling.config.identity import bare, is_address, is_public, last_name
from scaling.config.initialization import FromFile, FromRun
from scaling.errors import ConfigError
from scaling.runs.config_file import config_of, config_path, read_config
from scaling.runs.record import CHECKPOINT, RECORD, WEIGHTS

if TYPE_CHECKING:
    from scaling.data.files.file_index import Notify

# fields that decide which files a run uses, and whether they are enough
FILE_FIELDS = (
    *("task", "dataset", "data_root", "num_classes", "num_train", "num_val", "ignore_index", "filter_empty_gt"),
    *("global_batch_size", "val_split"),
)
Known = dict[tuple[Any, ...], str]


def settled(
    recipes: Sequence[ExperimentConfig], results: Path, read: bool = True, notify: "Notify | None" = None
) -> dict[str, ExperimentConfig]:
    """Each recipe by its run_id, as it is to be run: with fingerprints of its data and weights, and of earlier runs.

    read: files that no start has read before; without, and where the data or weights are not on this machine, recipes
    stay as they are, and `folder_of` goes by what is recorded. A run that was begun here by a version without
    fingerprints keeps its name. Raises ConfigError for data or weights that cannot be used."""
    known: Known = {}
    return {config.run_id: _settled(config, Path(results), known, read, notify) for config in recipes}


def _settled(
    config: ExperimentConfig, results: Path, known: Known, read: bool, notify: "Notify | None"
) -> ExperimentConfig:
    init = config.init
    if isinstance(init, FromRun):
        before, root = init.config, config.data.data_root
        if before.data.dataset == config.data.dataset and before.data.data_root in (None, root):
            there = replace(before, data=replace(before.data, data_root=root))
            before = _settled(there, results, known, read, notify)
        else:  # on other data, which need not be here
            before = config_in(folder_of(before, results)) or before
        init = replace(init, config=before)
    elif isinstance(init, FromFile):
        digest = init.weights_digest or _weights_digest(init.source, known, read) or None
        init = replace(init, weights_digest=digest)
    digest = config.data.data_digest or _data_digest(config, results, known, read, notify) or None
    found = replace(config, init=init, data=replace(config.data, data_digest=digest))
    earlier = results / config.run_id
    begun = config_path(earlier) is not None and not os.path.isfile(earlier / RECORD)
    return config if begun and not os.path.isdir(results / found.run_id) else found


def _data_digest(config: ExperimentConfig, results: Path, known: Known, read: bool, notify: "Notify | None") -> str:
    """The fingerprint of the files that a recipe uses; empty where it is not known."""
    if config.data.dataset == "shapes":
        return ""
    key = files_key(config)
    if key not in known:
        from scaling.data.files.dataset_files import data_digest

        known[key] = data_digest(config, results, read, notify)
    return known[key]


def files_key(config: ExperimentConfig) -> tuple[Any, ...]:
    """All that decides which files a run uses, and whether they are enough."""
    return tuple(value_of(config, name) for name in FILE_FIELDS)


def _weights_digest(source: str, known: Known, read: bool) -> str:
    """The fingerprint of the file of weights, fetched where source is an address; empty where it is not known."""
    if is_address(source):
        if not read:
            return ""
        from scaling.downloads import fetched

        source = str(fetched(source))
    path = Path(source) / WEIGHTS if os.path.isdir(source) else Path(source)
    if not os.path.isfile(path):
        return ""
    key = ("weights", str(path.resolve()), path.stat().st_mtime_ns)
    if key not in known:
        known[key] = _digest_of(path)
    return known[key]


def _digest_of(path: Path) -> str:
    """The fingerprint of one file's bytes, read a piece at a time (hashlib.file_digest came with Python 3.11)."""
    found = hashlib.blake2b(digest_size=8)
    with open(path, "rb") as file:
        while piece := file.read(2**20):
            found.update(piece)
    return found.hexdigest()


def folder_of(config: ExperimentConfig, results: Path) -> Path:
    """The folder of a recipe's run: results/run_id, or else one with a record of the same run (`same_run`)."""
    exact = Path(results) / config.run_id
    if config_path(exact) is not None or os.path.isfile(exact / RECORD):
        return exact
    return next((folder for folder in alike(config, results) if (folder / RECORD).is_file()), exact)


def recorded_id(config: ExperimentConfig, results: Path) -> str:
    """The run_id by which a recipe's run is recorded: a version without fingerprints gave it another."""
    return _stored_id(folder_of(config, results)) or config.run_id


def _stored_id(folder: Path) -> str:
    """The run_id in a folder's record; empty where there is none."""
    try:
        return str(json.loads((folder / RECORD).read_text())["run_id"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""


def alike(config: ExperimentConfig, results: Path) -> Iterator[Path]:
    """The folders of a results folder that hold this run."""
    try:
        folders = sorted(Path(results).iterdir())
    except OSError:
        return
    for folder in folders:
        there = config_in(folder)
        if there is not None and same_run(config, there):
            yield folder


def renamed(config: ExperimentConfig, results: Path) -> list[str]:
    """One line for each folder in which this run was begun under another name. Such folders are left alone."""
    held = [f for f in alike(config, results) if f.name != config.run_id and (f / CHECKPOINT).is_file()]
    return [f"{f} is this run, interrupted, under another name; to resume it, rename it {config.run_id}" for f in held]


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
    if (wanted.model.patch_size, wanted.seed, wanted.model.backbone) != (
        there.model.patch_size,
        there.seed,
        there.model.backbone,
    ):
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
    chain = before is None or other is None or _same_content(before, other, first=False)
    return data and weights and chain


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
