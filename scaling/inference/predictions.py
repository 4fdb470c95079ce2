"""Predictions of a trained model for image files, one kind per task: rows of a table, values for JSON, a picture.

An image is prepared as in the run's own evaluation (Trained.view) and computed in its precision, so that probabilities
are those of the test images. K classes, H W pixels of the file's image, N detections, n detections that are sure.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from scaling.config.at_shape import at_patch
from scaling.config.packing import SequencePacking
from scaling.config.task import base_kind
from scaling.engine.trainer import precision_of
from scaling.errors import ConfigError
from scaling.inference.trained import Trained, read_rgb
from scaling.tasks.coco_metric import to_coco_results
from scaling.tasks.detection import DetectionTask
from scaling.tasks.segmentation import SegmentationTask
from scaling.tasks.visualize import LEAST, Drawn, objects_side_by_side, side_by_side

Row = tuple[str, ...]  # cells of a table


class ClassProbabilities(NamedTuple):
    """Classification."""

    probability_K: NDArray[np.float32]

    def best(self, top: int) -> list[int]:
        return np.argsort(-self.probability_K, kind="stable")[:top].tolist()

    def rows(self, names: Sequence[str], top: int | None) -> list[Row]:
        """Class and probability of the `top` most probable classes; None: of one."""
        return [(names[k], f"{self.probability_K[k]:.4f}") for k in self.best(top or 1)]

    def to_json(self, names: Sequence[str], top: int | None) -> dict[str, object]:
        """The `top` most probable classes; None: all."""
        found = self.best(top or len(names))
        return {
            "classes": [{"class": names[k], "index": k, "probability": float(self.probability_K[k])} for k in found]
        }


class ClassMap(NamedTuple):
    """Segmentation."""

    class_HW: NDArray[np.uint8]

    def shares(self, top: int | None) -> list[tuple[int, float]]:
        """Classes and their shares of the pixels, the largest first."""
        counts = np.bincount(self.class_HW.ravel()) / self.class_HW.size
        order = np.argsort(-counts, kind="stable")[: int(np.count_nonzero(counts))]
        return [(int(k), float(counts[k])) for k in order[:top]]

    def rows(self, names: Sequence[str], top: int | None) -> list[Row]:
        """Class and share of the pixels [%]."""
        return [(names[k], f"{100 * share:.1f}") for k, share in self.shares(top)]

    def to_json(self, names: Sequence[str], top: int | None) -> dict[str, object]:
        height, width = self.class_HW.shape
        found = [{"class": names[k], "index": k, "share": share} for k, share in self.shares(top)]
        return {"height": height, "width": width, "classes": found}

    def picture(self, rgb: Image.Image, names: Sequence[str]) -> Image.Image:
        """The image and its classes in colours, with a legend."""
        return side_by_side(np.asarray(rgb), None, self.class_HW, names)


class Objects(NamedTuple):
    """Detection. found: boxes (N, 4) x0 y0 x1 y1 [px], scores (N,), labels (N,), masks (N, H, W), best first."""

    found: dict[str, Tensor]

    def rows(self, names: Sequence[str], top: int | None) -> list[Row]:
        """Class, score and box of objects with a score of LEAST or more."""
        labels, scores, boxes = (self.found[name].tolist() for name in ("labels", "scores", "boxes"))
        sure = [n for n, score in enumerate(scores) if score >= LEAST][:top]
        return [(names[labels[n]], f"{scores[n]:.4f}", " ".join(f"{x:.0f}" for x in boxes[n])) for n in sure] or [
            (f"no object of score {LEAST} or more", "", "")
        ]

    def to_json(self, names: Sequence[str], top: int | None) -> dict[str, object]:
        """All objects, whatever their scores; masks as COCO's compressed run lengths."""
        masks = to_coco_results(self.found, 0, range(len(names)), "segm")
        columns = zip(*(self.found[name].tolist() for name in ("labels", "scores", "boxes")), masks, strict=True)
        objects = [
            {"class": names[k], "index": k, "score": score, "box": box, "mask": mask["segmentation"]}
            for k, score, box, mask in columns
        ]
        return {"objects": objects[:top]}

    def picture(self, rgb: Image.Image, names: Sequence[str]) -> Image.Image:
        """The image, and the objects with a score of LEAST or more, with a legend."""
        detections = (self.found[name].numpy() for name in ("boxes", "labels", "masks", "scores"))
        return objects_side_by_side(np.asarray(rgb), None, Drawn(*detections), names)


Prediction = ClassProbabilities | ClassMap | Objects


class Predicted(NamedTuple):
    """An image file: its prediction, or why it cannot be read."""

    file: Path
    rgb: Image.Image | None
    result: Prediction | OSError


def check_patch_size(trained: Trained, patch_size: int | None) -> None:
    """Raise ConfigError unless the model takes this patch size [px], which divides its images; None: its own."""
    own = trained.config.model.patch_size
    if patch_size not in (None, own) and not trained.config.model.any_patch:
        raise ConfigError(
            f"--patch {patch_size}: this model has one patch size, {own} px; only flexible models take others"
        )
    at_patch(trained.config, patch_size)


def predict(
    trained: Trained, files: Iterable[Path], patch_size: int | None = None, batch: int = 32
) -> Iterator[Predicted]:
    """The predictions for image files, in their order. patch_size: of a flexible model [px]; None: its own. batch:
    images at a time in classification; images of several sizes are computed one by one. Raises ConfigError for a
    patch size that the model does not have."""
    check_patch_size(trained, patch_size)
    config = trained.config
    one_size = base_kind(config.task) == "classify" and not isinstance(config.packing, SequencePacking)
    waiting: list[Predicted] = []
    for file in files:
        try:
            waiting.append(Predicted(file, read_rgb(file), OSError()))
        except OSError as e:
            waiting.append(Predicted(file, None, e))
        if len(waiting) == (batch if one_size else 1):
            yield from _computed(trained, waiting, patch_size)
            waiting = []
    yield from _computed(trained, waiting, patch_size)


@torch.no_grad()
def _computed(trained: Trained, read: list[Predicted], patch_size: int | None) -> list[Predicted]:
    """With the results for the images that are read."""
    images = [one.rgb for one in read if one.rgb is not None]
    if not images:
        return read
    device = next(trained.module.parameters()).device
    mixed = precision_of(trained.config.precision, device.type) == "bf16-mixed"
    with torch.autocast(device.type, torch.bfloat16, mixed, cache_enabled=False):
        results = iter(_results(trained, images, device, patch_size))
    return [one if one.rgb is None else one._replace(result=next(results)) for one in read]


def _results(
    trained: Trained, images: list[Image.Image], device: torch.device, patch_size: int | None
) -> Sequence[Prediction]:
    views, kind = [trained.view(rgb).to(device) for rgb in images], base_kind(trained.config.task)
    if kind == "classify":
        logits_BK = trained.module(torch.cat(views), patch_size).float()
        return [ClassProbabilities(p_K) for p_K in logits_BK.softmax(1).cpu().numpy()]
    sizes = [(rgb.height, rgb.width) for rgb in images]
    if kind == "segment":
        segmenter = cast(SegmentationTask, trained.module)
        maps = [segmenter.class_map(view, size, patch_size) for view, size in zip(views, sizes, strict=True)]
        return [ClassMap(class_HW.cpu().numpy()) for class_HW in maps]
    detector = cast(DetectionTask, trained.module)
    return [Objects(detector(view, patch_size, size)[0]) for view, size in zip(views, sizes, strict=True)]
