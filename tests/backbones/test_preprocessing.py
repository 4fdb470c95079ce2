"""Weights get pixels with the mean, standard deviation and filter that they were trained with, in every task."""

import functools

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

from scaling.backbones.registry import build_backbone
from scaling.config.edit import edit, make_config
from scaling.config.initialization import FromRun
from scaling.data.transforms.classification import erase, fit_image
from scaling.data.transforms.detection import View, collate
from scaling.data.transforms.segmentation import training_view
from scaling.engine.counted_flops import counted_flops
from scaling.preprocessing import MEAN, STD, Preprocessing, preprocessing_of
from scaling.rng import SampleKey
from scaling.runs.config_file import write_config
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.detection import DetectionTask
from scaling.tasks.segmentation import SegmentationTask

HALF = (0.5, 0.5, 0.5)
# A model of every family of timm's plain ViTs: they differ in positions, tokens, norms, pooling and pixels.
FAMILIES = [
    "vit_tiny_patch16_224",  # augreg
    "vit_base_patch16_224_miil",  # bilinear; no pixels' mean is taken off
    "vit_small_patch16_36x1_224",
    "vit_small_patch16_18x2_224",
    "vit_base_patch16_clip_224",
    "vit_base_patch16_clip_quickgelu_224",
    "vit_base_patch16_siglip_224",  # attention pooling
    "vit_base_patch16_siglip_gap_224",
    "vit_small_patch14_dinov2",
    "vit_small_patch14_reg4_dinov2",  # registers
    "vit_small_patch16_dinov3",  # rotary
    "vit_medium_patch16_gap_240",
    "vit_medium_patch16_reg4_gap_256",
    "vit_wee_patch16_reg1_gap_256",
    "vit_so150m_patch16_reg4_map_256",
    "vit_small_patch16_rope_224",
    "vit_relpos_small_patch16_224",
    "vit_base_patch16_xp_224",
    "flexivit_small",
    "deit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "deit3_small_patch16_224",
    "beit_base_patch16_224",
    "beitv2_base_patch16_224",
    "eva02_tiny_patch14_224",
    "eva02_base_patch16_clip_224",
    "beit3_base_patch16_224",
    "vit_pe_core_tiny_patch16_384",
    "vit_small_patch16_lingbot",
    "vit_small_patch16_rope_mixed_224",
    "vit_srelpos_small_patch16_224",
    "samvit_base_patch16",
    "vit_tiny_r_s16_p8_224",  # a small convolutional stem
    "cait_xxs24_224",
    "xcit_nano_12_p16_224",
    "convit_tiny",
]
PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


@pytest.fixture
def shallow(monkeypatch):
    """Models of two blocks: wide ones are made and run in milliseconds."""
    made = functools.partial(timm.create_model, depth=2)
    monkeypatch.setattr(timm, "create_model", made)
    return made


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_of_every_family_are_timms_own_on_the_same_pixels_and_its_flops_are_counted(shallow, name):
    task = ClassificationTask(make_config(backbone=f"timm:{name}", img_size=32, patch_size=8, num_classes=5), 1).eval()
    theirs = shallow(name, img_size=32, patch_size=8, num_classes=5).eval()
    classifier = "head.fc" if name.startswith("samvit") else "head"
    head = {f"{classifier}.{part}": value for part, value in task.head.state_dict().items()}
    two = {f"head_dist.{part}": value for part, value in task.head.state_dict().items()}  # the mean of both is taken
    theirs.load_state_dict({**task.backbone.net.state_dict(), **head, **(two if "distilled" in name else {})})
    own = resolve_data_config({"input_size": (3, 32, 32), "crop_pct": 1.0}, model=theirs)
    seen_1CHW = create_transform(**own)(Image.fromarray(PIXELS)).unsqueeze(0)
    image_1CHW = torch.from_numpy(PIXELS).permute(2, 0, 1).unsqueeze(0)
    with torch.no_grad():
        torch.testing.assert_close(task(image_1CHW), theirs(seen_1CHW), rtol=1e-4, atol=1e-4)
    assert counted_flops(task) > 0


@pytest.mark.parametrize("name", ["flexivit_small", "vit_tiny_patch16_224", "deit3_small_patch16_224"])
def test_kernels_and_positions_are_resampled_as_timms_own_loading_does_it(shallow, tmp_path, name):
    torch.manual_seed(0)
    state = shallow(name, img_size=48, num_classes=7).state_dict()
    torch.save(state, tmp_path / "w.pth")
    ours = build_backbone(
        make_config(backbone=f"timm:{name}", img_size=32, patch_size=8, initial_checkpoint=str(tmp_path / "w.pth"))
    )
    overlay = {"file": str(tmp_path / "w.pth"), "custom_load": False}
    theirs = shallow(
        name, pretrained=True, img_size=32, patch_size=8, num_classes=0, pretrained_cfg_overlay=overlay
    ).state_dict()
    for key, value in ours.checkpoint_module.state_dict().items():
        assert torch.equal(value, theirs[key]), key


def test_the_evaluation_view_is_made_by_the_filter_of_the_weights():
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 60, 3), np.uint8))
    for name, how in (("vit_tiny_patch16_224", "bicubic"), ("vit_base_patch16_224_miil.in21k", "bilinear")):
        config = make_config(backbone=f"timm:{name.split('.')[0]}", img_size=32, patch_size=8, pretrained=f"{name}")
        assert preprocessing_of(config).interpolation == how
        cfg = timm.get_pretrained_cfg(name)
        steps = create_transform(32, mean=(0, 0, 0), std=(1, 1, 1), crop_pct=1.0, interpolation=cfg.interpolation)
        wanted = (steps(image) * 255).round().to(torch.uint8).numpy()
        assert np.array_equal(fit_image(image, 32, 1.0, how), wanted)


# Which pixels are a recipe's


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, Preprocessing()),
        ({"initial_checkpoint": "somewhere.pth"}, Preprocessing()),
        ({"pretrained": "deit_tiny_patch16_224"}, Preprocessing()),
        ({"pretrained": "vit_tiny_patch16_224"}, Preprocessing(HALF, HALF)),
        (
            {"initial_checkpoint": "hf:timm/vit_tiny_patch16_224.augreg_in21k/model.safetensors"},
            Preprocessing(HALF, HALF),
        ),
        ({"backbone": "timm:flexivit_small"}, Preprocessing(HALF, HALF)),
        ({"backbone": "timm:vit_base_patch16_224", "pretrained": "vit_base_patch16_224.dino"}, Preprocessing()),
        ({"backbone": "timm:no_such_model"}, Preprocessing()),
        ({"pretrained": "vit_tiny_patch16_224.no_such_tag"}, Preprocessing()),
    ],
)
def test_pixels_are_those_of_the_weights_else_of_the_backbone_else_imagenets(changed, wanted):
    assert preprocessing_of(make_config(**changed)) == wanted
    assert Preprocessing().mean == MEAN
    assert Preprocessing().std == STD


def test_a_run_takes_pixels_as_the_run_did_whose_weights_it_starts_from(tmp_path):
    first = make_config(pretrained="vit_tiny_patch16_224")
    write_config(first, tmp_path)
    assert preprocessing_of(make_config(init=FromRun(config=first))).mean == HALF
    assert preprocessing_of(make_config(initial_checkpoint=str(tmp_path))).mean == HALF


# Every road


ROADS = {
    "classify": (ClassificationTask, {}),
    "segment": (SegmentationTask, {}),
    "segment in windows": (SegmentationTask, {"slide_stride": 8}),
    "detect": (DetectionTask, {"head": "cascade_mask_rcnn", "head_channels": 16}),
}


@pytest.mark.parametrize("road", ROADS)
def test_a_backbone_sees_pixels_as_it_says_and_its_mean_where_there_are_none(road):
    kind, fields = ROADS[road]
    task = kind(
        make_config(backbone="deit_nano", task=road.split()[0], img_size=16, patch_size=8, num_classes=3, **fields), 1
    ).eval()
    task.backbone.mean, task.backbone.std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    seen = []
    task.backbone.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    side = 16 if kind is ClassificationTask else 20
    image = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        task(image)
    wanted = (image / 255 - torch.tensor(task.backbone.mean).view(3, 1, 1)) / torch.tensor(task.backbone.std).view(
        3, 1, 1
    )
    there = min(side, seen[0].shape[-1])
    torch.testing.assert_close(seen[0][..., :there, :there], wanted[..., :there, :there])
    assert not seen[0][..., there:, :].any()
    assert not seen[0][..., there:].any()


def test_what_fills_an_image_up_is_the_mean_colour_of_the_weights():
    config = make_config(task="segment", img_size=16, patch_size=8, pretrained="vit_tiny_patch16_224")
    scene, label = torch.zeros(3, 8, 32, dtype=torch.uint8), torch.zeros(8, 32, dtype=torch.uint8)
    image, _ = training_view(scene, label, edit(config, resize_short=8), SampleKey(0, 0))
    assert (image[:, 8:] == 128).all()
    view = View(torch.zeros(3, 8, 8, dtype=torch.uint8), np.zeros((0, 4), np.float32), *[np.zeros(0, int)] * 2, [])
    assert (collate([view], 16, grey=preprocessing_of(config).grey)[0][..., 8:] == 128).all()


def test_noise_that_erases_is_drawn_about_the_mean_of_the_weights():
    blank = torch.zeros(64, 3, 32, 32, dtype=torch.uint8)
    draws = [SampleKey(0, i) for i in range(64)]
    dark = erase(blank.clone(), draws, 0, 1.0, Preprocessing((0.1, 0.1, 0.1), (0.01, 0.01, 0.01)))
    assert abs(dark[dark > 0].float().mean() / 255 - 0.1) < 0.01
