"""The test loss of a finished run as a function of its weights, at one patch size or several: gradients, products with
the Hessian, and losses along a line. Classification."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from scaling.comparison.curvature import Vector, norm
from scaling.comparison.models import takes_patches
from scaling.config.at_shape import evaluated_patches
from scaling.config.edit import edit
from scaling.config.patch_size import check_patch
from scaling.data.batch import Batch, ClassTargets
from scaling.data.datamodule import ImageDataModule, default_workers
from scaling.data.sampler import subset
from scaling.engine.warm_start import restore, start_from
from scaling.errors import ConfigError
from scaling.rng import SampleKey
from scaling.runs.finished_run import finished_run
from scaling.tasks.classification import ClassificationTask

TOKENS, LARGEST = 8192, 64  # of a mini-batch: tokens and images at most, which bounds the memory of two derivatives
STEP = 1e-2  # length of the step of differences, in the space of the weights


@dataclass(frozen=True, eq=False)
class LossSurface:
    """Mean cross-entropy [nats] over images, in evaluation mode."""

    task: ClassificationTask
    patch: int  # [px]
    parameters: dict[str, nn.Parameter]  # those that were trained
    batches: Sequence[Batch]

    @property
    def images(self) -> int:
        """Their number."""
        return sum(map(len, self.batches))

    @torch.no_grad()
    def loss(self) -> float:
        """At the weights as they are."""
        return sum(self.part(batch).item() for batch in self.batches)

    def losses(self, direction: Vector, distances: Sequence[float]) -> list[float]:
        """At the weights + distance * direction, for each distance. The weights are as before afterwards."""
        found = []
        for distance in distances:
            with self._moved(direction, distance):
                found.append(self.loss())
        return found

    def gradient(self) -> list[Tensor]:
        """By the parameters."""
        total = [torch.zeros_like(p) for p in self._weights]
        for batch in self.batches:
            torch._foreach_add_(total, torch.autograd.grad(self.part(batch), self._weights, materialize_grads=True))
        return total

    def hessian_product(self, v: Vector) -> list[Tensor]:
        """H v by two derivatives. Wrong where a part of the model has one alone (sharpness.py compares)."""
        total = [torch.zeros_like(p) for p in self._weights]
        for batch in self.batches:
            loss = self.part(batch)
            gradient = torch.autograd.grad(loss, self._weights, create_graph=True, materialize_grads=True)
            along = torch.stack([(g * x).sum() for g, x in zip(gradient, v, strict=True)]).sum()
            torch._foreach_add_(total, torch.autograd.grad(along, self._weights, materialize_grads=True))
        return total

    def differences(self, v: Vector) -> list[Tensor]:
        """H v, nearly, from the gradients at two points at a distance of STEP along v."""
        step = STEP / norm(v)
        with self._moved(v, step):
            ahead = self.gradient()
        with self._moved(v, -step):
            behind = self.gradient()
        return [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)]

    @property
    def _weights(self) -> list[Tensor]:
        return list(self.parameters.values())

    def part(self, batch: Batch) -> Tensor:
        """The share of a mini-batch in the mean over all images."""
        label_B = cast(ClassTargets, batch.targets).label_B
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has one derivative alone
            logits_BK = self.task(batch.images, self.patch).float()
        return cross_entropy(logits_BK, label_B, reduction="sum") / self.images

    @contextmanager
    def _moved(self, direction: Vector, distance: float) -> Iterator[None]:
        """Inside, the weights are moved; afterwards they have their bits again."""
        before = [p.detach().clone() for p in self._weights]
        with torch.no_grad():
            torch._foreach_add_(self._weights, list(direction), alpha=distance)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._weights, before)


def open_surfaces(
    run: Path,
    patches: Sequence[int],
    count: int,
    largest: int = LARGEST,
    trained: bool = True,
    tokens: int = TOKENS,
) -> list[LossSurface]:
    """A run's surfaces at patch sizes [px], the largest first: of a flexible model with the same weights, of another
    with resampled kernel and positions. patches: empty: those that the run was evaluated at. count: of test images, a
    fixed subset, the same at each. largest, tokens: of a batch at most [images], [1]. trained: False: with the weights
    that the run began with. Raises ConfigError."""
    record = finished_run(run)
    config = record.experiment()
    if config.task.kind != "classify":
        raise ConfigError(f"{run} is a run of task {config.task.kind}; this is measured of classification")
    for patch in patches:
        check_patch(config.model.img_size, patch)
    sizes = sorted(patches or evaluated_patches(config), reverse=True)
    own, device = config.model.patch_size, torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def opened(patch: int) -> tuple[ClassificationTask, dict[str, nn.Parameter]]:
        task = ClassificationTask(config if patch == own else edit(config, patch_size=patch), 1, record.class_names)
        if trained:
            restore(task, config, run)
        else:
            start_from(task, config, run.parent)
        return task.to(device).eval(), {name: p for name, p in task.named_parameters() if p.requires_grad}

    task, parameters = opened(own)
    others = [patch for patch in sizes if patch != own]
    flexible = bool(others) and takes_patches(task.backbone, others, config.model.img_size)
    data = ImageDataModule(config, default_workers(), run.parent)
    data.setup()
    if count > len(data.test_set):
        raise ConfigError(f"{count} images requested, {len(data.test_set)} available: --images {len(data.test_set)}")
    largest = max(1, min(largest, tokens // (config.model.img_size // sizes[-1]) ** 2))
    chosen = np.array_split(subset(len(data.test_set), count), -(-count // largest))
    batches = [data.test_set.get_batch([SampleKey(0, int(i)) for i in part]).to(device) for part in chosen]
    surfaces = []
    for patch in sizes:
        model, weights = (task, parameters) if flexible or patch == own else opened(patch)
        surfaces.append(LossSurface(model, patch, weights, batches))
    return surfaces
