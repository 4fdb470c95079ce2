"""Heads for classification: one feature vector per image, and a linear layer. Names as timm's global_pool.

linear    the class token (DeiT, Adventurer); timm's backbones: what their own pooling gives
avg       the mean of the patch tokens
map       attention pooling: a learned query attends to the patch tokens, then an MLP with a residual (the MAP head of
          NaViT, arXiv 2307.06304, and of ViT-22B, arXiv 2302.05442; timm's AttentionPoolLatent)
Each image's own tokens are pooled, also where images are packed. B images, L patches, D width, K classes.
"""

from collections.abc import Callable

import torch
from timm.layers import AttentionPoolLatent
from torch import Tensor, nn

from scaling.backbones.base import Features
from scaling.backbones.init import initialise_by_name
from scaling.config.fields import check_name
from scaling.config.task import CLASSIFICATION_HEADS
from scaling.model_specs import MAP_MLP_RATIO, map_heads
from scaling.packing.patch_buckets import patch_buckets
from scaling.rng import seed_of, seeded


class TokenClassifier(nn.Linear):
    """Logits (B, K) from the class token. A linear layer itself, as its weights are named in every checkpoint."""

    def forward(self, features: Features) -> Tensor:  # type: ignore[override]
        return super().forward(features.pooled_ND)


class MeanClassifier(nn.Linear):
    """Logits (B, K) from the mean of the patch tokens."""

    def forward(self, features: Features) -> Tensor:  # type: ignore[override]
        return super().forward(pooled(features, lambda x_nLD: x_nLD.mean(1)))


class AttentionClassifier(nn.Module):
    """Logits (B, K) from the patch tokens by attention pooling."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.pool = AttentionPoolLatent(
            width, num_heads=map_heads(width), mlp_ratio=MAP_MLP_RATIO, norm_layer=nn.LayerNorm
        )
        self.fc = nn.Linear(width, classes)

    def forward(self, features: Features) -> Tensor:
        return self.fc(pooled(features, self.pool))


ClassificationHead = TokenClassifier | MeanClassifier | AttentionClassifier
HEADS: dict[str, Callable[[int, int], ClassificationHead]] = {
    "linear": TokenClassifier,
    "avg": MeanClassifier,
    "map": AttentionClassifier,
}


def pooled(features: Features, pool: Callable[[Tensor], Tensor]) -> Tensor:
    """(B, D): pool, from patches (n, L, D) to a vector per image (n, D), of each image's own patches."""
    rows = features.layout.rows
    if rows is None:
        return pool(features.tokens_BLD)
    return patch_buckets(rows, features.tokens_BLD.device).of_each_image(pool, features.tokens_BLD[0])


def build_head(name: str, width: int, classes: int, seed: int) -> ClassificationHead:
    """The head of that name, its weights drawn from the seed."""
    check_name("head", name, CLASSIFICATION_HEADS)
    head = HEADS[name](width, classes)
    if isinstance(head, nn.Linear):
        with seeded(seed_of(seed, "construction")):
            nn.init.trunc_normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
    else:
        initialise_by_name(head, seed, _draw)
    return head


@torch.no_grad()
def _draw(module: nn.Module, name: str) -> None:
    """As timm draws a ViT: trunc_normal 0.02, biases 0; the query with the standard deviation of timm's module."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        module.reset_parameters()
    elif isinstance(module, AttentionPoolLatent):
        nn.init.trunc_normal_(module.latent, std=module.latent_dim**-0.5)
