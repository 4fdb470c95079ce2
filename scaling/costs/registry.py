"""The cost models by name: one per family of backbones, one per head of a task.

Both are open: COST_MODELS["mine"] = MyCosts() makes plans, micro-batch estimates and tables know the family of every
ModelSpec("mine", ...). A family without a cost model can be trained, but its cost is unknown.
"""

from scaling.costs.adventurer import AdventurerCosts
from scaling.costs.base import CostModel, HeadCosts
from scaling.costs.cascade_mask_rcnn import CascadeMaskRCNNCosts
from scaling.costs.deit import DeitCosts
from scaling.costs.linear_heads import ClassifierCosts, TokenClassifierCosts
from scaling.costs.upernet import UpernetCosts

COST_MODELS: dict[str, CostModel] = {
    "deit": DeitCosts(),
    "deit3": DeitCosts(layer_scale=True, class_position=False),
    "adventurer": AdventurerCosts(),
}

HEAD_COSTS: dict[tuple[str, str], HeadCosts] = {  # by task and head
    ("classify", "linear"): ClassifierCosts(),
    ("segment", "linear"): TokenClassifierCosts(),
    ("segment", "upernet"): UpernetCosts(),
    ("detect", "cascade"): CascadeMaskRCNNCosts(),
}
