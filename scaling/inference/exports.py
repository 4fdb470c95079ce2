"""A trained model as a file for other programs, which is loaded again and compared.

    timm         {"model": tensors} under timm's keys, a torch file (.pth)
    safetensors  tensors under the keys of public checkpoints, with the configuration: scaling.load
    onnx, pt2    the model as a graph (torch.onnx, torch.export): uint8 RGB images (B, 3, H, W) of the run's size in,
                 any number of them; logits out; pixels are normalised inside

A graph has one patch size: a flexible model is resampled to it first (fixed_patch.py), and so for timm. The comparison
is with the model as it was trained, so it covers that too.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from scaling.backbones.checkpoint_io import read_state_dict
from scaling.errors import ConfigError
from scaling.inference.described_weights import as_bytes, of_file
from scaling.inference.fixed_patch import at_one_patch
from scaling.inference.graphs import graph_of, onnx_outputs, write_onnx
from scaling.inference.timm_model import timm_model
from scaling.inference.trained import Trained
from scaling.rng import torch_generator

TOLERANCE = 1e-5  # largest difference of an output, as a share of the largest output or of 1
ENDINGS = {"timm": ".pth", "safetensors": ".safetensors", "onnx": ".onnx", "pt2": ".pt2"}  # of files
IMAGES = 3  # that the comparison is made with: another number than the one that graphs are traced with

Outputs = Callable[[Tensor], Tensor]  # of uint8 images (B, 3, H, W)


class Exported(NamedTuple):
    """The content of a file. patches: that it has, in words. difference: largest of an output to that of the trained
    model, as a share of the largest output or of 1."""

    content: bytes
    patches: str
    difference: float


def exported(trained: Trained, form: str, patch_size: int | None = None) -> Exported:
    """A model as one of FORMS. patch_size: of a flexible model [px], None: its finest, or in safetensors all. Raises
    ConfigError where the form has no such model and where the outputs differ."""
    keeps_all = form == "safetensors" and patch_size is None
    model = trained if keeps_all else at_one_patch(trained, patch_size)
    patch = model.config.model.patch_size
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / f"model{ENDINGS[form]}"
        outputs = FORMS[form](model, written)
        difference = largest_difference(trained, outputs, patch)
        if not difference <= TOLERANCE:
            raise ConfigError(
                f"{form}: the file's outputs differ by {difference:.1e} from those of the model (at most "
                f"{TOLERANCE:g}): it is not written"
            )
        content = written.read_bytes()
    every = model.config.model.any_patch
    return Exported(content, "every patch size" if every else f"patch {patch}", difference)


def largest_difference(trained: Trained, outputs: Outputs, patch_size: int) -> float:
    """Of outputs for images of noise, as a share of the largest output or of 1; infinite where their numbers differ."""
    side = trained.config.model.img_size
    draws = torch_generator(0)
    images = torch.randint(256, (IMAGES, 3, side, side), generator=draws, dtype=torch.uint8)
    with torch.no_grad():
        wanted, found = flat(trained.module(images, patch_size)), outputs(images)
    if wanted.shape != found.shape:
        return float("inf")
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1.0)) if wanted.numel() else 0.0


def flat(outputs: Tensor | list[dict[str, Tensor]]) -> Tensor:
    """Logits as they are; of detections all numbers of all images in a row."""
    if isinstance(outputs, Tensor):
        return outputs
    return torch.cat([found[name].flatten().float() for found in outputs for name in ("boxes", "scores", "labels")])


def _safetensors(model: Trained, path: Path) -> Outputs:
    path.write_bytes(as_bytes(model))
    again = of_file(path)
    return lambda images: flat(again.module(images))


def _timm(model: Trained, path: Path) -> Outputs:
    of_timm = timm_model(model)
    torch.save({"model": of_timm.state}, path)
    again = of_timm._replace(state=read_state_dict(str(path))).create()
    return lambda images: again(model.module.normalised(images))


def _pt2(model: Trained, path: Path) -> Outputs:
    torch.export.save(graph_of(model, "pt2"), path)
    again = torch.export.load(path).module()
    return lambda images: again(images)


def _onnx(model: Trained, path: Path) -> Outputs:
    write_onnx(graph_of(model, "onnx"), path)
    return lambda images: torch.from_numpy(onnx_outputs(path, images.numpy()))


FORMS: dict[str, Callable[[Trained, Path], Outputs]] = {
    "timm": _timm,
    "safetensors": _safetensors,
    "onnx": _onnx,
    "pt2": _pt2,
}
