"""COCO's average precision of boxes and of masks over a whole test set.

Source: the metric of COCO (arXiv 1405.0312; cocodataset.org, detection evaluation), by torchmetrics on pycocotools. In
the images' own pixels, of at most 100 detections per image. N detections, n objects, H W of the image [px].

Where faster-coco-eval is installed it computes the metric: the same numbers in a third of the time (1,000 images of 100
detections in 12 s instead of 33 s). pycocotools encodes masks in any case, which it does faster.
"""

import pickle
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import IO, Literal

import numpy as np
import torch
from torch import Tensor, distributed
from torchmetrics.detection import MeanAveragePrecision

from scaling.data.batch import GroundTruth, RunLengths
from scaling.data.coco.coco_annotations import Entry
from scaling.errors import ConfigError
from scaling.heads.openmmlab import INSTALL

COCO: Literal["pycocotools"] = "pycocotools"
FASTER: Literal["faster_coco_eval"] = "faster_coco_eval"
ImageStates = tuple[int, dict[str, Tensor | tuple[object, ...]]]  # COCO's id; what torchmetrics keeps of the image
KINDS = {"box": "bbox", "mask": "segm"}  # ours and COCO's names
# Suffixes of our names (detectron2's APs, APm and APl; those of classes begin with _), and torchmetrics' names.
SUMMARIES = {"50": "map_50", "75": "map_75", "s": "map_small", "m": "map_medium", "l": "map_large"}
IOUS = np.linspace(0.5, 0.95, 10).tolist()  # torchmetrics' own are rounded to float32: an IoU of 0.6 is below its 0.6
RECALLS = np.linspace(0, 1, 101).tolist()


def check_available() -> None:
    """Raise ConfigError where COCO's metric is not installed."""
    if not find_spec(COCO):
        raise ConfigError(f"average precision needs {COCO}: {INSTALL}")


class AveragePrecision:
    """Accumulates images in a temporary file, and gathers those of several processes, however many each has.

    A file, because small objects that are kept between allocations of large masks would keep the masks' memory from
    being freed (with glibc and pycocotools 28 MB per image of 640 x 480 px). Gathered here, because torchmetrics
    deadlocks where processes have unequal numbers of images."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.images: IO[bytes] | None = None

    def update(self, found: Mapping[str, Tensor], truth: GroundTruth) -> None:
        """Add an image. found: boxes (N, 4), scores (N,), labels (N,), masks (N, H, W) bool."""
        target = {
            "boxes": truth.boxes_n4.float(),
            "labels": truth.label_n.long(),
            "masks": decoded(truth.masks, truth.size),
            "iscrowd": truth.crowd_n.long(),
            "area": truth.area_n.float(),
        }
        columns = {name: found[name].detach().cpu() for name in ("boxes", "scores", "labels")}
        metric = _metric(COCO)
        metric.update([{**columns, "masks": found["masks"].cpu().view(torch.uint8)}], [target])
        states = {name: of_it for name, (of_it,) in metric.metric_state.items()}
        if self.images is None:
            self.images = tempfile.TemporaryFile()  # noqa: SIM115  reset closes it
        pickle.dump((truth.image_id, states), self.images)

    def compute(self) -> dict[str, float]:
        """box_ap, box_ap50, box_ap75, box_aps, box_apm and box_apl (of small, medium and large objects), the same for
        mask_ap, and box_ap_CLASS and mask_ap_CLASS [%]. Sizes and classes without an object are left out. Every process
        returns the values of all images."""
        own = self._kept()
        if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
            return self._of(own)
        # One of them computes: for COCO that takes minutes, and gigabytes.
        first = distributed.get_rank() == 0
        parts: list[list[ImageStates]] = [[] for _ in range(distributed.get_world_size())]
        distributed.gather_object(own, parts if first else None)
        values = [self._of([image for part in parts for image in part]) if first else {}]
        distributed.broadcast_object_list(values)
        return values[0]

    def _kept(self) -> list[ImageStates]:
        if self.images is None:
            return []
        kept, end = [], self.images.tell()
        self.images.seek(0)
        while self.images.tell() < end:
            kept.append(pickle.load(self.images))  # what update wrote
        return kept

    def _of(self, images: list[ImageStates]) -> dict[str, float]:
        """The values of images, in the order of their ids: of detections with equal scores COCO takes the first."""
        if not images:
            return {}
        metric = _metric(FASTER if find_spec(FASTER) else COCO)
        metric.update([], [])  # else it warns that it was not updated
        for _, states in sorted(images, key=lambda image: image[0]):
            for name, state in states.items():
                getattr(metric, name).append(state)
        computed = metric.compute()
        values: dict[str, float] = {}
        classes = computed["classes"].view(-1).tolist()
        for ours, theirs in KINDS.items():
            # (IoUs, recalls, classes, areas, numbers of detections): any area, most detections; -1: no object
            precision_TRK = computed[f"{theirs}_precision"][:, :, :, 0, -1].double()
            of_class = {f"_{self.names[k]}": precision_TRK[:, :, i].mean().item() for i, k in enumerate(classes)}
            summaries = {key: computed[f"{theirs}_{name}"].item() for key, name in {"": "map", **SUMMARIES}.items()}
            values |= {f"{ours}_ap{key}": 100 * v for key, v in {**of_class, **summaries}.items() if v >= 0}
        return values

    def reset(self) -> None:
        """Forget all images."""
        if self.images is not None:
            self.images.close()
        self.images = None


def _metric(backend: Literal["pycocotools", "faster_coco_eval"]) -> MeanAveragePrecision:
    return MeanAveragePrecision(
        iou_type=("bbox", "segm"),
        iou_thresholds=IOUS,
        rec_thresholds=RECALLS,
        extended_summary=True,
        backend=backend,
        sync_on_compute=False,
    )


def decoded(runs: Sequence[RunLengths], size: Sequence[int]) -> Tensor:
    """COCO's run lengths, compressed or not, as masks (n, H, W) uint8. size: height and width."""
    from pycocotools import mask as coco

    height, width = (int(side) for side in size)
    packed = [coco.frPyObjects(dict(r), height, width) if isinstance(r["counts"], list) else dict(r) for r in runs]
    masks = [torch.from_numpy(coco.decode(r)) for r in packed]
    return torch.stack(masks) if masks else torch.zeros((0, height, width), dtype=torch.uint8)


def to_coco_results(found: Mapping[str, Tensor], image_id: int, categories: Sequence[int], kind: str) -> list[Entry]:
    """Detections in an image as COCO's result files list them. found: as in update; categories: COCO's id of each
    class; kind: bbox, boxes, or segm, masks.

    One kind per file: where a result has a box, COCO's tools use the area of the box for that of the mask."""
    from pycocotools import mask as coco

    results = []
    for n, (x0, y0, x1, y1) in enumerate(found["boxes"].tolist()):
        if kind == KINDS["box"]:
            region: object = [x0, y0, x1 - x0, y1 - y0]
        else:
            run = coco.encode(np.asfortranarray(found["masks"][n].cpu().numpy(), np.uint8))
            region = {"size": [int(side) for side in run["size"]], "counts": run["counts"].decode()}
        category = categories[int(found["labels"][n])]
        name = kind if kind == KINDS["box"] else "segmentation"
        results.append(
            {"image_id": image_id, "category_id": category, name: region, "score": found["scores"][n].item()}
        )
    return results
