"""What a path or an address holds, and the trained model in it: a run, an exported file, or a Hub repository."""

import json
from os import PathLike
from pathlib import Path

import torch

from scaling.downloads import fetched_repository
from scaling.errors import ConfigError
from scaling.inference.described_weights import assembled, of_file
from scaling.inference.repository_files import CONFIG, DESCRIPTION, MODEL
from scaling.inference.trained import Trained, load_run
from scaling.runs.record import RECORD, WEIGHTS

WHAT = (
    "give the folder of a finished run, its weights.pt, a .safetensors file of experiments/export.py, or a Hub "
    "repository (its folder, or hf:OWNER/NAME)"
)


def load(source: str | PathLike[str], device: str | torch.device = "cpu") -> Trained:
    """A trained model in eval mode, with the reported weights: of a run (its folder, or weights.pt in it), of a
    .safetensors file that experiments/export.py wrote, or of a Hub repository that it wrote (a folder, or
    hf:OWNER/NAME, hf:OWNER/NAME@REVISION). Raises ConfigError where there is no such model, where the run is not
    finished, and where its weights are gone or damaged."""
    text = str(source)
    path = fetched_repository(text) if text.startswith("hf:") else Path(text).expanduser()
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder; {WHAT}")
    if path.is_dir():
        return _of_folder(path, device)
    if path.name == WEIGHTS and (path.parent / RECORD).exists():
        return load_run(path.parent, device)
    if path.suffix == ".safetensors":
        return _placed(of_file(path), device)
    raise ConfigError(f"{path} holds no model with its configuration; {WHAT}")


def _of_folder(folder: Path, device: str | torch.device) -> Trained:
    """A run, or a repository whose config.json describes the model."""
    if (folder / MODEL).is_file() and not (folder / RECORD).exists():
        try:
            described = json.loads((folder / CONFIG).read_text())[DESCRIPTION]
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as e:
            raise ConfigError(
                f"{folder} is no repository of experiments/export.py: its {CONFIG} has no {DESCRIPTION}; {WHAT}"
            ) from e
        return _placed(assembled(described, folder / MODEL), device)
    return load_run(folder, device)


def _placed(trained: Trained, device: str | torch.device) -> Trained:
    return trained._replace(module=trained.module.to(device))
