"""Costs of a few models as they were before the cost models of families were separated (commit 3181e07): exact.

Memory of Adventurer as of 2026-11-29, when its mixer began to keep less."""

import pytest

from scaling import costs
from scaling.config.edit import make_config
from scaling.costs import MemoryPolicy

MATRIX, RECOMPUTED = MemoryPolicy(flash=False), MemoryPolicy(grad_checkpointing=True, number=2)
COCO = {
    "task": "detect",
    "head": "cascade_mask_rcnn",
    "dataset": "coco",
    "resize_short": 80,
    "max_long": 133,
    "head_channels": 64,
}
# Recipe; parameters, positions, FLOPs; activations plain, with matrix, recomputed in bf16; step; memory [bytes].
ROWS = [
    (
        {"backbone": "deit_nano", "img_size": 32, "patch_size": 4},
        (91020, 3120, 13512384, 644820, 794580, 160796, 1401384, 1436976, 87708048),
    ),
    (
        {"backbone": "deit_base", "img_size": 224, "patch_size": 16, "num_classes": 1000},
        (86567656, 151296, 35127656448, 118309632, 140550144, 13173056, 249687552, 384396752, 2403750624),
    ),
    (
        {"backbone": "deit3_small", "img_size": 64, "patch_size": 8, "pos_embed": "sincos"},
        (21382668, 0, 2847697920, 21857760, 23055840, 2235944, 46673856, 75811800, 547410576),
    ),
    (
        {"backbone": "adventurer_nano", "img_size": 32, "patch_size": 4, "model_ema_decay": 0.9},
        (107895, 3120, 15202368, 822432, 1066368, 195988, 2255616, 1880550, 92916080),
    ),
    (
        {"backbone": "adventurer_base", "img_size": 224, "patch_size": 8, "num_classes": 1000, "embed_patch_size": 16},
        (99109192, 602880, 158224404480, 604564320, 808818528, 58557928, 1642827456, 1446343760, 7128826208),
    ),
    (
        {"task": "segment", "backbone": "adventurer_tiny", "img_size": 128, "patch_size": 8, "num_classes": 150},
        (11258294, 65792, 6351446016, 75687776, 100745312, 16500264, 240812224, 197578176, 2349495432),
    ),
    (
        {
            "task": "segment",
            "head": "upernet",
            "backbone": "deit_tiny",
            "img_size": 96,
            "patch_size": 6,
            "num_classes": 20,
        }
        | {"head_channels": 48},
        (5786900, 49344, 3493702656, 41778928, 51252976, 6842556, 86506976, 82780408, 625476848),
    ),
    (
        {**COCO, "backbone": "adventurer_nano", "img_size": 64, "patch_size": 8},
        (3436673, 3120, 25075102656, 35323040, 36109136, 33451860, 72218272, 70542424, 2228073996),
    ),
]


@pytest.mark.parametrize(("fields", "expected"), ROWS)
def test_no_cost_has_changed(fields, expected):
    config = make_config(**{"num_classes": 12, **fields})
    found = (
        costs.recipe_parameters(config),
        costs.position_parameters(config),
        costs.recipe_flops(config),
        costs.activation_bytes(config),
        costs.activation_bytes(config, MATRIX, 2),
        costs.activation_bytes(config, RECOMPUTED, 2),
        costs.step_bytes(config, 2),
        costs.step_bytes(config, 2, MATRIX._replace(number=2)),
        costs.memory_bytes(config, 64, MemoryPolicy(grad_checkpointing=True)),
    )
    assert found == expected
