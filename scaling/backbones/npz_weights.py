"""Weights of ViTs in the .npz files that JAX codes publish: big_vision (FlexiViT, arXiv 2212.08013) and
vision_transformer (ViT, arXiv 2010.11929).

D width, H heads, M hidden channels of the MLP, p side of the kernel, L positions.
"""

import math
from pathlib import Path

import numpy as np
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

PREFIXES = ("opt/target/", "params/img/", "params/", "")  # of all names of the weights in a file


def npz_state(path: Path) -> dict[str, Tensor]:
    """Tensors under timm's names, none of them resampled, converted by timm's own loader for such files. Raises
    ValueError for a file of anything else than a plain ViT with a class token, KeyError with a name that it lacks."""
    with np.load(path, allow_pickle=False) as file:
        shapes = {name: file[name].shape for name in file.files}
    prefix = next((p for p in PREFIXES if f"{p}embedding/kernel" in shapes), None)
    if prefix is None:
        raise ValueError("it has no embedding/kernel: these are not weights of a ViT from JAX")
    own = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    net = _container(own)
    net.load_pretrained(str(path))
    state = net.state_dict()
    left = sum(map(math.prod, own.values())) - sum(tensor.numel() for tensor in state.values())
    if left:
        raise ValueError(f"it holds {left} values beside those of a plain ViT with a class token")
    return state


def _container(shapes: dict[str, tuple[int, ...]]) -> VisionTransformer:
    """timm's model of the sizes that a file has, by the shapes of its arrays."""
    p, _, _, width = shapes["embedding/kernel"]
    blocks = {name.split("/")[1] for name in shapes if name.startswith("Transformer/encoderblock")}
    first = {name.split("/", 2)[2]: shapes[name] for name in shapes if name.startswith(f"Transformer/{min(blocks)}/")}
    heads = next(shape[-2] for name, shape in first.items() if name.endswith("query/kernel"))
    hidden = next(shape[-1] for name, shape in first.items() if name.endswith("Dense_0/kernel"))
    stacked = blocks == {"encoderblock"}  # all blocks in one array, the first axis is the block
    positions = next(shape[1] for name, shape in shapes.items() if name.endswith("pos_embedding"))
    side = math.isqrt(positions)
    return VisionTransformer(
        img_size=p * side,
        patch_size=p,
        embed_dim=width,
        depth=first["LayerNorm_0/scale"][0] if stacked else len(blocks),
        num_heads=heads,
        mlp_ratio=hidden / width,
        num_classes=shapes["head/bias"][0] if "head/bias" in shapes else 0,
        no_embed_class=side * side == positions,
    )
