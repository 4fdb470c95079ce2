"""Sizes of the models, and the structural constants that a model and its cost model share.

MODEL_SPECS is an open registry: MODEL_SPECS["mine_tiny"] = ModelSpec("mine", ...) makes a name known to recipes,
backbones and costs. The family of a spec is the key of its class in scaling/backbones and of its cost model in
scaling/costs/base.py.

Sources: Table 7 of arXiv 2502.03738; Mamba-2 is arXiv 2405.21060, the feature pyramid arXiv 2203.16527, UperNet arXiv
1807.10221, Cascade Mask R-CNN arXiv 1906.09756. The pico, nano and micro rows are ours: small enough for two CPU cores;
each is twice as wide as the one before, which multiplies FLOPs by about four, as halving the patch does.
Standard library only, so that configuration and costs need no torch.
"""

from typing import NamedTuple


class ModelSpec(NamedTuple):
    """Size of a backbone. Patch size, image size and number of classes are arguments, never part of a spec."""

    family: str  # "deit", "deit3", "adventurer", or one that is registered from outside
    width: int  # D, channels of a token
    depth: int  # blocks
    mlp: int  # M, hidden channels of the MLP
    head_dim: int  # channels per head of attention or of the scan
    state: int = 0  # N, state size of the scan; 0: the model has no scan

    @property
    def has_scan(self) -> bool:
        """Whether tokens are mixed by a scan, which has several implementations, and not by attention."""
        return self.state > 0


MODEL_SPECS: dict[str, ModelSpec] = {
    "deit_pico": ModelSpec("deit", 24, 3, 96, 8),
    "deit_nano": ModelSpec("deit", 48, 3, 192, 16),
    "deit_micro": ModelSpec("deit", 96, 3, 384, 16),
    "deit_tiny": ModelSpec("deit", 192, 12, 768, 64),
    "deit_small": ModelSpec("deit", 384, 12, 1536, 64),
    "deit_base": ModelSpec("deit", 768, 12, 3072, 64),
    "deit_large": ModelSpec("deit", 1024, 24, 4096, 64),
    # ViT-H has 16 heads of 80 channels (arXiv 2010.11929, Table 1).
    "deit_huge": ModelSpec("deit", 1280, 32, 5120, 80),
    # DeiT III (arXiv 2204.07118): DeiT with layer scale, and no position for the class token.
    "deit3_small": ModelSpec("deit3", 384, 12, 1536, 64),
    "deit3_base": ModelSpec("deit3", 768, 12, 3072, 64),
    "deit3_large": ModelSpec("deit3", 1024, 24, 4096, 64),
    "deit3_huge": ModelSpec("deit3", 1280, 32, 5120, 80),
    "adventurer_pico": ModelSpec("adventurer", 24, 3, 60, 16, 16),
    "adventurer_nano": ModelSpec("adventurer", 48, 3, 120, 32, 16),
    "adventurer_micro": ModelSpec("adventurer", 96, 3, 240, 32, 16),
    "adventurer_tiny": ModelSpec("adventurer", 256, 12, 640, 64, 64),
    "adventurer_small": ModelSpec("adventurer", 512, 12, 1280, 64, 64),
    "adventurer_base": ModelSpec("adventurer", 768, 12, 1920, 64, 64),
    "adventurer_large": ModelSpec("adventurer", 1024, 24, 2560, 64, 64),
    "adventurer_huge": ModelSpec("adventurer", 1280, 32, 3200, 64, 64),
}


# Class tokens of an image before and after its patches, by family: families whose rows may hold several images.
CLASS_TOKENS: dict[str, tuple[int, int]] = {"deit": (1, 0), "deit3": (1, 0), "adventurer": (0, 1)}


def has_scan(backbone: str) -> bool:
    """Whether a backbone mixes tokens by a scan. False for a name that is not in MODEL_SPECS, such as one of timm's."""
    return backbone in MODEL_SPECS and MODEL_SPECS[backbone].has_scan


BIAS_HIDDEN = 512  # hidden channels of the MLP of relative biases (arXiv 2111.09883, section 3.3)

# Structure of Mamba-2's mixer.
EXPAND = 2  # inner width over width
CONV_TAPS = 4  # of the depth-wise convolution along the tokens

# Tiling of the mixer and its scan.

# Most tokens of a chunk, fewer as decays need. Of 40 to 65, multiples of 4 near 48 were fastest at width 256: for sizes
# between these, products of batches of matrices take 6 to 8 % longer (docs/results/speed.md).
CHUNKS = (64, 32, 16)
# Elements of x (tokens * channels) in a tile, on a CPU per thread: the arrays stay in the cores' second-level caches,
# and each wake-up of a thread is for as much work as possible.
TILE_ELEMENTS = {"cpu": 3 * 2**16, "other": 2**24}
MIN_TILE_CHUNKS = 4  # in a tile: a state is as large as a chunk, and one per tile is kept
# Inputs of up to this many elements (images * tokens * inner channels) keep what the backward pass needs, three to five
# times their own size: up to 80 MB. Recomputing it makes a pass of the mixer about 1.1 times as long.
MAX_KEPT_ELEMENTS = 2**22

# Structure of attention pooling, the head "map" of classification.
MAP_MLP_RATIO = 4  # hidden channels of its MLP over the width
MAP_HEAD_DIM = 64  # channels of a head of attention, where they divide the width

# Structure of the dense heads.
FPN_STRIDES = (4, 8, 16, 32)  # of the maps of the feature pyramid [px]
FPN_COARSEST = FPN_STRIDES[-1]  # of which the sides of detection's images are multiples [px]
UPERNET_POOLS = (1, 2, 3, 6)  # sides of UperNet's pooled maps
ANCHOR_STRIDES = (*FPN_STRIDES, 2 * FPN_COARSEST)  # of the maps that the region proposal network reads [px]
ANCHOR_SCALES = (8,)  # side of an anchor over the stride
ANCHOR_RATIOS = (0.5, 1.0, 2.0)  # height over width of an anchor
CASCADE_STAGES = 3  # box and mask heads one after the other
MAX_PROPOSALS = 1000  # regions of an image that the cascade sees in inference
MAX_DETECTIONS = 100  # of an image
MAX_ROIS = 512  # regions sampled from an image in training
MASK_FRACTION = 0.25  # of the sampled regions that are positive at most, and so have a mask
BOX_SIDE, MASK_SIDE = 7, 14  # of the features pooled from a region, for boxes and for masks; a mask is twice as large


def map_heads(width: int) -> int:
    """Heads of attention pooling."""
    return width // MAP_HEAD_DIM if width % MAP_HEAD_DIM == 0 else 1


def num_upsamples(stride: int, wanted: int) -> int:
    """How often a map at `stride` [px] can be doubled without passing `wanted` [px]; 0 where it is as fine already."""
    return max((stride // wanted).bit_length() - 1, 0)


def chunk_length(length: int, most: int = CHUNKS[0]) -> int:
    """Tokens of a chunk: a multiple of 4 from 5/8 of `most` on, near 3/4 of it, with little to fill; the least one of
    CHUNKS itself. A sequence of at most 1.5 * most is one chunk."""
    if length <= most * 3 // 2:
        return length

    def costs(size: int) -> tuple[int, int]:
        filled = -(-length // size) * size
        return round(100 * filled / length), abs(size - most * 3 // 4)

    return min(range(max(CHUNKS[-1], -(-most * 5 // 32) * 4), most + 1, 4), key=costs)
