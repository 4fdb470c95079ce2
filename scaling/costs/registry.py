"""The cost models by name: of families of backbones, of patch embeddings, of position encodings, and of the heads of a
task.

All are open: COST_MODELS["mine"] = MyCosts() makes plans, micro-batch estimates and tables know the family of every
ModelSpec("mine", ...). What has no cost model can be trained, but its cost is unknown.
"""

from scaling.costs.adventurer import AdventurerCosts
from scaling.costs.base import CostModel, EmbedCosts, HeadCosts, PositionCosts
from scaling.costs.cascade_mask_rcnn import CascadeMaskRCNNCosts
from scaling.costs.conv_stem import ConvStemCosts
from scaling.costs.deit import DeitCosts
from scaling.costs.linear_heads import AttentionClassifierCosts, ClassifierCosts, TokenClassifierCosts
from scaling.costs.patch_embed import AdaptiveCosts, ConvEmbedCosts, CrossScaleCosts
from scaling.costs.pos_embed import FactorizedCosts, FourierCosts, TableCosts
from scaling.costs.relative_bias import RelativeCosts
from scaling.costs.rope import RopeCosts
from scaling.costs.upernet import UpernetCosts

COST_MODELS: dict[str, CostModel] = {
    "deit": DeitCosts(),
    "deit3": DeitCosts(layer_scale=True, class_position=False),
    "adventurer": AdventurerCosts(),
}

EMBED_COSTS: dict[str, EmbedCosts] = {
    "conv": ConvEmbedCosts(),
    "extended": ConvEmbedCosts(),
    "flexible": ConvEmbedCosts(),
    "overlapping": ConvEmbedCosts(),
    "conv_stem": ConvStemCosts(),
    "hierarchical": CrossScaleCosts(),
    "adaptive": AdaptiveCosts(),
}

POSITION_COSTS: dict[str, PositionCosts] = {
    "learned": TableCosts(has_table=True),
    "sincos": TableCosts(has_table=False),
    "grid": TableCosts(has_table=True),
    "none": TableCosts(has_table=False),
    "sincos1d": TableCosts(has_table=False),
    "factorized": FactorizedCosts(),
    "fourier": FourierCosts(),
    "rope": RopeCosts(learned=False),
    "rope_mixed": RopeCosts(learned=True),
    "relative": RelativeCosts(by_mlp=False),
    "relative_mlp": RelativeCosts(by_mlp=True),
    "rope_scan": TableCosts(has_table=False, splits_mixer=True),
}

HEAD_COSTS: dict[tuple[str, str], HeadCosts] = {  # by task and head
    ("classify", "linear"): ClassifierCosts(),
    ("classify", "avg"): ClassifierCosts(),
    ("classify", "map"): AttentionClassifierCosts(),
    ("segment", "linear"): TokenClassifierCosts(),
    ("segment", "upernet"): UpernetCosts(),
    ("detect", "cascade_mask_rcnn"): CascadeMaskRCNNCosts(),
}
