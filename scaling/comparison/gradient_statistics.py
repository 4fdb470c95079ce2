"""Gradients of images at several patch sizes: how long their mean is, how far they spread, and whether they agree.

"The variance of the gradient" has three readings, which depend on the patch size in different ways:

- of an image: the loss of one image, by the weights; the trace of the covariance over images;
- of a step: the same of the mean over a batch, a share of it where images have one patch size;
- of a token: the loss of one image, by what enters the first block at one patch; the trace of the covariance over
  patches and images. Of a mean over N patches each gets about 1 / N of an image's gradient, so 1 / N² of its variance.

Squared norms and products of mean gradients are estimated from pairs of different images (U statistics), so that the
spread over images does not add to them: |mean|² alone is too large by variance / images. P patch sizes.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scaling.backbones.activations import watched
from scaling.comparison.loss_surface import LossSurface
from scaling.data.batch import Batch
from scaling.engine.parameter_groups import parameter_groups

OF_PATCHES = ("embedding", "positions")  # groups that do not have the same parameters at each patch size


@dataclass(frozen=True, eq=False)
class GradientStatistics:
    """Of one model, or of one at each patch size."""

    patches: list[int]  # [px]
    images: int
    loss_P: np.ndarray  # mean over images [nats]
    products: dict[str, np.ndarray]  # (P, P), by group of parameters: of the mean gradients; nan: other parameters
    variances: dict[str, np.ndarray]  # (P,), by group: of an image's gradient
    token_variance_P: np.ndarray

    def norm2_P(self, groups: Collection[str] = ()) -> np.ndarray:
        """Squared norm of the mean gradient over these groups, all where none is named. Below 0 where the spread over
        images hides it."""
        return np.sum([self.products[group].diagonal() for group in groups or self.products], axis=0)

    def variance_P(self, groups: Collection[str] = ()) -> np.ndarray:
        """Of an image's gradient over these groups, all where none is named."""
        return np.sum([self.variances[group] for group in groups or self.variances], axis=0)

    def noise_scale_P(self, groups: Collection[str] = ()) -> np.ndarray:
        """Variance of an image's gradient over the squared norm of the mean (McCandlish et al., arXiv 1812.06162,
        equation 2.9) [images]; nan where the mean is hidden."""
        norm2_P = self.norm2_P(groups)
        return np.divide(self.variance_P(groups), norm2_P, out=np.full(len(norm2_P), np.nan), where=norm2_P > 0)

    def cosine_PP(self) -> np.ndarray:
        """Of the mean gradients at two patch sizes, by the parameters that all have in common, without embedding and
        positions; nan where a mean is hidden. Not rounded into [-1, 1]: it is an estimate."""
        common = [group for group in self.products if group not in OF_PATCHES]
        product_PP, norm2_P = np.sum([self.products[group] for group in common], axis=0), self.norm2_P(common)
        norm_P = np.sqrt(norm2_P, out=np.full(len(norm2_P), np.nan), where=norm2_P > 0)
        return product_PP / np.outer(norm_P, norm_P)

    def step_variances(self, batch: int) -> tuple[float, float]:
        """Of the gradient of a step of `batch` images, with patch sizes drawn uniformly for each step, and for each
        image: within / batch + between, and (within + between) / batch, where between is the variance of the mean
        gradient over patch sizes. nan for models that do not share all parameters."""
        product_PP = np.sum([*self.products.values()], axis=0)
        between = product_PP.diagonal().mean() - product_PP.mean()
        within = self.variance_P().mean()
        return within / batch + between, (within + between) / batch


def gradient_statistics(surfaces: Sequence[LossSurface]) -> GradientStatistics:
    """surfaces: at several patch sizes, on the same images, with one image in each batch; two images or more."""
    n, count = surfaces[0].images, len(surfaces)
    groups = [parameter_groups(surface.task) for surface in surfaces]
    names = list(groups[0])
    zero = torch.zeros((), dtype=torch.float64)
    sums = [dict.fromkeys(names, zero) for _ in surfaces]  # by group, vectors after the first image
    pairs = {name: np.zeros((count, count)) for name in names}  # sums over images of products of an image's gradients
    losses, tokens = np.zeros(count), [_Moments() for _ in surfaces]
    for batches in zip(*(surface.batches for surface in surfaces), strict=True):
        vectors = []
        for k, (surface, batch) in enumerate(zip(surfaces, batches, strict=True)):
            loss, by_weights, by_tokens_TD = _gradients(surface, batch, [p for name in names for p in groups[k][name]])
            losses[k] += loss
            tokens[k].add(by_tokens_TD)
            left = iter(by_weights)
            vectors.append({name: _flat(next(left) for _ in groups[k][name]) for name in names})
            sums[k] = {name: sums[k][name] + vector for name, vector in vectors[k].items()}
        for name in names:
            pairs[name] += _products([vector[name] for vector in vectors])
    products, variances = {}, {}
    for name in names:
        products[name] = (_products([total[name] for total in sums]) - pairs[name]) / (n * (n - 1))
        variances[name] = pairs[name].diagonal() / n - products[name].diagonal()
    patches, of_tokens = [surface.patch for surface in surfaces], np.array([one.variance() for one in tokens])
    return GradientStatistics(patches, n, losses / n, products, variances, of_tokens)


def _gradients(surface: LossSurface, batch: Batch, weights: Sequence[Tensor]) -> tuple[float, list[Tensor], Tensor]:
    """The loss of an image [nats], its gradient by the weights, and by what enters the first block at each patch."""
    stream = surface.task.backbone.residual_stream()
    rows: dict[str, Tensor] = {}

    def see(layer: str, row_BTD: Tensor) -> None:
        rows[layer] = row_BTD

    with watched(stream, see):
        loss = surface.images * surface.part(batch)  # an image's share in the mean is 1 / images
    *by_weights, by_row_1TD = torch.autograd.grad(loss, [*weights, rows["embed"]], materialize_grads=True)
    height, width = (side // surface.patch for side in batch.pixels.shape[-2:])
    return loss.item(), by_weights, by_row_1TD[0, stream.first_patch :][: height * width]


def _flat(gradients: Iterator[Tensor]) -> Tensor:
    return torch.cat([g.flatten() for g in gradients]).double()


def _products(vectors: Sequence[Tensor]) -> np.ndarray:
    """Of each with each; nan where they have other numbers of elements."""
    return np.array([[float(a @ b) if len(a) == len(b) else np.nan for b in vectors] for a in vectors])


class _Moments:
    """Of vectors: the trace of their covariance."""

    def __init__(self) -> None:
        self.count, self.square, self.sum_D = 0, 0.0, torch.zeros(())

    def add(self, x_ND: Tensor) -> None:
        x_ND = x_ND.double()
        self.count += len(x_ND)
        self.square += float(x_ND.square().sum())
        self.sum_D = self.sum_D.to(x_ND) + x_ND.sum(0)

    def variance(self) -> float:
        mean_D = self.sum_D / self.count
        return self.square / self.count - float(mean_D @ mean_D)
