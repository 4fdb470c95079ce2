import csv
from pathlib import Path

import pytest
import timm
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scaling import costs
from scaling.backbones import Features, build_backbone
from scaling.recipe import BadInput, Recipe
from scaling.sizes import SIZES
from scaling.tasks.detect import Detect
from scaling.tasks.segment import Segment

TABLE7 = Path(costs.__file__).parents[1] / "analysis" / "published" / "table7_models.csv"


def test_parameter_counts_are_those_of_table_7():
    """In millions, as the paper rounds them. Huge Adventurer: its own dimensions give 718, the paper prints 759."""
    for row in csv.DictReader(TABLE7.open()):
        name = row["model"].lower().replace("-", "_")
        size = SIZES[name]
        assert (size.width, size.mlp, size.depth) == tuple(int(row[k]) for k in ("embed_dim", "mlp_dim", "blocks"))
        millions = costs.parameters(name, 224, 16, 1000) / 1e6
        wanted = 718 if name == "adventurer_huge" else int(row["params_m"])
        assert abs(millions - wanted) <= max(1, 0.012 * wanted), (name, millions)


@pytest.mark.parametrize("name", [n for n in SIZES if "huge" not in n and "large" not in n])
@pytest.mark.parametrize(("image", "patch"), [(32, 32), (32, 8), (16, 1)])
def test_parameters_agree_with_the_model_that_is_built(name, image, patch):
    recipe = Recipe(backbone=name, image=image, patch=patch)
    built = sum(p.numel() for p in build_backbone(recipe).parameters())
    head = SIZES[name].width * 12 + 12
    assert costs.parameters(name, image, patch, 12) == built + head


@pytest.mark.parametrize("name", ["deit_nano", "deit_tiny", "deit3_small"])
@pytest.mark.parametrize(("image", "patch"), [(32, 32), (32, 8), (16, 1)])
def test_flops_agree_with_torchs_counter(name, image, patch):
    backbone = build_backbone(Recipe(backbone=name, image=image, patch=patch)).eval()
    counter = FlopCounterMode(display=False)
    # As products: torch 2.11's counter does not know the CPU's fused attention and counts it as nothing.
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        backbone(torch.zeros(1, 3, image, image))
    head = 2 * SIZES[name].width * 12
    assert costs.flops(name, image, patch, 12) - head == pytest.approx(counter.get_total_flops(), rel=0.005)


@pytest.mark.parametrize(("name", "patch"), [("adventurer_nano", 4), ("adventurer_tiny", 8)])
def test_adventurers_products_agree_with_torchs_counter(name, patch):
    """The counter sees products and convolutions; the scan in its chunked form is other arithmetic, so it is left out
    on both sides: the projections and MLPs of a block, counted by linear layers."""
    from torch import nn

    backbone = build_backbone(Recipe(backbone=name, image=32, patch=patch)).eval()
    size, length = SIZES[name], costs.tokens(32, patch)
    linear = sum(m.weight.numel() for m in backbone.modules() if isinstance(m, nn.Linear)) / size.depth
    inner = 2 * size.width
    products = 2 * (length + 1) * 3 * size.width * size.mlp
    mixer = 2 * (length + 2) * (linear - 3 * size.width * size.mlp)
    rest = 2 * (length + 2) * (4 * (inner + 2 * size.state) + 3 * inner * size.state)
    embed_and_head = 2 * 3 * patch * patch * size.width * length + 2 * size.width * 12
    assert costs.flops(name, 32, patch, 12) == size.depth * (products + mixer + rest) + embed_and_head


@pytest.mark.parametrize(("patch", "gmacs"), [(32, 4.41), (16, 17.58), (8, 78.22)])
def test_vit_base_agrees_with_timms_published_gmacs(patch, gmacs):
    """timm's results tables count multiply-adds of ViT-B at 224 px."""
    assert costs.vit_flops(224, patch, 768, 12, 1000) / 2e9 == pytest.approx(gmacs, rel=0.01)


def test_timm_builds_the_same_deit():
    for name in ("deit_tiny", "deit_base", "deit3_small"):
        with torch.device("meta"):
            model = timm.create_model(f"{name}_patch16_224")
        assert costs.parameters(name, 224, 16, 1000) == sum(p.numel() for p in model.parameters())


def test_halving_the_patch_gives_four_times_the_tokens():
    for patch in (16, 8, 4, 2):
        assert costs.tokens(224, patch // 2) == 4 * costs.tokens(224, patch)
    assert costs.tokens(224, 1) == 50_176


def test_a_patch_that_does_not_fit_is_refused():
    with pytest.raises(BadInput, match="nearest that do: 4, 7"):
        costs.tokens(224, 5)


@pytest.mark.parametrize("name", ["linear", "upernet"])
@pytest.mark.parametrize(("image", "patch"), [(32, 1), (32, 4), (64, 16), (64, 64), (64, 2)])
def test_the_flops_of_a_segmentation_head_agree_with_torchs_counter(name, image, patch):
    recipe = Recipe(
        task="segment", backbone="deit_nano", image=image, patch=patch, classes=7, head=name, head_channels=32
    )
    task = Segment(recipe, 1).eval()
    side = image // patch
    map_BDhw = torch.zeros(1, 48, side, side)
    features = Features(map_BDhw, torch.zeros(1, 48), (map_BDhw,) * len(task.head.blocks))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        task.head(features, (image, image))
    head = costs.recipe_flops(recipe) - costs.flops("deit_nano", image, patch, 0)
    assert head == pytest.approx(counter.get_total_flops(), rel=0.005)


@pytest.mark.parametrize("patch", [2, 4, 16, 32])
def test_the_flops_of_cascade_mask_rcnn_agree_with_torchs_counter(patch):
    recipe = Recipe(
        task="detect", head="cascade", backbone="deit_nano", image=64, patch=patch, classes=7, head_channels=16
    )
    head = Detect(recipe, 1).eval().head
    side = 64 // patch
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        head.rpn(head.neck(torch.zeros(1, 48, side, side), (64, 64)))
        for box_head, mask_head in zip(head.roi.bbox_head, head.roi.mask_head, strict=True):
            box_head(torch.zeros(costs.PROPOSALS, 16, 7, 7))
            mask_head(torch.zeros(costs.DETECTIONS, 16, 14, 14))
    assert costs.cascade_flops(48, (64, 64), patch, 7, 16) == pytest.approx(counter.get_total_flops(), rel=0.005)
    backbone = costs.flops("deit_nano", 64, patch, 0)
    assert costs.recipe_flops(recipe) == backbone + costs.cascade_flops(48, (64, 64), patch, 7, 16)
