"""Images with one class per pixel: the embedded set, folders of images and label maps (segmentation_folder.py), or
objects in COCO's layout (coco_label_maps.py).

What fits in memory is decoded once, at its own size; the rest is read by worker processes. Training and evaluation
views are in transforms/segmentation.py. N images, H W pixels, C = 3 channels.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from scaling.config.at_shape import at_shape, model_shape
from scaling.config.data import COCO_LAYOUT
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import SequencePacking
from scaling.config.step_shapes import StepShape
from scaling.config.task import RESIZED_CROPS
from scaling.data import packed_segmentation
from scaling.data.batch import Batch, MaskTargets, Split
from scaling.data.coco import coco_label_maps
from scaling.data.coco.instance_store import coco_masks
from scaling.data.dataset import ImageDataset, fits_in_memory, read_keys
from scaling.data.files.class_list_file import names_beside
from scaling.data.files.data_root import find_root
from scaling.data.files.file_facts import Selected
from scaling.data.files.label_classes import check_classes
from scaling.data.files.parallel_reading import read_all, without_bad
from scaling.data.files.segmentation_folder import LabelMaps, used
from scaling.data.generated import generated_shapes
from scaling.data.generated.embedded_set import rendered
from scaling.data.open_sets import Examined
from scaling.data.own_sets import OwnImages
from scaling.data.transforms.scheduled_crop import scheduled_crop, whole
from scaling.data.transforms.segmentation import evaluation_view, scaled, short_side, training_view
from scaling.errors import ConfigError
from scaling.rng import SampleKey


class SegmentationDataset:
    """n images and label maps that read returns, uint8; the rest as in ImageDataset."""

    def __init__(
        self,
        read: Callable[[int], tuple[Tensor, Tensor]],
        n: int,
        config: ExperimentConfig,
        split: Split,
        *,
        in_memory: bool = True,
        sizes: Sequence[Hashable] = (),
        skipped: int = 0,
    ) -> None:
        self.read, self.n, self.config, self.split = read, n, config, split
        # Resizing and distorting take milliseconds per image: in worker processes, even of images in memory.
        self.in_memory = in_memory and not (split is Split.TRAIN and config.task.augment in RESIZED_CROPS)
        self.sizes, self.skipped = sizes, skipped

    def __len__(self) -> int:
        return self.n

    def get_batch(self, keys: list[SampleKey], shape: StepShape | None = None, progress: float = 0.0) -> Batch:
        config = at_shape(self.config, whole(shape))

        def read(index: int, key: SampleKey) -> tuple[Tensor, Tensor]:
            image_CHW, label_HW = self.read(index)
            if self.split is Split.VAL:
                return evaluation_view(image_CHW, label_HW, config)
            return training_view(image_CHW, label_HW, config, key)

        found = read_keys(read, keys, self.n, config, self.split)
        if found.items:
            image_BCHW, label_BHW = (torch.stack(parts) for parts in zip(*found.items, strict=True))
        else:
            label_BHW = torch.empty((0, config.model.img_size, config.model.img_size), dtype=torch.uint8)
            image_BCHW = label_BHW[:, None].expand(0, 3, config.model.img_size, config.model.img_size)
        batch = Batch(image_BCHW, found.keys, model_shape(config), MaskTargets(label_BHW), found.skipped)
        return scheduled_crop(batch, shape, config.seed)


class SegmentationSource:
    """Methods as in open_sets.Source."""

    names, channels = ("background", *generated_shapes.CLASSES), 4

    def check(self, config: ExperimentConfig) -> None:
        if config.data.dataset in COCO_LAYOUT:
            coco_masks()
        if "/" in config.data.dataset:
            raise ConfigError(
                f"{config.data.dataset} has no label maps: use a folder, --dataset folder --data-root DIR"
            )

    def generate(self, config: ExperimentConfig, part: str, indices: np.ndarray, split: Split) -> ImageDataset:
        if isinstance(config.packing, SequencePacking):
            return packed_segmentation.generated(config, part, indices, split)
        n = len(indices)
        image_NHWC = np.empty((n, config.model.img_size, config.model.img_size, 3), np.uint8)
        label_NHW = np.empty((n, config.model.img_size, config.model.img_size), np.uint8)
        for chunk, shapes in rendered(config, part, indices):
            image_NHWC[chunk], label_NHW[chunk] = shapes.image_BHWC, shapes.mask_BHW
        image_NCHW, label = torch.from_numpy(image_NHWC).permute(0, 3, 1, 2), torch.from_numpy(label_NHW)
        return SegmentationDataset(lambda i: (image_NCHW[i], label[i]), n, config, split)

    def wrap(self, images: OwnImages, indices: np.ndarray, config: ExperimentConfig, split: Split) -> ImageDataset:
        sizes = range(len(indices)) if split is Split.VAL else ()  # unknown: each test image is a batch of its own

        def read(i: int) -> tuple[Tensor, Tensor]:
            return images.load_map(int(indices[i]))

        return SegmentationDataset(read, len(indices), config, split, in_memory=False, sizes=sizes)

    def select(self, config: ExperimentConfig) -> tuple[Selected[LabelMaps], Selected[LabelMaps]]:
        if config.data.dataset in COCO_LAYOUT:
            return coco_label_maps.used(config)
        self._listed_names(config)  # before the label files are read
        return used(config)

    def class_names(self, train: LabelMaps, config: ExperimentConfig) -> tuple[str, ...]:
        if isinstance(train, coco_label_maps.CocoLabelMaps):
            return coco_label_maps.class_names(train)
        return self._listed_names(config)

    def _listed_names(self, config: ExperimentConfig) -> tuple[str, ...]:
        """Class names in the file that lists them. Raises ConfigError unless their number is that of the classes."""
        if config.data.class_names:
            return ()
        path, names = names_beside(find_root(config.data.data_root or ""))
        if path is not None and len(names) != config.data.num_classes:
            hint = f"set --num-classes {len(names)}, or correct the list"
            raise ConfigError(f"{path} names {len(names)} classes, the recipe has {config.data.num_classes}; {hint}")
        return names

    def remarks(
        self,
        train: Examined[LabelMaps],
        test: Examined[LabelMaps],
        config: ExperimentConfig,
        names: tuple[str, ...],
    ) -> Iterable[str]:
        return (*train.files.lines, *test.files.lines, *check_classes(train.seen, test.seen, config, names))

    def read(self, part: Examined[LabelMaps], config: ExperimentConfig, split: Split) -> ImageDataset:
        files, indices, seen = part.files, part.indices, part.seen
        sizes = [(height, width) for height, width in seen.size_N2.tolist()]
        fits = fits_in_memory(sum(4 * height * width for height, width in sizes))
        found: Sequence[tuple[Tensor, Tensor] | OSError | None] = (
            read_all(files.load, indices, seen) if fits else seen.errors()
        )
        good = without_bad(list(enumerate(found)), config.data.on_bad_image, files.split)
        kept = files.take([int(indices[i]) for i, _ in good])
        images = [image_and_label for _, image_and_label in good if image_and_label is not None]
        read, skipped = images.__getitem__ if fits else kept.load, len(indices) - len(good)
        if isinstance(config.packing, SequencePacking):
            return packed_segmentation.packed_scenes(
                read, [sizes[i] for i, _ in good], config, split, in_memory=fits, skipped=skipped
            )
        views = [(scaled(*sizes[i], short_side(config)), sizes[i]) for i, _ in good] if split is Split.VAL else []
        return SegmentationDataset(read, len(good), config, split, in_memory=fits, sizes=views, skipped=skipped)
