import csv
from pathlib import Path

import pytest
import timm
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scaling import costs
from scaling.backbones.base import Features, TokenLayout
from scaling.backbones.registry import build_backbone
from scaling.config.edit import make_config
from scaling.config.step_shapes import StepShape
from scaling.errors import ConfigError
from scaling.model_specs import MAX_DETECTIONS, MAX_PROPOSALS, MODEL_SPECS
from scaling.tasks.detection import DetectionTask
from scaling.tasks.segmentation import SegmentationTask

TABLE7 = Path(costs.__file__).parents[2] / "analysis" / "published" / "table7_models.csv"


def test_parameter_counts_are_those_of_table_7():
    """In millions, as the paper rounds them. Huge Adventurer: its own dimensions give 718, the paper prints 759."""
    for row in csv.DictReader(TABLE7.open()):
        name = row["model"].lower().replace("-", "_")
        size = MODEL_SPECS[name]
        assert (size.width, size.mlp, size.depth) == tuple(int(row[k]) for k in ("embed_dim", "mlp_dim", "blocks"))
        millions = costs.parameters(name, 224, 16, 1000) / 1e6
        wanted = 718 if name == "adventurer_huge" else int(row["params_m"])
        assert abs(millions - wanted) <= max(1, 0.012 * wanted), (name, millions)


def test_parameters_of_every_size_agree_with_the_model_that_is_built():
    """On the meta device, where a huge model costs nothing; how formulas follow the patch, on two models."""
    for name, size in MODEL_SPECS.items():
        small = name in ("deit_nano", "deit3_small", "adventurer_nano")
        for image, patch in ((32, 32), (32, 8), (16, 1)) if small else ((32, 8),):
            with torch.device("meta"):
                backbone = build_backbone(make_config(backbone=name, img_size=image, patch_size=patch))
            built = sum(p.numel() for p in backbone.parameters()) + size.width * 12 + 12
            assert costs.parameters(name, image, patch, 12) == built, (name, image, patch)


def counted(config):
    """What torch counts of a forward pass on the meta device. As products: torch 2.11's counter does not know the CPU's
    fused attention and counts it as nothing."""
    with torch.device("meta"):
        backbone = build_backbone(config).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        backbone(torch.zeros(1, 3, config.model.img_size, config.model.img_size, device="meta"))
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ["deit_nano", "deit_tiny", "deit3_small"])
def test_the_flops_of_a_deit_agree_with_torchs_counter(name):
    """One formula for all sizes: three of other widths, depths and kinds tell whether it holds."""
    for image, patch in ((32, 32), (16, 1), (224, 16)):
        found = counted(make_config(backbone=name, img_size=image, patch_size=patch))
        assert costs.flops(name, image, patch, 0) == pytest.approx(found, rel=0.005), (image, patch)


@pytest.mark.parametrize("name", ["adventurer_nano", "adventurer_tiny"])
def test_the_products_of_an_adventurer_agree_with_torchs_counter(name, monkeypatch):
    """All but the mixer's inside, which has another test."""
    inner = 2 * MODEL_SPECS[name].width
    monkeypatch.setattr("scaling.backbones.adventurer_block.mix", lambda zxBCdt, *_: zxBCdt[..., :inner])
    for image, patch in ((32, 8), (16, 1), (224, 16)):
        parts = costs.flops_by_part(name, image, patch, 0)
        found = counted(make_config(backbone=name, img_size=image, patch_size=patch))
        assert parts["embedding"] + parts["projections"] + parts["mlp"] == found, (image, patch)


@pytest.mark.parametrize("name", ["adventurer_nano", "adventurer_tiny"])
def test_the_mixers_convolution_agrees_with_torchs_counter_and_its_scan_with_the_recurrence(name):
    """The scan is counted as its definition has it, a token, channel and state at a time: decay, input, read-out. Its
    products in chunks are other arithmetic, which the counter sees and the convention does not."""
    size, config = MODEL_SPECS[name], make_config(backbone=name, img_size=32, patch_size=4)
    backbone = build_backbone(config).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone(torch.zeros(1, 3, 32, 32))
    parts = costs.flops_by_part(name, 32, 4, 0)
    convolutions = counter.get_flop_counts()["Global"][torch.ops.aten.convolution]
    assert parts["convolution"] + parts["embedding"] == convolutions
    assert parts["scan"] == size.depth * (64 + 2) * 2 * size.width * size.state * 3 * 2


def test_parts_are_all_there_is_and_a_training_step_is_three_forward_passes():
    parts = costs.flops_by_part("adventurer_tiny", 64, 4, 12)
    config = make_config(backbone="adventurer_tiny", img_size=64, patch_size=4, num_classes=12)
    assert sum(parts.parts.values()) == parts.total == costs.flops("adventurer_tiny", 64, 4, 12)
    assert costs.recipe_step_flops(config) == 3 * parts.total == 3 * costs.recipe_flops(config)
    assert parts["attention"] == 0
    assert parts["head"] == 2 * 256 * 12
    deit = costs.flops_by_part("deit_tiny", 64, 4, 12)
    assert deit["scan"] == deit["convolution"] == 0
    assert not costs.recipe_flops_by_part(make_config(backbone="timm:vit_tiny_patch16_224")).parts


@pytest.mark.parametrize("name", ["deit_nano", "deit3_small", "adventurer_nano"])
def test_a_sequence_that_is_extended_is_embedded_at_its_larger_patch(name):
    config = make_config(
        backbone=name, img_size=32, patch_size=4, embed_patch_size=16, num_classes=12, pos_embed="sincos"
    )
    backbone = build_backbone(config)
    learned = sum(p.numel() for p in backbone.parameters() if p.requires_grad)
    assert costs.recipe_parameters(config) == learned + MODEL_SPECS[name].width * 12 + 12
    parts = costs.recipe_flops_by_part(config)
    assert parts["embedding"] == 2 * 3 * 16 * 16 * MODEL_SPECS[name].width * 4
    assert parts["mlp"] == costs.flops_by_part(name, 32, 4, 12)["mlp"]


@pytest.mark.parametrize(
    ("task", "head"), [("segment", "linear"), ("segment", "upernet"), ("detect", "cascade_mask_rcnn")]
)
def test_parameters_of_whole_models_agree_with_those_that_are_built(task, head):
    for patch in (1, 4, 16, 32):
        config = make_config(
            task=task,
            head=head,
            backbone="adventurer_nano",
            img_size=32,
            patch_size=patch,
            num_classes=7,
            head_channels=16,
        )
        module = {"segment": SegmentationTask, "detect": DetectionTask}[task](config, 1)
        built = sum(p.numel() for p in module.parameters() if p.requires_grad)
        assert costs.recipe_parameters(config) == built, patch


@pytest.mark.parametrize("name", ["deit_nano", "deit3_small", "adventurer_nano"])
def test_without_positions_no_parameter_grows_with_the_image(name):
    small, large = (costs.parameters_by_part(name, image, 4, 12) for image in (4, 64))
    assert {part for part in small.parts if small[part] != large[part]} == {"positions"}
    positions = build_backbone(
        make_config(backbone=name, img_size=64, patch_size=4)
    ).checkpoint_module.pos_embed.numel()
    assert large["positions"] == positions


@pytest.mark.parametrize(("patch", "gmacs"), [(32, 4.41), (16, 17.58), (8, 78.22)])
def test_vit_base_agrees_with_timms_published_gmacs(patch, gmacs):
    """timm's results tables count multiply-adds of ViT-B at 224 px."""
    assert costs.flops("deit_base", 224, patch, 1000) / 2e9 == pytest.approx(gmacs, rel=0.01)


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
    with pytest.raises(ConfigError, match="nearest that do: 4, 7"):
        costs.tokens(224, 5)


@pytest.mark.parametrize("name", ["linear", "upernet"])
@pytest.mark.parametrize(
    ("image", "patch", "built_for"),
    [(32, 1, 1), (32, 4, 4), (64, 16, 16), (64, 64, 64), (64, 2, 2), (64, 16, 4), (64, 32, 8), (64, 32, 16)],
)
def test_the_flops_of_a_segmentation_head_agree_with_torchs_counter(name, image, patch, built_for):
    config = make_config(
        task="segment",
        backbone="deit_nano",
        img_size=image,
        patch_size=built_for,
        patch_embed="conv" if patch == built_for else "flexible",
        num_classes=7,
        head=name,
        head_channels=32,
    )
    task = SegmentationTask(config, 1).eval()
    side = image // patch
    tokens_BLD, layout = torch.zeros(1, side**2, 48), TokenLayout(patch, torch.device("cpu"), (side, side))
    features = Features(tokens_BLD, torch.zeros(1, 48), layout, (tokens_BLD,) * len(task.head.blocks))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        task.head(features, (image, image))
    head = costs.recipe_flops_by_part(config, StepShape(patch, image))["head"]
    assert head == pytest.approx(counter.get_total_flops(), rel=0.005)


@pytest.mark.parametrize("patch", [2, 4, 16, 32])
def test_the_flops_of_cascade_mask_rcnn_agree_with_torchs_counter(patch):
    config = make_config(
        task="detect",
        head="cascade_mask_rcnn",
        backbone="deit_nano",
        img_size=64,
        patch_size=patch,
        num_classes=7,
        head_channels=16,
    )
    head = DetectionTask(config, 1).eval().head
    side = 64 // patch
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        head.rpn(head.neck(torch.zeros(1, 48, side, side), (64, 64)))
        for box_head, mask_head in zip(head.roi.bbox_head, head.roi.mask_head, strict=True):
            box_head(torch.zeros(MAX_PROPOSALS, 16, 7, 7))
            mask_head(torch.zeros(MAX_DETECTIONS, 16, 14, 14))
    parts = costs.recipe_flops_by_part(config)
    assert parts["head"] == pytest.approx(counter.get_total_flops(), rel=0.005)
    assert parts.total - parts["head"] == costs.flops("deit_nano", 64, patch, 0)
