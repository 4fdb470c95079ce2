"""The models, by name: one table of sizes, not one function per size and patch.

Source: Table 7 of arXiv 2502.03738. The pico, nano and micro rows are ours: small enough for two CPU cores, and twice
as wide from each to the next, which is about four times the FLOPs, as half the patch is.
Standard library only, so that recipes and the cost model can read it without torch.
"""

from typing import NamedTuple


class Size(NamedTuple):
    """One row: what a backbone's name stands for. Patch, image and classes are arguments, never part of a size."""

    family: str  # "deit" | "deit3" | "adventurer"
    width: int  # D, channels of a token
    depth: int  # blocks
    mlp: int  # hidden channels of the MLP
    head_dim: int  # channels per attention head (DeiT) or per scan head (Adventurer)
    state: int = 0  # N, state size of the scan (Adventurer)


SIZES: dict[str, Size] = {
    "deit_pico": Size("deit", 24, 3, 96, 8),
    "deit_nano": Size("deit", 48, 3, 192, 16),
    "deit_micro": Size("deit", 96, 3, 384, 16),
    "deit_tiny": Size("deit", 192, 12, 768, 64),
    "deit_small": Size("deit", 384, 12, 1536, 64),
    "deit_base": Size("deit", 768, 12, 3072, 64),
    "deit_large": Size("deit", 1024, 24, 4096, 64),
    # ViT-H has 16 heads of 80 channels (arXiv 2010.11929, Table 1).
    "deit_huge": Size("deit", 1280, 32, 5120, 80),
    # DeiT III (arXiv 2204.07118): DeiT with layer scale, and no position for the class token.
    "deit3_small": Size("deit3", 384, 12, 1536, 64),
    "deit3_base": Size("deit3", 768, 12, 3072, 64),
    "deit3_large": Size("deit3", 1024, 24, 4096, 64),
    "deit3_huge": Size("deit3", 1280, 32, 5120, 80),
    "adventurer_pico": Size("adventurer", 24, 3, 60, 16, 16),
    "adventurer_nano": Size("adventurer", 48, 3, 120, 32, 16),
    "adventurer_micro": Size("adventurer", 96, 3, 240, 32, 16),
    "adventurer_tiny": Size("adventurer", 256, 12, 640, 64, 64),
    "adventurer_small": Size("adventurer", 512, 12, 1280, 64, 64),
    "adventurer_base": Size("adventurer", 768, 12, 1920, 64, 64),
    "adventurer_large": Size("adventurer", 1024, 24, 2560, 64, 64),
    "adventurer_huge": Size("adventurer", 1280, 32, 3200, 64, 64),
}

# How Adventurer's mixer and its scan tile their work: the kernels and the cost model read these alike.

# Tokens of a chunk: of 16 to 129, those from 43 to 86 were fastest at widths 64 and 256; shorter as decays need.
CHUNKS = (64, 32, 16)
# Numbers in a stretch of x (tokens * channels), on a CPU for every thread: the arrays stay in the cores' second-level
# caches, and every waking of a thread is for as much work as it can be.
STRETCH = {"cpu": 2**18, "other": 2**24}
LEAST_CHUNKS = 4  # in a stretch: a state is as large as a chunk, and one a stretch is kept
# Inputs of up to so many numbers (images * tokens * inner channels) keep what backward needs: about 20 times as much as
# they have. Recomputing made steps of the nano models 1.2 to 1.3 times as long.
KEPT = 2**20


def chunk_length(length: int, best: int = CHUNKS[0]) -> int:
    """Tokens of a chunk near `best`: one that divides the length if there is one from half to 1.25 times of it
    (nothing to pad), or else the even split that pads least. A sequence of at most 1.5 * best is one chunk."""
    if length <= best * 3 // 2:
        return length
    dividing = [size for size in range(best // 2, best * 5 // 4 + 1) if length % size == 0]
    if dividing:
        return min(dividing, key=lambda size: abs(size - best))
    return -(-length // -(-length // best))


# Position encodings by name, for checks without torch; scaling/backbones/pos_embed.py has the module of each.
POS_EMBEDS = {
    "learned": "one parameter vector per token, initialised at 0.02",
    "sincos": "fixed two-dimensional sines and cosines (arXiv 2104.02057)",
}
