"""run_id and group of a configuration, and which configurations are one run although files were moved.

Both are hashes of the canonical JSON (canonical.py). Where data and weights are is part of neither once their contents
are known by a fingerprint; before that, their location stands for it. Standard library only.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scaling.config.canonical import as_json, data_name
from scaling.config.data import DATASETS
from scaling.config.initialization import FromFile, FromRun
from scaling.config.objectives import Distillation, Supervised

if TYPE_CHECKING:
    from scaling.config.experiment import ExperimentConfig


def run_id(config: "ExperimentConfig") -> str:
    """task-data-[stage-]backbone-px-patch-seed, then 8 hex digits of the SHA-256 of the canonical form."""
    data = "-".join(filter(None, [_slug(data_name(config)), config.stage]))
    model = config.model
    size = f"{model.img_size}px-p{model.patch_size}-s{config.seed}"
    return f"{config.task.kind}-{data}-{_backbone(config)}-{size}-{_hash(config.canonical)}"


def group_id(config: "ExperimentConfig") -> str:
    """The run ID without stage, patch size and seed: runs of a group differ in patch size and seed only."""
    values = json.loads(config.canonical)
    del values["patch"], values["seed"]
    values.get("further", {}).get("model", {}).get("patch_embed", {}).pop("patch_size", None)
    if config.predecessor is not None:
        values["start"] = config.predecessor.group
    data = _slug(data_name(config))
    return f"{config.task.kind}-{data}-{_backbone(config)}-{config.model.img_size}px-{_hash(as_json(values))}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _backbone(config: "ExperimentConfig") -> str:
    return config.model.backbone.replace(":", "_").replace("-", "_")


def _slug(data: str) -> str:
    return data.replace("/", "_")


def is_public(dataset: str) -> bool:
    """Whether the name of a data set identifies its contents. That of an own folder, or of shards, does not."""
    return (dataset in DATASETS and dataset != "folder") or dataset.startswith("hfds/")


def is_address(checkpoint: str) -> bool:
    return checkpoint.startswith(("hf:", "https://"))


def bare(config: "ExperimentConfig") -> "ExperimentConfig":
    """The configuration without locations and fingerprints of data and weights, and so for those before it."""
    init = config.init
    if isinstance(init, FromFile):
        init = dataclasses.replace(init, initial_checkpoint="file", weights_digest=None)
    elif isinstance(init, FromRun):
        init = dataclasses.replace(init, config=bare(init.config))
    data = dataclasses.replace(config.data, data_root=None, data_digest=None)
    return dataclasses.replace(config, data=data, init=init, objectives=tuple(map(_bare_objective, config.objectives)))


def _bare_objective(objective: Supervised | Distillation) -> Supervised | Distillation:
    """A teacher in timm keeps its name, which is its identity."""
    if isinstance(objective, Distillation) and objective.is_file:
        return dataclasses.replace(objective, teacher="file", teacher_digest=None)
    return objective


def is_open(config: "ExperimentConfig") -> bool:
    """Whether a location is part of its run_id: its own, or that of a run before it."""
    data = config.data.data_root is not None and config.data.data_digest is None
    weights = isinstance(config.init, FromFile) and config.init.weights_digest is None
    taught = config.distillation
    teacher = taught is not None and taught.is_file and taught.teacher_digest is None
    return data or weights or teacher or (config.predecessor is not None and is_open(config.predecessor))


def groups(configs: Sequence["ExperimentConfig"]) -> list[str]:
    """The group of each of some runs. One that is open is of the group of those that are not and are equal but for
    locations and fingerprints, where these are of one group: of several, it is unknown which. An own folder
    must have had the same name, and so must the file of weights."""
    known: dict[str, set[str]] = {}
    opened: dict[str, set[str]] = {}
    names = [_by_name(config) for config in configs]
    for config, name in zip(configs, names, strict=True):
        (opened if is_open(config) else known).setdefault(name, set()).add(config.group)
    found = []
    for config, name in zip(configs, names, strict=True):
        of = known.get(name) or opened.get(name) or set()
        several = config.group if name in known else name
        found.append(config.group if not is_open(config) else min(of) if len(of) == 1 else several)
    return found


def _by_name(config: "ExperimentConfig") -> str:
    """The group of the bare configuration with the last parts of the paths that identify contents."""
    plain, init = bare(config), config.init
    root = "" if is_public(config.data.dataset) else last_name(config.data.data_root or "")
    data = dataclasses.replace(plain.data, data_root=root or None)
    if isinstance(init, FromFile) and isinstance(plain.init, FromFile):
        source = init.initial_checkpoint
        source = source if is_address(source) else last_name(source)
        plain = dataclasses.replace(plain, init=dataclasses.replace(plain.init, initial_checkpoint=source or "/"))
    return dataclasses.replace(plain, data=data).group


def last_name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
