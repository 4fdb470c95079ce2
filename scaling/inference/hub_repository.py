"""A trained model as a repository of the Hugging Face Hub, in timm's format: config.json, model.safetensors, README.md.

config.json has what timm.create_model("hf-hub:OWNER/NAME") reads (architecture, model_args, pretrained_cfg,
label_names), and under `patch_scaling` what scaling.load reads. What is uploaded is loaded from a folder and compared
with the trained model first.
"""

import json
import tempfile
from pathlib import Path

import timm
import torch
from huggingface_hub import HfApi
from huggingface_hub.utils import validate_repo_id

from scaling.errors import ConfigError, first_line
from scaling.inference.described_weights import as_bytes, description
from scaling.inference.exports import TOLERANCE, flat, largest_difference
from scaling.inference.model_card import model_card
from scaling.inference.repository_files import CARD, CONFIG, DESCRIPTION, MODEL
from scaling.inference.sources import load
from scaling.inference.timm_model import TimmModel, timm_model
from scaling.inference.trained import Trained
from scaling.preprocessing import preprocessing_of
from scaling.runs.record import RunRecord


def check_name(repository: str) -> None:
    """Raise ConfigError unless it is OWNER/NAME."""
    try:
        validate_repo_id(repository)
        if repository.count("/") != 1:
            raise ValueError("a repository is OWNER/NAME")
    except ValueError as e:
        raise ConfigError(f"--hub {repository}: {first_line(e, 200)}") from e


def repository_files(
    trained: Trained, record: RunRecord, repository: str, law: str, recipe: str
) -> tuple[dict[str, bytes], float]:
    """The files of a repository OWNER/NAME by name, and the largest difference of an output of the model that is loaded
    from them, as exports.largest_difference. law, recipe: of the model card. Raises ConfigError where outputs
    differ."""
    try:
        of_timm, why = timm_model(trained), ""
    except ConfigError as e:
        of_timm, why = None, str(e).partition(": --export")[0]
    files = {
        CONFIG: (json.dumps(_config(trained, of_timm), indent=2) + "\n").encode(),
        MODEL: as_bytes(trained),
        CARD: model_card(trained, record, repository, law, recipe, why).encode(),
    }
    difference = _difference(trained, files, of_timm is not None)
    if not difference <= TOLERANCE:
        raise ConfigError(f"the repository's outputs differ by {difference:.1e} from those of the model (at most 1e-5)")
    return files, difference


def upload(files: dict[str, bytes], repository: str, private: bool) -> str:
    """Upload files to a repository of the Hub, which is made where there is none; with the token of `hf auth login`.
    Returns its address. Raises ConfigError where the Hub refuses."""
    api = HfApi(library_name="patch-scaling")
    try:
        with tempfile.TemporaryDirectory() as folder:
            _write(files, Path(folder))
            address = api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Add the model")
    except Exception as e:  # many kinds: no network, no token, no right to it
        raise ConfigError(
            f"--hub {repository}: the Hub does not take it ({type(e).__name__}: {first_line(e, 200)}); log in with `hf "
            "auth login`, or write the files with --out FOLDER"
        ) from e
    return str(address)


def _config(trained: Trained, of_timm: TimmModel | None) -> dict[str, object]:
    """config.json."""
    config, pixels = trained.config, preprocessing_of(trained.config)
    shared: dict[str, object] = {
        "architecture": config.model.backbone if of_timm is None else of_timm.architecture,
        "num_classes": config.data.num_classes,
        "num_features": trained.module.backbone.width,
        "label_names": trained.module.names,
    }
    if of_timm is not None:
        crop = {"crop_pct": config.classification.crop_pct, "crop_mode": "center"}
        shared["model_args"] = of_timm.arguments
        shared["pretrained_cfg"] = {
            "num_classes": config.data.num_classes,
            "input_size": [3, config.model.img_size, config.model.img_size],
            "fixed_input_size": True,
            "pool_size": None,
            "interpolation": pixels.interpolation,
            **crop,
            "mean": list(pixels.mean),
            "std": list(pixels.std),
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        }
    return {**shared, DESCRIPTION: description(trained)}


def _difference(trained: Trained, files: dict[str, bytes], in_timm: bool) -> float:
    """The larger one of what scaling.load and, where it can, timm make of the files."""
    patch = trained.config.model.patch_size
    with tempfile.TemporaryDirectory() as folder:
        _write(files, Path(folder))
        again = load(folder)
        found = largest_difference(trained, lambda images: flat(again.module(images)), patch)
        if in_timm:
            model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
            with torch.no_grad():
                theirs = largest_difference(trained, lambda images: model(trained.module.normalised(images)), patch)
            found = max(found, theirs)
    return found


def _write(files: dict[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)
