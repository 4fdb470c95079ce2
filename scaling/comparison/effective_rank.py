"""Effective rank of the filters of a patch embedding: how many directions they use, and how equally.

Source: Roy and Vetterli, The effective rank: a measure of effective dimensionality (EUSIPCO 2007). With singular
values s it is exp of the entropy of s / sum(s): 1 where all filters are multiples of one, n where there are n
orthogonal filters of one norm.

D filters (the width), N inputs of each (3 p² of a plain convolution)."""

from pathlib import Path

import torch
from torch import Tensor

from scaling.backbones.checkpoint_io import read_state_dict
from scaling.backbones.patch_embed import KERNEL
from scaling.config.patch_embeds import ConvPatchEmbed
from scaling.engine.warm_start import KEYS
from scaling.errors import ConfigError
from scaling.runs.finished_run import finished_run


def effective_rank(filters_DN: Tensor) -> float:
    """Between 1 and min(D, N) [1]. The filters are not all 0."""
    singular = torch.linalg.svdvals(filters_DN.double())
    share = singular / singular.sum()
    return float(torch.special.entr(share).sum().exp())


def trained_filters(run: Path) -> Tensor:
    """The filters (D, N) of a finished run with a plain convolution. Raises ConfigError for a run without its weights,
    and for another embedding."""
    config = finished_run(run).experiment()
    if not isinstance(config.model.patch_embed, ConvPatchEmbed):
        raise ConfigError(f"{run} has the embedding {config.model.patch_embed.kind}; filters are those of a plain conv")
    return read_state_dict(str(run), (KEYS[config.evaluation.eval_weights],))[KERNEL].flatten(1)
