"""TaskModule: what all tasks have in common. A backbone and a head, the training loss as a sum of objectives,
evaluation, and the optimiser. A subclass adds the head, its loss and its metrics.
"""

import functools
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Generic, TypeVar, cast

import lightning as L
import torch
from PIL import Image
from torch import Tensor, nn
from torchmetrics import Metric, SumMetric

from scaling.backbones.base import Features
from scaling.backbones.drop_path import set_sample_keys
from scaling.backbones.registry import build_with_head
from scaling.config.at_shape import evaluated_patches
from scaling.config.experiment import ExperimentConfig
from scaling.data.batch import Batch, normalise
from scaling.packing.packed_images import PackedImages
from scaling.tasks.gradient_norms import GradientNorms, clip_gradients
from scaling.tasks.leaf_counts import LeafCounts
from scaling.tasks.mixed_patches import by_patch_size
from scaling.tasks.objectives import BUILDERS, Objective
from scaling.tasks.optim import Optimisation, adamw
from scaling.tasks.sharded_passes import keep_in_step

Images = TypeVar("Images", bound=Tensor | PackedImages)
Outputs = TypeVar("Outputs")  # what a task's head gives in training


class Scores(nn.Module):
    """What accumulates over an evaluation at one patch size."""

    def compute(self) -> dict[str, float]:
        """test_loss and the metrics of a task, by the names of a record, over the images since the last reset and over
        all devices."""
        raise NotImplementedError

    def reset(self) -> None:
        for each in self.children():
            cast(Metric, each).reset()


class TaskModule(L.LightningModule, Generic[Outputs]):
    """total_steps: optimiser steps of the whole run. names: of the classes; empty: their indices.

    batch.shape is the shape of a training step. An evaluation reads every image once, whatever the number of
    evaluated_patches, which is one, the model's own, unless the embedding takes patches of any size. After an
    evaluation `compute_metrics` returns test_loss [nats] and the metrics of the task, over all images and devices; and
    skipped_test_later, the number of images that could not be read, where there are any; of adaptive patches their
    number per image and by size (leaf_counts.py).
    """

    head: nn.Module  # set by the subclass, after the backbone

    def __init__(self, config: ExperimentConfig, total_steps: int, names: Sequence[str] = ()) -> None:
        super().__init__()
        self.config, self.total_steps = config, total_steps
        self.names = [str(name) for name in names] or [str(number) for number in range(config.data.num_classes)]
        self.backbone, self.initial_head = build_with_head(config)
        self.channels_last = False
        self.objectives: dict[str, Objective] = {o.kind: BUILDERS[o.kind](o, self) for o in config.objectives}
        self.objective_losses: dict[str, Tensor] = {}  # of the last micro-batch, by kind, without their weights
        self.gradient_norms: GradientNorms | None = None  # of the last step, in a run that clips them
        self.skipped = SumMetric()
        self.leaf_counts = LeafCounts(self.backbone)
        self.sharded = False  # whether devices share the weights (engine/fsdp.py)
        self.scores = nn.ModuleDict({str(patch): self.make_scores() for patch in evaluated_patches(config)})
        self.evaluated_patches: tuple[int, ...] = (config.model.patch_size,)  # by the next evaluation [px]
        self._computed: dict[int, dict[str, float]] | None = None  # of the last evaluation, by patch size

    @staticmethod
    def check_available(config: ExperimentConfig) -> None:
        """Raise ConfigError where the task needs a package that is not installed, or the recipe cannot be built."""

    def normalised(self, images: Images) -> Images:
        """uint8 images as the backbone expects them."""
        pixels = (self.backbone.mean, self.backbone.std)
        if isinstance(images, PackedImages):
            packed = images.map(lambda x_LP: normalise(x_LP.view(len(x_LP), 3, -1, 1), *pixels).flatten(1))
            return cast(Images, packed)
        return cast(Images, normalise(images, *pixels))

    def features(
        self, images: Tensor | PackedImages, blocks: Sequence[int] = (), patch_size: int | None = None
    ) -> Features:
        """Features of the backbone for normalised images. blocks: those whose tokens are needed too; patch_size: of the
        step [px], None: that of the backbone."""
        if self.channels_last and isinstance(images, Tensor):
            images = images.contiguous(memory_format=torch.channels_last)
        return self.backbone(images, blocks, patch_size)

    # Training

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        whole = self.training_batch(batch)
        found = [self._losses_of(part, len(part) / len(whole)) for part in by_patch_size(whole, self.config)]
        losses = {
            kind: functools.reduce(operator.add, [of_part[kind] for of_part in found]) for kind in self.objectives
        }
        self.objective_losses = {kind: loss.detach() for kind, loss in losses.items()}
        return cast(Tensor, sum(self.objectives[kind].weight * loss for kind, loss in losses.items()))

    def _losses_of(self, part: Batch, share: float) -> dict[str, Tensor]:
        """The terms of the loss of a part of a batch, by kind, times its share of the images."""
        set_sample_keys(self.backbone, part.keys, self.config.seed, self.device)
        features, outputs = self.training_outputs(part)
        return {kind: share * each.loss(self, part, features, outputs) for kind, each in self.objectives.items()}

    def training_batch(self, batch: Batch) -> Batch:
        """The batch with normalised pixels."""
        images = self.normalised(batch.images)
        return replace(batch, pixels=images if isinstance(images, Tensor) else images.patch_LP)

    def training_outputs(self, batch: Batch) -> tuple[Features, Outputs]:
        """Features of the backbone, and whatever supervised_loss needs of the head."""
        raise NotImplementedError

    def supervised_loss(self, batch: Batch, outputs: Outputs) -> Tensor:
        """The training loss against the labels: a scalar [nats]."""
        raise NotImplementedError

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """As Lightning clips to a norm, and gradient_norms are kept."""
        if gradient_clip_val:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            self.gradient_norms = clip_gradients(parameters, gradient_clip_val)

    # Evaluation

    def make_scores(self) -> Scores:
        """The scores of one patch size, empty."""
        raise NotImplementedError

    def scores_at(self, patch_size: int) -> Scores:
        """The scores of one of the patch sizes that a run is evaluated at [px]."""
        return cast(Scores, self.scores[str(patch_size)])

    def evaluation_passes(self, batch: Batch, patch_size: int) -> int:
        """Forward passes that the evaluation of a batch takes at one patch size [px]."""
        return min(1, len(batch))

    def update_scores(self, batch: Batch, patch_size: int) -> None:
        """Evaluate a batch of one image or more at one patch size [px], into its scores."""
        raise NotImplementedError

    def image_scores(self, batch: Batch) -> dict[str, Tensor]:
        """test_loss [nats] and the first metric [%] of each image (B,), by the names of a record, counted in no metric.
        Classification only."""
        raise NotImplementedError

    def _evaluate(self, batch: Batch, batch_idx: int) -> None:
        self._computed = None
        self.skipped.update(batch.skipped)
        keep_in_step(self, sum(self.evaluation_passes(batch, patch) for patch in self.evaluated_patches))
        if len(batch):  # this device may have none left, or the only image of a batch cannot be read
            with self.leaf_counts.counting(self.backbone):
                for patch in self.evaluated_patches:
                    self.update_scores(batch, patch)

    validation_step = _evaluate
    test_step = _evaluate

    def compute_metrics(self) -> dict[str, float]:
        """Metrics of the last evaluation at the model's own patch size, over all devices, all of which have to call
        it."""
        return self.compute_metrics_by_patch()[self.config.model.patch_size]

    def compute_metrics_by_patch(self) -> dict[int, dict[str, float]]:
        """compute_metrics at each of evaluated_patches."""
        if self._computed is None:
            self._computed = {patch: self.scores_at(patch).compute() for patch in self.evaluated_patches}
            of_leaves = self.leaf_counts.compute()
            for its in self._computed.values():
                its |= of_leaves
            if skipped := self.skipped.compute().item():
                for its in self._computed.values():
                    its["skipped_test_later"] = skipped
            self.skipped.reset()
            for patch in self.evaluated_patches:
                self.scores_at(patch).reset()
        return {patch: dict(its) for patch, its in self._computed.items()}

    def draw_predictions(self, batch: Batch) -> list[Image.Image]:
        """For each image of a test batch: the image, its label and the prediction, side by side."""
        raise NotImplementedError

    def logged_pictures(self, batch: Batch) -> list[Image.Image]:
        """What a logger is given of a test batch: draw_predictions, where a task has it."""
        return [] if type(self).draw_predictions is TaskModule.draw_predictions else self.draw_predictions(batch)

    def configure_optimizers(self) -> Optimisation:
        return adamw(self, self.config, self.total_steps)
