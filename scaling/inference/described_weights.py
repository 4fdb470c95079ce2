"""Weights with all that is needed to build their model again: configuration, class names and normalisation of pixels.

In a .safetensors file the description is JSON in the metadata, under the key `patch_scaling`; in a Hub repository it is
a part of config.json. Tensors have the keys of public checkpoints, those of the head begin with `head.`.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, TypeGuard

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from scaling.backbones.checkpoint_io import load_state, read_state_dict
from scaling.config.experiment import ExperimentConfig
from scaling.config.identity import bare
from scaling.config.initialization import FromFile
from scaling.engine.warm_start import load_head
from scaling.errors import ConfigError, first_line
from scaling.inference.repository_files import DESCRIPTION
from scaling.inference.trained import Trained, untrained
from scaling.preprocessing import preprocessing_of


class Description(TypedDict):
    """Of a trained model."""

    run_id: str
    config: dict[str, object]  # ExperimentConfig.to_dict
    class_names: list[str]
    mean: list[float]  # of pixels in [0, 1], by channel
    std: list[float]


def without_places(config: ExperimentConfig) -> ExperimentConfig:
    """The configuration without folders of this machine, for a file that others read. The name of a file of initial
    weights stays: the normalisation of pixels follows from it."""
    init, public = config.init, bare(config)
    if isinstance(init, FromFile):
        source = init.source if "://" in init.source or init.source.startswith("hf:") else Path(init.source).name
        public = replace(public, init=replace(init, initial_checkpoint=source))
    if config.plugin.recipes is not None:
        public = replace(public, plugin=replace(config.plugin, recipes=Path(config.plugin.recipes).name))
    return public


def description(trained: Trained) -> Description:
    """Of a trained model."""
    mean, std, _ = preprocessing_of(trained.config)
    return {
        "run_id": trained.run_id,
        "config": without_places(trained.config).to_dict(),
        "class_names": list(trained.names),
        "mean": list(mean),
        "std": list(std),
    }


def tensors(trained: Trained) -> dict[str, Tensor]:
    """All weights of a model under the keys of public checkpoints, contiguous, on the CPU."""
    module = trained.module
    head = {f"head.{name}": tensor for name, tensor in module.head.state_dict().items()}
    state = {**module.backbone.checkpoint_module.state_dict(), **head}
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}


def as_bytes(trained: Trained) -> bytes:
    """The .safetensors file of a model, the same bytes each time: of several keys the order would be random."""
    return save(tensors(trained), {DESCRIPTION: json.dumps(description(trained))})


def of_file(path: Path) -> Trained:
    """The model of a .safetensors file. Raises ConfigError where it has no description."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        described = json.loads(metadata[DESCRIPTION])
    except (SafetensorError, OSError) as e:
        raise ConfigError(f"{path} is no .safetensors file ({first_line(e)})") from e
    except (KeyError, ValueError, RecursionError) as e:
        raise ConfigError(
            f"{path} holds weights without their configuration (no {DESCRIPTION} in its metadata): only files of "
            "experiments/export.py --export safetensors are models; --initial-checkpoint takes any weights"
        ) from e
    return assembled(described, path)


def assembled(described: object, weights: Path) -> Trained:
    """The model of a description, with the weights of a file. Raises ConfigError where they do not fit."""
    if not _is_description(described):
        raise ConfigError(f"{weights}: its {DESCRIPTION} does not describe a model (config and class_names)")
    config = ExperimentConfig.from_dict(described["config"])
    mean, std, _ = preprocessing_of(config)
    if [list(mean), list(std)] != [described["mean"], described["std"]]:
        raise ConfigError(
            f"{weights}: pixels of mean {described['mean']} are expected, which follows from initial weights that are "
            f"not here any more; from here it would be {list(mean)}"
        )
    module = untrained(config, described["class_names"])
    state = read_state_dict(str(weights))
    load_state(module.backbone, state, str(weights))
    load_head(module, state, str(weights))
    names = tuple(described["class_names"])
    return Trained(module.eval().requires_grad_(False), config, names, described["run_id"])


def _is_description(value: object) -> TypeGuard[Description]:
    kinds = {"run_id": str, "config": dict, "class_names": list, "mean": list, "std": list}
    return isinstance(value, dict) and all(isinstance(value.get(name), kind) for name, kind in kinds.items())
