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
