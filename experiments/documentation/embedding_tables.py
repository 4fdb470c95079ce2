"""Tables of docs/embeddings.md: scale of tokens at the start, and costs of the embeddings, by patch size."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from experiments.documentation.data import table
from scaling import costs
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.costs.whole_model import recipe_parameters_by_part
from scaling.data.generated.generated_shapes import render
from scaling.preprocessing import MEAN, STD

KINDS = ("conv", "overlapping", "conv_stem", "hierarchical")
PATCHES = (16, 8, 4, 2, 1)  # px
SIDE, IMAGES = 16, 32  # of images of the data set shapes [px], [1]
ARMS: Sequence[tuple[str, int, str, dict[str, object]]] = [  # name, width, kind, options
    ("conv, timm (DeiT)", 48, "conv", {"embed_init": "timm"}),
    ("conv, lecun (Adventurer)", 48, "conv", {"embed_init": "lecun"}),
    ("conv, he", 48, "conv", {"embed_init": "he"}),
    ("conv, xavier", 48, "conv", {"embed_init": "xavier"}),
    ("conv, xavier", 768, "conv", {"embed_init": "xavier"}),
    ("overlapping, lecun, no norm", 48, "overlapping", {"embed_init": "lecun", "embed_norm": False}),
    ("overlapping", 48, "overlapping", {"embed_init": "timm"}),
    ("conv_stem", 48, "conv_stem", {}),
    ("hierarchical", 48, "hierarchical", {}),
    ("adaptive, leaves of this side", 48, "flexible", {"kernel_size": 16}),  # which its leaves of one size are
]


def token_scales() -> list[str]:
    """Root mean square of the tokens of images of the data set shapes over that of the pixels, before training."""
    import torch

    from scaling.backbones.patch_embeds import build_patch_embed
    from scaling.backbones.token_scale import token_scale

    image_BHWC = torch.from_numpy(render(0, np.arange(IMAGES), SIDE, split="test").image_BHWC)
    image_BCHW = ((image_BHWC / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)
    rows = []
    for name, width, kind, options in ARMS:
        makes = [partial(build_patch_embed, kind, 3, width, SIDE, patch, **options) for patch in PATCHES]
        rows.append([name, str(width), *(f"{token_scale(make, image_BCHW):.2f}" for make in makes)])
    return table(["embedding", "width", *(f"{patch} px" for patch in PATCHES)], rows)


def embedding_costs() -> list[str]:
    """Parameters, FLOPs and memory of DeiT-Tiny at 224 px with each embedding."""
    rows = []
    for patch in PATCHES[:4]:
        plain = edit(ExperimentConfig(), backbone="deit_tiny", img_size=224, patch_size=patch, dataset="imagenet")
        for kind in KINDS:
            config = edit(plain, patch_embed=kind)
            parts, whole = recipe_parameters_by_part(config), costs.recipe_flops(config)
            flops = costs.recipe_flops_by_part(config)["embedding"]
            cells = [f"{costs.recipe_tokens(config):,}", f"{parts['embedding']:,}", f"{flops / 1e9:.2f}"]
            memory = costs.activation_bytes(config) / 2**20
            rows.append([f"{patch} px", kind, *cells, f"{100 * flops / whole:.1f}", f"{memory:,.0f}"])
    head = ["patch", "embedding", "tokens", "parameters", "GFLOPs", "of the model [%]", "MiB per image"]
    return table(head, rows, left=(0, 1))
