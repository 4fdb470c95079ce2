"""The patch embedding of a run as text."""

import dataclasses

from scaling.config.experiment import ExperimentConfig
from scaling.config.patch_embeds import ConvPatchEmbed, ExtendedPatchEmbed

UNNAMED = ("patch_size", "embed_patch_size")  # columns of a frame of their own


def embedding_text(config: ExperimentConfig) -> str:
    """The kind and those of its fields that are not the default, as "conv" or "conv, embed_init he". An extended
    sequence is embedded by a convolution, too."""
    part = config.model.patch_embed
    kind = ConvPatchEmbed.kind if isinstance(part, ExtendedPatchEmbed) else part.kind
    fields = [f for f in dataclasses.fields(part) if f.name not in UNNAMED and getattr(part, f.name) != f.default]
    return ", ".join([kind, *(f"{f.name} {getattr(part, f.name)}" for f in fields)])
