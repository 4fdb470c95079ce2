"""OpenMMLab without compiled ops: mmseg 1.2 and mmdet 3.3 on mmcv-lite, with torchvision's kernels instead of mmcv's.

Both import mmcv.ops, which needs some hundred functions of the compiled module `mmcv._ext`; no registry has it for
current versions of torch. Here a module of that name provides nms and roi_align by torchvision's kernels; any other
function raises NotImplementedError with its name when called. A compiled mmcv is used where it is installed.

Calling conventions: mmcv/ops/nms.py, mmcv/ops/roi_align.py and mmcv/ops/csrc/pytorch/pybind.cpp of mmcv 2.1.
N boxes, K regions, B batch, C channels, H W and h w sides of the map and of a region's grid.
"""

import copy
import functools
import importlib
import importlib.util
import io
import logging
import os
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.machinery import ModuleSpec
from typing import Any

import torch
import torchvision  # noqa: F401 - registers torch.ops.torchvision
from torch import Tensor, nn

from scaling.config.fields import check_name
from scaling.errors import ConfigError, first_line

SCOPES = {"segmentation": "mmseg", "detection": "mmdet"}  # the package whose registry builds what
# mmseg imports ftfy and regex without declaring them as dependencies.
PACKAGES = ("mmengine", "mmcv", "ftfy", "regex", "mmseg", "mmdet")
INSTALL = "make setup EXTRAS=dev,dense, or pip install '.[dense]'"
EXT = "mmcv._ext"


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the boxes (N, 4) that no box of a higher score overlaps by more than iou_threshold, best first.

    offset: 1 where x2, y2 are the last pixel inside, so that a side is x2 - x1 + 1 [px]; else 0.
    """
    dtype = torch.promote_types(torch.promote_types(boxes.dtype, scores.dtype), torch.float32)  # no kernel for bf16
    boxes_N4 = boxes.to(dtype)
    if offset:
        boxes_N4 = boxes_N4 + boxes_N4.new_tensor([0, 0, offset, offset])
    return torch.ops.torchvision.nms(boxes_N4, scores.to(dtype), iou_threshold)


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write into output (K, C, h, w) the means of input (B, C, H, W) over the regions (K, 5): image, x1, y1, x2, y2."""
    if pool_mode != 1:  # 0 is max, the only mode that has an argmax
        raise NotImplementedError("roi_align with pool_mode 'max' needs a compiled mmcv; torchvision's has 'avg' only")
    grid = (spatial_scale, aligned_height, aligned_width, sampling_ratio, aligned)
    output.copy_(torch.ops.torchvision.roi_align(*_prepared(input, rois), *grid))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of the map into grad_input (B, C, H, W), from grad_output (K, C, h, w)."""
    grid = (spatial_scale, aligned_height, aligned_width)
    rest = (*grad_input.shape, sampling_ratio, aligned)
    grad_input.copy_(torch.ops.torchvision._roi_align_backward(*_prepared(grad_output, rois), *grid, *rest))


def _prepared(map: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float32 at least and contiguous: there is no bf16 kernel, and compiled RoIAligns read a strided view as
    if it were contiguous."""
    dtype = torch.promote_types(map.dtype, torch.float32)
    return map.to(dtype).contiguous(), rois.to(dtype).contiguous()


SERVED: dict[str, Callable[..., Any]] = {f.__name__: f for f in (nms, roi_align_forward, roi_align_backward)}


class StandIn(types.ModuleType):
    """mmcv._ext with the functions of SERVED; any other name is a function that raises when it is called."""

    def __init__(self) -> None:
        super().__init__(EXT, "torchvision's kernels under the names of mmcv's")
        self.__spec__ = ModuleSpec(EXT, None)  # importlib needs it
        self.__dict__.update(SERVED)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def absent(*_: Any, **__: Any) -> Any:
            raise NotImplementedError(f"{name} needs a compiled mmcv; torchvision stands in for {', '.join(SERVED)}")

        return absent


class _Nowhere(io.StringIO):
    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def _quietly() -> Iterator[None]:
    """Inside, nothing is printed, logged or warned of; global settings that a package changes are restored.

    At import cv2 sets LD_LIBRARY_PATH and QT_*, mmseg sets TOKENIZERS_PARALLELISM, others add filters of warnings.
    """
    root, nowhere = logging.getLogger(), _Nowhere()
    disabled, level, handlers = root.manager.disable, root.level, list(root.handlers)
    environment = dict(os.environ)
    try:
        with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            logging.disable(logging.CRITICAL)
            yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers
        for name in os.environ.keys() | environment.keys():
            if name not in environment:
                del os.environ[name]
            elif os.environ.get(name) != environment[name]:
                os.environ[name] = environment[name]
        for logger in list(root.manager.loggerDict.values()):  # of packages that are first imported here
            for handler in getattr(logger, "handlers", ()):
                if isinstance(handler, logging.StreamHandler) and handler.stream is nowhere:
                    handler.setStream(sys.stderr)


@functools.cache
def ready() -> None:
    """Import mmseg and mmdet, quietly, on mmcv's compiled module or its stand-in. Takes about 2 s, once.

    Raises ConfigError with what to install where a package is missing or one does not fit another.
    """
    try:
        with _quietly():
            for name in PACKAGES:  # all before any fills a registry, which cannot be filled twice
                importlib.import_module(name)
            if importlib.util.find_spec(EXT) is None:
                sys.modules[EXT] = StandIn()
            for scope in SCOPES.values():
                importlib.import_module(f"{scope}.models")
    except ModuleNotFoundError as e:
        raise ConfigError(f"there is no module {e.name}: the head needs OpenMMLab: {INSTALL}") from e
    except (ImportError, AssertionError, AttributeError, KeyError) as e:  # a rejected version, or one without a name
        reason = first_line(e, 200)
        raise ConfigError(f"OpenMMLab's versions do not fit ({reason}): the head needs OpenMMLab: {INSTALL}") from e


def build(registry: str, config: dict[str, Any]) -> nn.Module:
    """The module of a config (`type` and its arguments); registry: segmentation (mmseg) or detection (mmdet).

    Its weights are those of its constructor: the caller initialises them by name.
    """
    check_name("registry", registry, SCOPES)
    ready()
    scope = SCOPES[registry]
    models = importlib.import_module(f"{scope}.registry").MODELS
    with _quietly():
        # _scope_: this package's registry, whatever default scope was set last. A copy, as constructors pop from it.
        return models.build({**copy.deepcopy(config), "_scope_": scope})
