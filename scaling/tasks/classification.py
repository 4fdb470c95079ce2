"""Classification: one class per image, cross-entropy [nats]. B batch, K classes, C = 3 channels, H W pixels."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

from PIL import Image
from timm.data import Mixup
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from scaling.backbones.base import Features
from scaling.config.experiment import ExperimentConfig
from scaling.data.batch import Batch, ClassTargets
from scaling.heads.classification import ClassificationHead, build_head
from scaling.packing.packed_images import PackedImages
from scaling.rng import seed_of, seeded_numpy
from scaling.tasks.base import Scores, TaskModule
from scaling.tasks.visualize import with_classes

Mixing = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class ClassScores(Scores):
    """Test loss [nats], top1 and top5 [%] of an evaluation."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.test_loss = MeanMetric()
        self.top1 = MulticlassAccuracy(classes, top_k=1, average="micro")
        self.top5 = MulticlassAccuracy(classes, top_k=min(5, classes), average="micro")

    def update(self, logits_BK: Tensor, label_B: Tensor) -> None:
        # Per image: the last batch is smaller, and unreadable images may be missing anywhere.
        self.test_loss.update(cross_entropy(logits_BK, label_B, reduction="none"))
        self.top1.update(logits_BK, label_B)
        self.top5.update(logits_BK, label_B)

    def compute(self) -> dict[str, float]:
        """By the names of a record."""
        shares = {name: 100 * metric.compute().item() for name, metric in (("top1", self.top1), ("top5", self.top5))}
        return {"test_loss": self.test_loss.compute().item(), **shares}


class ClassificationTask(TaskModule[Tensor]):
    """A backbone and a head on its tokens. Metrics: top1 and top5 [%]."""

    head: ClassificationHead

    def __init__(self, config: ExperimentConfig, total_steps: int, names: Sequence[str] = ()) -> None:
        super().__init__(config, total_steps, names)
        self.head = build_head(config.task.head.kind, self.backbone.width, config.data.num_classes, config.seed)
        self.mixing = _mixing(config)

    def forward(self, images: Tensor | PackedImages, patch_size: int | None = None) -> Tensor:
        """uint8 images (B, C, H, W), or packed ones, to logits (B, K). patch_size [px]: None is the model's own."""
        return self.head(self.features(self.normalised(images), patch_size=patch_size))

    def training_batch(self, batch: Batch) -> Batch:
        """Normalised, and mixed with its reverse (timm's Mixup). The random numbers follow from seed and step: all
        micro-batches of a step are mixed alike, and data/sampler.py keeps partners in one micro-batch."""
        batch = super().training_batch(batch)
        if self.mixing is None:
            return batch
        targets = _classes(batch)
        with seeded_numpy(seed_of(self.config.seed, "mixup", self.global_step)):
            image_BCHW, mixed_BK = self.mixing(batch.pixels, targets.label_B)
        return replace(batch, pixels=image_BCHW, targets=ClassTargets(targets.label_B, mixed_BK))

    def training_outputs(self, batch: Batch) -> tuple[Features, Tensor]:
        features = self.features(batch.images, patch_size=batch.shape.patch_size)
        return features, self.head(features)

    def supervised_loss(self, batch: Batch, outputs: Tensor) -> Tensor:
        targets = _classes(batch)
        if targets.mixed_BK is not None:
            return cross_entropy(outputs, targets.mixed_BK)
        return cross_entropy(outputs, targets.label_B, label_smoothing=self.config.classification.smoothing)

    def image_scores(self, batch: Batch) -> dict[str, Tensor]:
        logits_BK, label_B = self(batch.images).float(), _classes(batch).label_B
        correct_B = logits_BK.argmax(1) == label_B
        return {"test_loss": cross_entropy(logits_BK, label_B, reduction="none"), "top1": 100.0 * correct_B}

    def make_scores(self) -> ClassScores:
        return ClassScores(self.config.data.num_classes)

    def update_scores(self, batch: Batch, patch_size: int) -> None:
        scores = cast(ClassScores, self.scores_at(patch_size))
        scores.update(self(batch.images, patch_size).float(), _classes(batch).label_B)

    def logged_pictures(self, batch: Batch) -> list[Image.Image]:
        probability_BK = self(batch.images).float().softmax(1).cpu().numpy()
        images = batch.images.images() if isinstance(batch.images, PackedImages) else batch.images
        return [
            with_classes(image_CHW.permute(1, 2, 0).cpu().numpy(), label, probability_K, self.names)
            for image_CHW, label, probability_K in zip(
                images, _classes(batch).label_B.tolist(), probability_BK, strict=True
            )
        ]


def _classes(batch: Batch) -> ClassTargets:
    assert isinstance(batch.targets, ClassTargets)
    return batch.targets


def _mixing(config: ExperimentConfig) -> Mixing | None:
    """timm's Mixup and CutMix, with label smoothing; None where the recipe has neither."""
    if not (config.classification.mixup or config.classification.cutmix):
        return None
    return Mixup(
        config.classification.mixup,
        config.classification.cutmix,
        label_smoothing=config.classification.smoothing,
        num_classes=config.data.num_classes,
    )
