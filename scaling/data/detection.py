"""Images with boxes and instance masks: the embedded set, or files in COCO's layout (coco_dataset.py).

Images that fit in memory are decoded once, at their own size; the rest is read by worker processes. Training and
evaluation views are in transforms/detection.py. n objects in an image, H W pixels, C = 3 channels.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from scaling.config.at_shape import at_patch, at_shape, evaluated_patches, model_shape
from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import StepShape
from scaling.config.task import JITTERS
from scaling.costs.token_counts import size_multiple
from scaling.data.batch import Batch, Split
from scaling.data.coco.coco_dataset import CocoFiles
from scaling.data.coco.coco_json import used
from scaling.data.coco.coco_messages import remarks
from scaling.data.coco.instance_store import ImageObjects, InstanceStore, coco_masks
from scaling.data.dataset import fits_in_memory, read_keys
from scaling.data.files.file_facts import Selected
from scaling.data.files.parallel_reading import read_all, without_bad
from scaling.data.generated import generated_shapes
from scaling.data.generated.embedded_set import rendered
from scaling.data.open_sets import Examined
from scaling.data.own_sets import OwnImages
from scaling.data.transforms.detection import View, augmentation, collate, frame_of, rounded_up, view
from scaling.errors import ConfigError
from scaling.preprocessing import preprocessing_of
from scaling.rng import SampleKey


class DetectionDataset:
    """Images that read returns, (3, H, W) uint8, and the objects in them.

    categories: the data's own id of each class, for detections that are written as COCO results. notes: what was
    corrected in the data, and how often; the rest as in ImageDataset.
    """

    def __init__(
        self,
        read: Callable[[int], Tensor],
        objects: InstanceStore,
        config: ExperimentConfig,
        split: Split,
        categories: tuple[int, ...],
        *,
        in_memory: bool = False,
        sizes: Sequence[Hashable] = (),
        skipped: int = 0,
        notes: Mapping[str, float] | None = None,
    ) -> None:
        self.read, self.objects, self.config, self.split = read, objects, config, split
        self.categories = categories
        # Resizing takes milliseconds per image: in worker processes, even of images in memory.
        self.in_memory = in_memory and augmentation(config, split) not in JITTERS
        self.sizes, self.skipped = sizes, skipped
        self.notes = notes or {}

    def __len__(self) -> int:
        return len(self.objects)

    def get_batch(self, keys: list[SampleKey], shape: StepShape | None = None, progress: float = 0.0) -> Batch:
        config = at_shape(self.config, shape)

        def read(index: int, key: SampleKey) -> tuple[int, View]:
            return index, view(self.read(index), self.objects[index], config, self.split, key)

        found = read_keys(read, keys, len(self), config, self.split)
        least = config.model.img_size if augmentation(config, self.split) in JITTERS else 0
        views = [view for _, view in found.items]
        # A test batch has room for the padding of every patch size; the task cuts off what one does not need.
        patches = evaluated_patches(config) if self.split is Split.VAL else (config.model.patch_size,)
        multiple = math.lcm(*(size_multiple(at_patch(config, patch)) for patch in patches))
        pixels, targets = collate(views, multiple, least, preprocessing_of(config).grey)
        if self.split is Split.VAL:
            targets = targets._replace(truth=tuple(self.objects.truth(index) for index, _ in found.items))
        return Batch(pixels, found.keys, model_shape(config), targets, found.skipped)


class DetectionSource:
    """Methods as in open_sets.Source."""

    names, channels = generated_shapes.CLASSES, 4

    def check(self, config: ExperimentConfig) -> None:
        coco_masks()
        if "/" in config.data.dataset:
            raise ConfigError(
                f"{config.data.dataset} has no boxes: use COCO's layout, --dataset folder --data-root DIR"
            )

    def generate(self, config: ExperimentConfig, part: str, indices: np.ndarray, split: Split) -> DetectionDataset:
        image_NHWC = np.empty((len(indices), config.model.img_size, config.model.img_size, 3), np.uint8)

        def render() -> Iterator[ImageObjects]:
            for chunk, shapes in rendered(config, part, indices, instances=True):
                image_NHWC[chunk] = shapes.image_BHWC
                parts = shapes.boxes, shapes.instance_masks, shapes.instance_classes
                for i, *objects in zip(indices[chunk].tolist(), *parts, strict=True):
                    yield _generated(i, config.model.img_size, *objects)

        objects = InstanceStore.build(render())
        image_NCHW = torch.from_numpy(image_NHWC).permute(0, 3, 1, 2)
        categories = tuple(range(1, len(self.names) + 1))  # COCO's ids begin at 1
        return DetectionDataset(image_NCHW.__getitem__, objects, config, split, categories, in_memory=True)

    def wrap(self, images: OwnImages, indices: np.ndarray, config: ExperimentConfig, split: Split) -> DetectionDataset:
        raise ConfigError(
            f"data set {config.data.dataset} is of a plug-in, which has no boxes: use COCO's layout, --dataset folder "
            "--data-root DIR"
        )

    def select(self, config: ExperimentConfig) -> tuple[Selected[CocoFiles], Selected[CocoFiles]]:
        return used(config)

    def class_names(self, train: CocoFiles, config: ExperimentConfig) -> tuple[str, ...]:
        return tuple(name for _, name in train.categories)

    def remarks(
        self, train: Examined[CocoFiles], test: Examined[CocoFiles], config: ExperimentConfig, names: tuple[str, ...]
    ) -> Iterable[str]:
        return (*remarks(train.files), *remarks(test.files))

    def read(self, part: Examined[CocoFiles], config: ExperimentConfig, split: Split) -> DetectionDataset:
        coco, seen = part.files.take(part.indices.tolist()), part.seen
        fits = fits_in_memory(sum(3 * height * width for height, width in coco.sizes))
        found: Sequence[Tensor | OSError | None] = (
            read_all(coco.load, np.arange(len(coco)), seen) if fits else seen.errors()
        )
        good = without_bad(list(enumerate(found)), config.data.on_bad_image, coco.split)
        kept, images = coco.take(i for i, _ in good), [image for _, image in good if image is not None]
        views = [frame_of(size, config, split).size for size in kept.sizes] if split is Split.VAL else []
        return DetectionDataset(
            images.__getitem__ if fits else kept.load,
            kept.instances(),
            config,
            split,
            tuple(number for number, _ in coco.categories),
            sizes=[tuple(rounded_up(side, size_multiple(config)) for side in size) for size in views],
            skipped=len(coco) - len(good),
            notes=coco.notes,
        )


def _generated(number: int, side: int, box_n4: np.ndarray, mask_nHW: np.ndarray, class_n: np.ndarray) -> ImageObjects:
    runs = coco_masks().encode(np.asfortranarray(mask_nHW.transpose(1, 2, 0), np.uint8))
    counts = [run["counts"] for run in runs]
    crowd_n = np.zeros(len(class_n), bool)
    return ImageObjects(number, (side, side), box_n4, class_n, crowd_n, mask_nHW.sum((1, 2)), counts)
