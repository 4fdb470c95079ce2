"""Patch embeddings beside slow, obvious ones, and the scale of the tokens that they begin with."""

import math
import pathlib
from itertools import pairwise

import pytest
import timm.layers
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from scaling.backbones.overlapping_embed import channel_norm
from scaling.backbones.patch_embeds import build_patch_embed
from scaling.backbones.registry import build_backbone
from scaling.backbones.token_scale import token_scale
from scaling.config.edit import edit, make_config
from scaling.config.embed_shapes import cross_scale_convolutions, overlapping_kernel, stem_convolutions, stem_strides
from scaling.errors import ConfigError
from scaling.packing.packed_images import PackedImages
from tests.backbones.test_packed import built

NEW = ("overlapping", "conv_stem", "hierarchical")
WIDTH = 8
GENERATOR = torch.Generator().manual_seed(0)
IMAGE = torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=GENERATOR)


def made(kind, patch, image=16, **options):
    torch.manual_seed(0)
    return build_patch_embed(kind, 3, WIDTH, image, patch, **options).double()


def windows(image_BCHW, kernel, stride, padding):
    """The pixels under a kernel, place by place (B, h w, C k k): zeros beyond the border."""
    batch, channels, height, width = image_BCHW.shape
    padded = torch.zeros(batch, channels, height + 2 * kernel, width + 2 * kernel, dtype=image_BCHW.dtype)
    padded[:, :, kernel : kernel + height, kernel : kernel + width] = image_BCHW
    found = []
    for row in range(0, height, stride):
        for column in range(0, width, stride):
            top, left = row + kernel - padding, column + kernel - padding
            found.append(padded[:, :, top : top + kernel, left : left + kernel].flatten(1))
    return torch.stack(found, 1)


def expected_std(init: str, patch: int, width: int) -> float:
    """Standard deviation of a token's numbers at the start, over draws of the weights, for pixels of mean square 1 [1].
    init: timm or one of DRAWS."""
    n = 3 * patch**2
    bias = 1 / (3 * n) if init == "timm" else 0.0
    return math.sqrt({"timm": 1 / 3, "lecun": 1.0, "xavier": 2 * n / (n + width), "he": 2.0}[init] + bias)


def slow(conv, image_BCHW):
    """A convolution as a linear map of windows: tokens (B, L, D)."""
    kernel, stride, padding = conv.kernel_size[0], conv.stride[0], conv.padding[0]
    return windows(image_BCHW, kernel, stride, padding) @ conv.weight.flatten(1).T + conv.bias


@pytest.mark.parametrize("patch", [1, 2, 4, 8, 16])
def test_a_convolution_is_the_linear_map_of_flattened_patches(patch):
    embed = made("conv", patch)
    h = 16 // patch
    patches_BLP = IMAGE.view(2, 3, h, patch, h, patch).permute(0, 2, 4, 1, 3, 5).reshape(2, h * h, -1)
    linear = patches_BLP @ embed.proj.weight.flatten(1).T + embed.proj.bias
    torch.testing.assert_close(embed(IMAGE)[0], linear, rtol=0, atol=1e-12)


@pytest.mark.parametrize("patch", [1, 2, 4, 16])
def test_an_overlapping_kernel_as_large_as_the_patch_is_the_convolution(patch):
    plain, overlapping = made("conv", patch), made("overlapping", patch, overlap_kernel=patch, embed_norm=False)
    overlapping.load_state_dict(plain.state_dict())
    assert torch.equal(overlapping(IMAGE)[0], plain(IMAGE)[0])


@pytest.mark.parametrize(("patch", "kernel"), [(1, None), (1, 5), (2, None), (2, 4), (4, None), (4, 5), (4, 8)])
def test_overlapping_windows_are_centred_on_their_patches(patch, kernel):
    embed = made("overlapping", patch, overlap_kernel=kernel)
    wanted = F.layer_norm(slow(embed.proj, IMAGE), (WIDTH,))
    torch.testing.assert_close(embed(IMAGE)[0], wanted, rtol=0, atol=1e-10)
    side = overlapping_kernel(patch, kernel)
    before, after = embed.proj.padding[0], side - patch - embed.proj.padding[0]
    assert 0 <= before - after <= 1


def test_the_default_kernels_are_those_of_pvt_v2():
    assert [overlapping_kernel(patch, None) for patch in (4, 2, 1)] == [7, 3, 3]


@pytest.mark.parametrize("patch", [1, 2, 4, 8])
@pytest.mark.parametrize("scales", [1, 3, 4])
def test_scales_are_convolutions_of_larger_windows_side_by_side(patch, scales):
    embed = made("hierarchical", patch, scales=scales)
    convolutions = [embed.proj, *embed.wider]
    wanted = torch.cat([slow(conv, IMAGE) for conv in convolutions], 2)
    torch.testing.assert_close(embed(IMAGE)[0], wanted, rtol=0, atol=1e-10)
    assert [c.kernel_size[0] // patch for c in convolutions] == [1, 2, 4, 8][:scales] or patch == 1
    assert [c.out_channels for c in convolutions] == {1: [8], 3: [4, 2, 2], 4: [4, 2, 1, 1]}[scales]


@pytest.mark.parametrize("patch", [1, 2, 4, 8])
def test_a_stem_is_its_convolutions_norms_and_relus(patch):
    embed = made("conv_stem", patch)
    x = IMAGE
    for conv in embed.stages:
        assert conv.kernel_size == (3, 3)
        tokens = torch.relu(F.layer_norm(slow(conv, x), (conv.out_channels,)))
        side = x.shape[-1] // conv.stride[0]
        x = tokens.transpose(1, 2).unflatten(2, (side, side))
    torch.testing.assert_close(embed(IMAGE)[0], slow(embed.proj, x), rtol=0, atol=1e-10)


@given(patch=st.integers(1, 300), width=st.sampled_from([48, 192, 768]))
def test_a_stem_reaches_every_patch_in_prime_steps_and_ends_at_the_width(patch, width):
    strides, convolutions = stem_strides(patch), stem_convolutions(patch, width)
    assert math.prod(strides) == patch
    assert all(stride == 1 or all(stride % n for n in range(2, stride)) for stride in strides)
    assert [one.stride for one in convolutions] == [*strides, 1]
    assert convolutions[-2].outputs == convolutions[-1].outputs == width
    assert all(a.outputs == b.inputs for a, b in pairwise(convolutions))


def test_the_stem_of_patch_16_is_that_of_the_paper():
    """Table of arXiv 2106.14881, section 4: channels 48, 96, 192, 384 in ViT-4GF, 3 x 3 at stride 2 each."""
    *stages, last = stem_convolutions(16, 384)
    assert [one.outputs for one in stages] == [48, 96, 192, 384]
    assert {(one.kernel, one.stride, one.padding) for one in stages} == {(3, 2, 1)}
    assert (last.kernel, last.outputs) == (1, 384)


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize("patch", [1, 2, 3, 4, 6, 8, 12, 16])
def test_the_grid_is_that_of_the_patches(kind, patch):
    """Of images of other sides than the model's, too."""
    embed = made(kind, patch, image=48)
    for height, width in ((48, 48), (96, 48)):
        tokens_BLD, layout = embed(torch.zeros(1, 3, height, width, dtype=torch.float64))
        assert layout.grid == (height // patch, width // patch)
        assert tokens_BLD.shape == (1, height * width // patch**2, WIDTH)
    with pytest.raises(ConfigError, match=r"^patch 5 differs from \d+, the only patch size"):
        embed(IMAGE, patch_size=5)
    if patch > 1:
        with pytest.raises(ConfigError, match="do not tile images"):
            embed(torch.zeros(1, 3, 49, 48, dtype=torch.float64))


@pytest.mark.parametrize(
    ("kind", "patch", "reach"),
    [  # px before and after the patch
        ("conv", 4, (0, 0)),
        ("overlapping", 4, (2, 1)),
        ("overlapping", 1, (1, 1)),
        ("hierarchical", 2, (3, 3)),
        ("conv_stem", 4, (3, 0)),
        ("conv_stem", 1, (1, 1)),
    ],
)
def test_a_token_sees_its_window_and_nothing_else(kind, patch, reach):
    image = IMAGE[:1].clone().requires_grad_()
    tokens_BLD, layout = made(kind, patch)(image)
    h = layout.grid[0]
    row = h // 2
    tokens_BLD[0, row * h + row].square().sum().backward()
    seen = image.grad[0].abs().sum(0) > 0
    start, stop = row * patch - reach[0], (row + 1) * patch + reach[1]
    rows, columns = torch.where(seen)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (start, stop, start, stop)


def test_the_norm_of_a_map_is_timms():
    norm = timm.layers.LayerNorm2d(5).double()
    nn.init.normal_(norm.weight)
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    own = nn.LayerNorm(5, eps=norm.eps).double()
    own.load_state_dict(norm.state_dict())
    torch.testing.assert_close(channel_norm(x, own), norm(x))


@pytest.mark.parametrize(("backbone", "init"), [("deit_pico", "timm"), ("adventurer_pico", "lecun")])
def test_released_weights_are_those_of_each_backbones_code(backbone, init):
    plain = make_config(backbone=backbone, img_size=16, patch_size=4)
    one, other = (build_backbone(c).checkpoint_module.state_dict() for c in (plain, edit(plain, embed_init=init)))
    assert all(torch.equal(one[name], other[name]) for name in one)
    xavier = build_backbone(edit(plain, embed_init="xavier")).checkpoint_module.state_dict()
    assert [name for name in one if not torch.equal(one[name], xavier[name])] == (
        ["patch_embed.proj.weight", "patch_embed.proj.bias"] if init == "timm" else ["patch_embed.proj.weight"]
    )


@pytest.mark.parametrize("init", ["timm", "lecun", "xavier", "he"])
@pytest.mark.parametrize("patch", [16, 4, 1])
def test_tokens_have_the_scale_that_the_formula_has(init, patch):
    noise = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    noise /= noise.square().mean().sqrt()
    found = token_scale(lambda: build_patch_embed("conv", 3, 48, 16, patch, embed_init=init), noise)
    assert found == pytest.approx(expected_std(init, patch, 48), rel=0.12)


def test_only_xaviers_scale_falls_with_the_patch():
    scale = {init: [expected_std(init, p, 768) for p in (16, 1)] for init in ("timm", "lecun", "he", "xavier")}
    assert scale["xavier"][0] / scale["xavier"][1] > 10
    assert scale["lecun"] == [1, 1]
    assert scale["timm"][1] / scale["timm"][0] < 1.2


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize("backbone", ["deit_pico", "adventurer_pico"])
def test_a_backbone_learns_every_weight_of_its_embedding(kind, backbone):
    config = make_config(backbone=backbone, img_size=16, patch_size=4, patch_embed=kind)
    model = build_backbone(config)
    features = model(IMAGE.float(), (0,))
    assert features.to_map().shape == (2, model.width, 4, 4)
    features.pooled_ND.square().sum().backward()
    embed = model.checkpoint_module.patch_embed
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in embed.parameters() if p.ndim > 1)
    again = build_backbone(config).checkpoint_module.state_dict()
    assert all(torch.equal(t, again[name]) for name, t in model.checkpoint_module.state_dict().items())


@pytest.mark.parametrize("kind", NEW)
def test_weights_of_a_run_fit_the_same_embedding_and_no_other(kind, tmp_path):
    config = make_config(backbone="deit_pico", img_size=16, patch_size=4, patch_embed=kind)
    state = build_backbone(config).checkpoint_module.state_dict()
    path = tmp_path / "w.pth"
    torch.save(state, path)
    again = build_backbone(edit(config, seed=1, initial_checkpoint=str(path))).checkpoint_module.state_dict()
    assert all(torch.equal(state[name], again[name]) for name in state)
    plain = edit(config, patch_embed="conv")
    torch.save(build_backbone(plain).checkpoint_module.state_dict(), path)
    with pytest.raises(ConfigError, match=r"^these weights [^\n]*--patch-embed[^\n]*$"):
        build_backbone(edit(config, initial_checkpoint=str(path)))


@pytest.mark.parametrize("kind", NEW)
def test_packed_images_are_refused_in_a_line(kind):
    packed = PackedImages.__new__(PackedImages)
    with pytest.raises(ConfigError, match=r"^\w+PatchEmbed reads pixels around a patch[^\n]*--patch-embed conv$"):
        made(kind, 4)(packed)
    with pytest.raises(ConfigError, match=f"^packing sequences needs --patch-embed conv, not {kind}$"):
        built("deit_pico", patch_embed=kind, packing="sequences", augment="none")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"overlap_kernel": 2}, "^overlap_kernel 2 is below patch_size 4: pixels between"),
        ({"overlap_kernel": 4, "patch_size": 1}, "^overlap_kernel 4 must be odd at patch 1"),
        ({"scales": 5}, r"^scales 5 must be in \[1, 4\]$"),
        ({"patch_embed": "conv_stem", "patch_size": 5}, "^patch 5 does not divide a 16 px image"),
        ({"embed_init": "zeros"}, "^unknown embed_init 'zeros'; there is: he, lecun"),
        ({"patch_embed": "conv_stem", "scales": 2}, "^scales does not apply to patch_embed conv_stem"),
        ({"patch_embed": "overlapping", "step_shapes": "random_patch"}, "set --patch-embed flexible$"),
        ({"backbone": "timm:vit_tiny_patch16_224", "patch_embed": "conv_stem"}, "add --patch-embed conv$"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_a_line(fields, message):
    with pytest.raises(ConfigError, match=message) as error:
        make_config(**fields)
    assert "\n" not in str(error.value)


def test_scales_need_a_width_that_they_can_share():
    with pytest.raises(ConfigError, match="scales 3 needs a width that is a multiple of 4"):
        build_patch_embed("hierarchical", 3, 6, 16, 4, scales=3)
    assert sum(one.outputs for one in cross_scale_convolutions(4, 48, 4)) == 48


def test_a_field_alone_chooses_its_embedding_and_old_runs_keep_their_ids():
    plain = make_config(patch_size=4)
    assert edit(plain, overlap_kernel=9).model.patch_embed.kind == "overlapping"
    assert edit(plain, scales=2).model.patch_embed.kind == "hierarchical"
    assert edit(plain, embed_init="he").model.patch_embed.kind == "conv"
    assert edit(plain, embed_init="released").run_id == plain.run_id
    groups = {edit(plain, patch_embed="overlapping", patch_size=patch).group for patch in (1, 2, 4, 8)}
    assert len(groups) == 1
    assert groups != {plain.group}


def test_models_and_costs_read_one_list_of_convolutions():
    """Neither file has a kernel of its own."""
    for name in ("backbones/conv_stem.py", "backbones/hierarchical_embed.py", "costs/conv_stem.py"):
        text = (pathlib.Path(__file__).parents[2] / "scaling" / name).read_text()
        assert "Conv2d(" not in text
