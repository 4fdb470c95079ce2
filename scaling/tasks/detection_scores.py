"""COCO's average precision of boxes and of masks: what a detection is worth, over a whole test set.

Source: the metric of COCO (arXiv 1405.0312; cocodataset.org, detection evaluation), by torchmetrics on faster-coco-eval
where it is installed, else on pycocotools: the same numbers. All in the images' own pixels, by at most 100 detections
an image. N detections, n objects, H W of the image [px].
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed
from torchmetrics.detection import MeanAveragePrecision

from scaling.recipe import BadInput

BACKENDS = {"faster_coco_eval": "faster_coco_eval.core.mask", "pycocotools": "pycocotools.mask"}  # the faster one first
KINDS = {"box": "bbox", "mask": "segm"}  # ours and COCO's names
SUMMARIES = {"50": "map_50", "75": "map_75", "_small": "map_small", "_medium": "map_medium", "_large": "map_large"}
IOUS = np.linspace(0.5, 0.95, 10).tolist()  # torchmetrics' own are rounded to float32: an IoU of 0.6 is below its 0.6
RECALLS = np.linspace(0, 1, 101).tolist()


def backend() -> str:
    """The package that counts. Raises BadInput where there is none."""
    found = next((name for name in BACKENDS if find_spec(name)), None)
    if found is None:
        raise BadInput(f"average precision needs {' or '.join(BACKENDS)}: make setup EXTRAS=dev,dense")
    return found


class AveragePrecision:
    """Counts image by image, on the CPU; several processes' images are put together, however many each has.

    torchmetrics would gather them too, but waits for ever where one process has an image more than another."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        name = backend()
        options: dict[str, Any] = {"iou_thresholds": IOUS, "rec_thresholds": RECALLS, "sync_on_compute": False}
        kinds: Any = tuple(KINDS.values())
        self.metric = MeanAveragePrecision(iou_type=kinds, extended_summary=True, backend=name, **options)  # type: ignore[arg-type]
        self.metric.warn_on_many_detections = False
        self.images: list[int] = []

    def update(self, found: Mapping[str, Tensor], truth: Mapping[str, Any]) -> None:
        """One image. found: boxes (N, 4), scores (N,), labels (N,), masks (N, H, W); truth: as in Objects."""
        self.images.append(int(truth["image_id"]))
        target = {
            "boxes": truth["boxes"].cpu().float().view(-1, 4),
            "labels": truth["labels"].cpu().long(),
            "masks": self.decoded(truth["masks"], truth["size"]),
            "iscrowd": truth["crowd"].cpu().long(),
            "area": truth["area"].cpu().float(),
        }
        said = {name: found[name].cpu() for name in ("boxes", "scores", "labels")}
        self.metric.update([{**said, "masks": found["masks"].cpu().to(torch.uint8)}], [target])

    @staticmethod
    def decoded(runs: Sequence[Mapping[str, Any]], size: Sequence[int]) -> Tensor:
        """Run lengths as COCO writes them, compressed or not, to masks (n, H, W)."""
        height, width = (int(side) for side in size)
        coco = import_module(BACKENDS[backend()])
        packed = [coco.frPyObjects(dict(r), height, width) if isinstance(r["counts"], list) else r for r in runs]
        masks = [torch.from_numpy(coco.decode(dict(r))) for r in packed]
        return torch.stack(masks) if masks else torch.zeros((0, height, width), dtype=torch.uint8)

    def compute(self) -> dict[str, float]:
        """box_ap, box_ap50, box_ap75, box_ap_small, box_ap_medium, box_ap_large, mask_ap and so on, and box_ap_CLASS
        and mask_ap_CLASS of classes that are there [%]. What has no object to be found has no precision, and no name
        here. Every process is given the numbers of all images."""
        several = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
        if not several:
            return self._of([(self.images, self.metric.metric_state)])
        parts: list[Any] = [None] * distributed.get_world_size()
        first = distributed.get_rank() == 0
        # One of them counts: it takes gigabytes and minutes for COCO.
        distributed.gather_object((self.images, self.metric.metric_state), parts if first else None)
        said = [self._of(parts) if first else None]
        distributed.broadcast_object_list(said)
        assert said[0] is not None
        return said[0]

    def _of(self, parts: Sequence[tuple[list[int], dict[str, list[Any]]]]) -> dict[str, float]:
        """The scores of images, in the order of their numbers: of equally sure detections COCO takes the first."""
        numbers = [number for images, _ in parts for number in images]
        order = np.argsort(numbers, kind="stable")
        for name in self.metric.metric_state:
            states = [state for _, of_part in parts for state in of_part[name]]
            setattr(self.metric, name, [states[i] for i in order])
        said = self.metric.compute() if numbers else {}
        values = {}
        for ours, theirs in KINDS.items() if said else ():
            # (IoUs, recalls, classes, areas, numbers of detections): all areas, most detections; -1: no object
            precision_TRK = said[f"{theirs}_precision"][:, :, :, 0, -1].double()
            classes = said["classes"].view(-1).tolist()
            of_class = {f"_{self.names[k]}": precision_TRK[:, :, i].mean().item() for i, k in enumerate(classes)}
            summaries = {key: said[f"{theirs}_{name}"].item() for key, name in {"": "map", **SUMMARIES}.items()}
            values |= {f"{ours}_ap{key}": 100 * v for key, v in {**of_class, **summaries}.items() if v >= 0}
        return values

    def reset(self) -> None:
        """Forget all images."""
        self.metric.reset()
        self.images = []
