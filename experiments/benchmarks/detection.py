"""Detection compared with torchvision's Mask R-CNN on the same backbone and the same maps: time and memory of a
training step and of looking at an image.

Ours is a cascade: three stages of boxes and masks where torchvision's has one, so the ratio to expect is above 1.
Both learn from as many regions, and both take a step in turn, in one process.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from rich.table import Table
from torch import Tensor, nn

from experiments.benchmarks.timing import interleaved, peak_of
from experiments.cli.resolve import resolve
from scaling.config.experiment import ExperimentConfig
from scaling.data.batch import InstanceTargets, normalise
from scaling.data.datamodule import ImageDataModule
from scaling.heads.cascade_mask_rcnn import Neck
from scaling.model_specs import ANCHOR_STRIDES, FPN_STRIDES
from scaling.rng import SampleKey
from scaling.tasks.detection import DetectionTask

if TYPE_CHECKING:
    from torchvision.models.detection import MaskRCNN

TURNS, WARM, BATCH = 5, 1, 8
PATCHES = (16, 8, 4)


class Maps(nn.Module):
    """A backbone and the neck of our head, as torchvision wants them: maps by name."""

    def __init__(self, config: ExperimentConfig) -> None:
        super().__init__()
        task = DetectionTask(config, 1)
        self.backbone, self.neck, self.out_channels = task.backbone, task.head.neck, config.detection.head.head_channels
        assert isinstance(self.neck, Neck)

    def forward(self, image_BCHW: Tensor) -> dict[str, Tensor]:
        size = (image_BCHW.shape[-2], image_BCHW.shape[-1])
        found = self.neck(self.backbone(image_BCHW).to_map(), size)
        return {str(number): map_BChw for number, map_BChw in enumerate(found)}


def detection() -> Table:
    """Medians of a step in training and of an image in evaluation, ours over torchvision's; the share of our step that
    is not the backbone's; and what a step adds to memory."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    heads = ("patch", "step [ms]", "over tv", "outside", "image [ms]", "over tv", "step [MB]", "over tv")
    table = Table(*heads, title=f"shapes.det_nano, batch {BATCH}, {device}; tv: torchvision's Mask R-CNN")
    for patch in PATCHES:
        config = resolve("shapes.det_nano", patch, {"global_batch_size": BATCH, "num_train": 64, "num_val": 8})[0]
        steps, looks = _ours_and_theirs(config, device)
        step, look = (interleaved(calls, TURNS, WARM, device == "cuda") for calls in (steps, looks))
        peak = {name: peak_of(call, device == "cuda") for name, call in steps.items() if name != "backbone"}
        table.add_row(
            str(patch), f"{1000 * step['ours']:.0f}", f"{step['ours'] / step['tv']:.2f}",
            f"{100 * (1 - step['backbone'] / step['ours']):.0f} %", f"{1000 * look['ours'] / BATCH:.1f}",
            f"{look['ours'] / look['tv']:.2f}", f"{peak['ours'] / 1e6:.0f}", f"{peak['ours'] / max(1, peak['tv']):.2f}",
        )  # fmt: skip
    return table


Calls = dict[str, Callable[[], None]]


def _ours_and_theirs(config: ExperimentConfig, device: str) -> tuple[Calls, Calls]:
    data = ImageDataModule(config)
    data.setup()
    train = data.train_set.get_batch([SampleKey(0, n) for n in range(BATCH)])
    test = data.test_set.get_batch([SampleKey(0, n) for n in range(BATCH)])
    ours = DetectionTask(config, 1).to(device).train()
    theirs, eyes = _torchvision(config).to(device).train(), _torchvision(config).to(device).eval()
    image_BCHW = train.pixels.to(device)
    instances = train.targets
    assert isinstance(instances, InstanceTargets)
    targets = [
        {"boxes": b.to(device), "labels": k.to(device) + 1, "masks": m.to(device)}
        for b, k, m in zip(instances.boxes, instances.labels, instances.masks, strict=True)
    ]
    held = DetectionTask(config, 1).to(device).eval()

    def step() -> None:
        ours.zero_grad()
        ours.training_step(train.to(device), 0).backward()

    def their_step() -> None:
        theirs.zero_grad()
        sum(theirs(list(normalise(image_BCHW)), targets).values()).backward()

    def backbone() -> None:
        ours.zero_grad()
        ours.backbone(normalise(image_BCHW)).to_map().sum().backward()

    def look() -> None:
        held.predict(test.to(device))

    @torch.no_grad()
    def their_look() -> None:
        eyes(list(normalise(test.pixels.to(device))))

    return {"ours": step, "tv": their_step, "backbone": backbone}, {"ours": look, "tv": their_look}


def _torchvision(config: ExperimentConfig) -> "MaskRCNN":
    """Mask R-CNN with anchors, regions and widths as ours has them."""
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
    from torchvision.ops import MultiScaleRoIAlign

    names = [str(number) for number in range(len(FPN_STRIDES))]
    rois, c = min(512, config.model.img_size), config.detection.head.head_channels
    return MaskRCNN(
        Maps(config),
        box_head=TwoMLPHead(49 * c, 4 * c),
        box_predictor=FastRCNNPredictor(4 * c, config.data.num_classes + 1),
        mask_head=MaskRCNNHeads(c, (c,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(c, c, config.data.num_classes + 1),
        min_size=config.model.img_size,
        max_size=config.model.img_size,
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        rpn_anchor_generator=AnchorGenerator(
            tuple((8 * s,) for s in ANCHOR_STRIDES), ((0.5, 1.0, 2.0),) * len(ANCHOR_STRIDES)
        ),
        box_roi_pool=MultiScaleRoIAlign(names, 7, 0),
        mask_roi_pool=MultiScaleRoIAlign(names, 14, 0),
        rpn_batch_size_per_image=rois // 2,
        box_batch_size_per_image=rois,
    )
