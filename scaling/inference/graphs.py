"""The forward pass of a trained model as a graph: of torch.export, and from it ONNX.

In: uint8 RGB images (B, 3, H, W), H and W the img_size of the run, any number B; out: logits (B, K) or (B, K, H, W).
ONNX has no operator for Adventurer's mixer, which becomes products of matrices over all pairs of tokens
(ssd/mixer_dual.py); a .pt2 file keeps the operator, so that its reader imports scaling.backbones.ssd.mixer_operator.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scaling.backbones.ssd.mixer_dual import mix_dual
from scaling.errors import ConfigError, first_line
from scaling.inference.trained import Trained

IMAGES = 2  # of the example that is traced; 0 and 1 would be taken for constants
INSTALL = 'pip install "patch-scaling[onnx]", or onnx and onnxscript'


class _Logits(nn.Module):
    """The forward pass alone: a LightningModule has more than torch.export takes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.module(image_BCHW)


def graph_of(trained: Trained, form: str) -> torch.export.ExportedProgram:
    """form: named in errors. Raises ConfigError where the model has no graph."""
    if trained.config.task.kind == "detect":
        raise ConfigError(
            f"{form}: the number of objects depends on the image, which a graph cannot hold here: --export "
            "safetensors, which scaling.load takes"
        )
    side = trained.config.model.img_size
    images = torch.zeros(IMAGES, 3, side, side, dtype=torch.uint8)
    try:
        with torch.no_grad():
            return torch.export.export(
                _Logits(trained.module).eval(), (images,), dynamic_shapes=({0: torch.export.Dim("images")},)
            )
    except Exception as e:  # torch.export raises many kinds
        raise ConfigError(f"{form}: torch.export cannot trace this model ({first_line(e, 200)})") from e


def write_onnx(program: torch.export.ExportedProgram, path: Path) -> None:
    """Raises ConfigError where onnx or onnxscript are missing, and where ONNX lacks an operator."""
    missing = [name for name in ("onnx", "onnxscript") if not find_spec(name)]
    if missing:
        raise ConfigError(f"onnx: {' and '.join(missing)} not installed: {INSTALL}")
    mixer = torch.ops.patch_scaling.mixer.default
    try:
        with _silent():
            plain = program.run_decompositions({mixer: mix_dual})
            onnx = torch.onnx.export(plain, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False)
            assert onnx is not None  # which it is for the older exporter alone
            onnx.save(str(path), external_data=False)
    except Exception as e:  # the exporter raises many kinds
        raise ConfigError(f"onnx: torch.onnx cannot export this model ({first_line(e, 200)})") from e


def onnx_outputs(path: Path, images_BCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits of an ONNX file by the reference implementation of its operators, which is in the package onnx."""
    from onnx.reference import ReferenceEvaluator

    (logits,) = ReferenceEvaluator(str(path)).run(None, {"images": images_BCHW})
    return np.asarray(logits, np.float32)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without the exporter's remarks on its own operators: what matters is compared afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
