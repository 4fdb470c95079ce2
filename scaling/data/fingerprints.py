"""Fingerprints of data and weights, which identify them instead of their paths: moving or copying a data folder, a file
of weights or the results changes no run_id. Entry points call with_fingerprints once, on all configurations.

No torch, unless reading the data needs it. os.path.isfile and isdir, as those of Path raise where a name is too long.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.config.data import OWN_SETS
from scaling.config.experiment import ExperimentConfig
from scaling.config.identity import is_address
from scaling.config.initialization import FromFile, FromRun
from scaling.config.objectives import Distillation
from scaling.runs.config_file import config_path, stored_id
from scaling.runs.identity import config_in, folder_of
from scaling.runs.record import RECORD, WEIGHTS

if TYPE_CHECKING:
    from scaling.data.files.file_index import Notify

Known = dict[tuple[Hashable, ...], str]


def with_fingerprints(
    configs: Sequence[ExperimentConfig], results: Path, read: bool = True, notify: Notify | None = None
) -> dict[str, ExperimentConfig]:
    """Each configuration by its run_id, as it is to be run: with fingerprints of its data and weights, and of those of
    the runs that it starts from.

    read: read files that are new or have changed; without it, and where data or weights are not on this machine,
    configurations stay as they are, and scaling.runs.identity.folder_of compares what is recorded. A run that was begun
    here by a version without fingerprints keeps its name. Raises ConfigError for data or weights that cannot be
    used."""
    known: Known = {}
    return {config.run_id: _with_fingerprints(config, Path(results), known, read, notify) for config in configs}


def _with_fingerprints(
    config: ExperimentConfig, results: Path, known: Known, read: bool, notify: Notify | None
) -> ExperimentConfig:
    init = config.init
    if isinstance(init, FromRun):
        before, root = init.config, config.data.data_root
        if before.data.dataset == config.data.dataset and before.data.data_root in (None, root):
            there = replace(before, data=replace(before.data, data_root=root))
            before = _with_fingerprints(there, results, known, read, notify)
        else:  # on other data, which need not be here
            before = config_in(folder_of(before, results)) or before
        init = init if before is init.config else replace(init, config=before)
    elif isinstance(init, FromFile):
        digest = init.weights_digest or _weights_digest(init.source, known, read) or None
        init = init if digest == init.weights_digest else replace(init, weights_digest=digest)
    digest = config.data.data_digest or _data_digest(config, results, known, read, notify) or None
    objectives = tuple(_with_teacher(o, known, read) if isinstance(o, Distillation) else o for o in config.objectives)
    if init is config.init and digest == config.data.data_digest and objectives == config.objectives:
        return config
    found = replace(config, init=init, data=replace(config.data, data_digest=digest), objectives=objectives)
    earlier = results / config.run_id
    begun = config_path(earlier) is not None and not os.path.isfile(earlier / RECORD)
    return config if begun and not os.path.isdir(results / found.run_id) else found


def _with_teacher(objective: Distillation, known: Known, read: bool) -> Distillation:
    if not objective.is_file:
        return objective
    return replace(
        objective, teacher_digest=objective.teacher_digest or teacher_digest(objective.teacher, known, read) or None
    )


def teacher_digest(source: str, known: Known | None = None, read: bool = True) -> str:
    """The fingerprint of a file of weights, or of those of a run with its run_id: which of its weights a run reports,
    and what its model makes of them, are in its configuration. Empty where it is not known; other arguments as in
    with_fingerprints, with what was read before."""
    weights = _weights_digest(source, {} if known is None else known, read)
    run = stored_id(Path(source) / RECORD) if os.path.isdir(source) else ""
    return hashlib.blake2b(f"{run} {weights}".encode(), digest_size=8).hexdigest() if weights and run else weights


def _data_digest(config: ExperimentConfig, results: Path, known: Known, read: bool, notify: Notify | None) -> str:
    """The fingerprint of the files of a configuration's data; empty where it is not known."""
    if config.data.dataset == "shapes" or config.data.dataset in OWN_SETS:
        return ""
    from scaling.data.files.dataset_files import data_digest, files_key

    if (key := files_key(config)) not in known:
        known[key] = data_digest(config, results, read, notify)
    return known[key]


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
