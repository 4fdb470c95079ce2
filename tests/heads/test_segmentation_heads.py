"""The linear head and UperNet: they are mmseg's, of the size that is told, and alike at every patch."""

import warnings
from importlib.util import find_spec

import pytest
import torch

from scaling.backbones.base import Features, TokenLayout
from scaling.config.edit import make_config
from scaling.config.task import SEGMENTATION_HEADS
from scaling.errors import ConfigError
from scaling.heads.segmentation import build_head, groups, taken_blocks

pytestmark = pytest.mark.skipif(find_spec("mmseg") is None, reason="needs the extra dense")
WIDTH, CLASSES, CHANNELS = 48, 5, 48


def head(name="upernet", patch=16, width=WIDTH, depth=4, classes=CLASSES, channels=CHANNELS, seed=0):
    return build_head(name, width, patch, depth, classes, channels, seed)


def features(model, patch, size=(32, 32), batch=2, seed=0, width=WIDTH):
    """What a backbone would give."""
    g, (h, w) = torch.Generator().manual_seed(seed), (side // patch for side in size)

    tokens, *hidden = (torch.randn(batch, h * w, width, generator=g) for _ in (0, *model.blocks))
    return Features(tokens, torch.zeros(batch, width), TokenLayout(patch, torch.device("cpu"), (h, w)), tuple(hidden))


def of(features, n):
    """The features of one image alone."""
    parts = {"tokens_BLD": features.tokens_BLD[[n]], "pooled_ND": features.pooled_ND[[n]]}
    return features._replace(**parts, hidden=tuple(tokens[[n]] for tokens in features.hidden))


# linear


def test_the_linear_head_is_one_linear_layer_a_token():
    model = head("linear")
    given = features(model, 16, (64, 96))
    weight, bias = (p.detach() for p in model.parameters())
    want = torch.einsum("bdhw,kd->bkhw", given.to_map(), weight.view(CLASSES, WIDTH)) + bias.view(-1, 1, 1)
    got = model(given, (64, 96))
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    assert got.shape == (2, CLASSES, 4, 6)
    assert model.blocks == ()
    assert len(list(model.parameters())) == 2


# UperNet


@pytest.mark.parametrize("size", [(32, 32), (32, 64), (48, 32)])
@pytest.mark.parametrize("patch", [16, 8, 1])
def test_upernet_labels_at_stride_4_and_every_weight_gets_a_gradient(patch, size):
    model = head(patch=patch)
    logits = model(features(model, patch, size), size)
    assert logits.shape == (2, CLASSES, size[0] // 4, size[1] // 4)
    logits.square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad.abs().sum() > 0, name


def test_an_image_alone_can_be_trained_on():
    """Its coarsest map is pooled to one cell: nothing is left to normalise but the channels of a group."""
    model = head(channels=32)
    loss = model(features(model, 16, batch=1), (32, 32)).square().sum()
    loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in model.head.psp_modules[0].parameters())


def test_upernet_reads_the_blocks_at_the_quarters_of_the_depth():
    assert head(depth=12).blocks == (2, 5, 8, 11)
    assert head(depth=24).blocks == (5, 11, 17, 23)
    assert head(depth=4).blocks == (0, 1, 2, 3)
    assert taken_blocks(3) == (0, 1, 2, 2)
    assert head(depth=3).blocks == (0, 1, 2)  # a map is asked for once, and used twice
    assert head(depth=1).blocks == (0,)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7, 12])
def test_each_level_has_its_own_map_where_there_are_enough_blocks(depth):
    """The coarsest level reads the last map, the finest the first."""
    model = head(depth=depth)
    given = features(model, 16)
    seen = []
    model.pyramid.register_forward_pre_hook(lambda _, args: seen.extend(args[0]))
    model(given, (32, 32))
    assert len(seen) == 4
    maps = given.hidden_maps()
    assert torch.equal(seen[0], maps[0])
    assert torch.equal(seen[-1], maps[-1])
    assert all(any(torch.equal(own, one) for one in seen) for own in maps)


def test_maps_for_other_blocks_are_refused():
    model = head(depth=12)
    grids = features(model, 16)
    with pytest.raises(ValueError, match="3 maps for the blocks"):
        model(grids._replace(hidden=grids.hidden[:3]), (32, 32))


# both


def test_they_are_mmsegs_heads_and_get_contiguous_maps():
    for name, kind in (("linear", "FCNHead"), ("upernet", "UPerHead")):
        model = head(name)
        assert (type(model.head).__name__, type(model.head).__module__.split(".")[0]) == (kind, "mmseg")
        assert (model.head.align_corners, model.head.dropout) == (False, None)
        seen = []
        model.head.register_forward_pre_hook(lambda _, args, seen=seen: seen.extend(args[0]))
        given = features(model, 16)
        model(given, (32, 32))
        assert len(seen) == (1 if name == "linear" else 4)
        assert all(m.is_contiguous() for m in seen)


@pytest.mark.parametrize(("width", "printed"), [(256, 17 - 12), (768, 112 - 99)])
def test_upernet_has_as_many_parameters_more_as_table_2_prints(width, printed):
    """Adventurer-T and -B on ADE20K, patch 16 [M]."""
    channels = make_config().task.head.head_channels
    sizes = {
        name: sum(p.numel() for p in head(name, width=width, depth=12, classes=150, channels=channels).parameters())
        for name in SEGMENTATION_HEADS
    }
    assert sizes["linear"] == width * 150 + 150
    d, c = width, channels
    neck = 3 * (4 * d * d + d) + 2 * d
    assert sizes["upernet"] == neck + 16 * d * c + 99 * c * c + 24 * c + 150 * c + 150
    assert abs((sizes["upernet"] - sizes["linear"]) / 1e6 - printed) < 0.5


@pytest.mark.parametrize("name", SEGMENTATION_HEADS)
def test_an_image_is_labelled_alike_whatever_else_is_in_the_batch(name):
    model = head(name, patch=8).train()
    given = features(model, 8, batch=3)
    together = model(given, (32, 32))
    for n in range(3):
        torch.testing.assert_close(together[[n]], model(of(given, n), (32, 32)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", SEGMENTATION_HEADS)
def test_weights_follow_from_the_seed_and_the_modules_names(name):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = {patch: head(name, patch).state_dict() for patch in (32, 16, 8, 1)}
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = head(name).state_dict(), head(name, seed=1).state_dict()
    assert all(torch.equal(again[key], one[16][key]) for key in again)
    assert not torch.equal(other["head.conv_seg.weight"], again["head.conv_seg.weight"])
    for patch, state in one.items():  # larger patches have all of the weights of smaller ones, and more
        assert state.keys() <= one[32].keys()
        assert all(torch.equal(state[key], one[32][key]) for key in state), patch
    if name == "upernet":
        assert len({len(state) for state in one.values()}) == 4


@torch.no_grad()
def test_weights_are_drawn_as_mmcv_and_mmseg_draw_them():
    from mmcv.cnn import ConvModule

    model = head(patch=32, width=96, channels=96, classes=150)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.GroupNorm | torch.nn.LayerNorm):
            assert (module.weight.min(), module.weight.max(), module.bias.abs().max()) == (1, 1, 0)
        elif isinstance(module, ConvModule):
            twin = ConvModule(*module.conv.weight.shape[1::-1], module.conv.kernel_size, bias=False)
            assert module.conv.weight.std() == pytest.approx(float(twin.conv.weight.std()), rel=0.05), name
    assert model.head.conv_seg.weight.std() == pytest.approx(0.01, rel=0.05)
    assert model.head.conv_seg.bias.abs().max() == 0


def test_a_group_norm_has_up_to_32_groups_of_four_channels_or_more():
    assert {c: groups(c) for c in (1, 3, 4, 32, 48, 96, 128, 160, 192, 256, 512)} == {
        **{1: 1, 3: 1, 4: 1, 32: 8, 48: 12, 96: 24},
        **{128: 32, 160: 32, 192: 32, 256: 32, 512: 32},
    }
    norms = [m for m in head(channels=48).head.modules() if isinstance(m, torch.nn.GroupNorm)]
    assert {m.num_groups for m in norms} == {12}
    assert not [m for m in head().modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize("patch", [16, 2])
@pytest.mark.parametrize("name", SEGMENTATION_HEADS)
def test_bf16_gives_nearly_what_float32_gives(name, patch):
    model = head(name, patch)
    given = features(model, patch)
    want = model(given, (32, 32))
    with torch.autocast("cpu", torch.bfloat16):
        got = model(given, (32, 32))
    got.float().sum().backward()
    assert got.dtype == torch.bfloat16
    assert (got.float() - want).abs().max() < 0.1 * want.abs().max()


@pytest.mark.parametrize("name", SEGMENTATION_HEADS)
def test_two_classes_are_no_occasion_for_a_warning(name, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = head(name, classes=2)
        assert model(features(model, 16), (32, 32)).shape[1] == 2
    assert capfd.readouterr() == ("", "")


def test_an_unknown_head_is_told_from_the_known():
    with pytest.raises(ConfigError, match="did you mean upernet"):
        head("upernett")
