"""Relative biases against a slow reference and timm: they depend on offsets alone, at any grid and patch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import RelPosBias, RelPosMlp
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table_simple

from scaling.backbones.base import TokenLayout
from scaling.backbones.deit import Deit
from scaling.backbones.pos_embed import build_position
from scaling.backbones.position_encoding import PositionSpec
from scaling.backbones.relative_bias import LIMIT, between_patches, resized
from scaling.backbones.sincos import Reference
from scaling.model_specs import BIAS_HIDDEN, MODEL_SPECS
from tests.backbones.slow_attention import slow_tokens

CPU = torch.device("cpu")
GRID, PATCH, HEADS = 4, 4, 3
SPEC = PositionSpec(24, HEADS, GRID, PATCH, Reference(GRID, PATCH), 3)
both = pytest.mark.parametrize("name", ["relative", "relative_mlp"])
GRIDS = st.tuples(st.integers(1, 5), st.integers(1, 5))


def encoding_of(name, spread=0.5):
    """With numbers so large that they matter."""
    torch.manual_seed(0)
    encoding = build_position(name, SPEC).double()
    for parameter in encoding.parameters():
        torch.nn.init.normal_(parameter, std=spread)
    return encoding


def bias_of(encoding, grid, patch=PATCH, leading=0):
    with torch.no_grad():
        return encoding.bias(TokenLayout(patch, CPU, grid, leading=leading))[0]


@settings(max_examples=25)
@given(grid=GRIDS, seed=st.integers(0, 99))
def test_windows_of_the_offsets_are_what_a_double_loop_finds(grid, seed):
    (h, w), draw = grid, torch.Generator().manual_seed(seed)
    bias_Hyx = torch.randn(HEADS, 2 * h - 1, 2 * w - 1, generator=draw)
    found_HLL = between_patches(bias_Hyx)
    for query in range(h * w):
        for key in range(h * w):
            dy, dx = query // w - key // w, query % w - key % w
            assert torch.equal(found_HLL[:, query, key], bias_Hyx[:, dy + h - 1, dx + w - 1])


@both
@settings(max_examples=15)
@given(grid=st.tuples(st.integers(2, 6), st.integers(2, 6)), patch=st.sampled_from([2, 4, 8]))
def test_both_patches_moved_by_the_same_have_the_same_bias(name, grid, patch):
    bias = bias_of(encoding_of(name), grid, patch).unflatten(2, grid).unflatten(1, grid)
    torch.testing.assert_close(bias[:, 1:, 1:, 1:, 1:], bias[:, :-1, :-1, :-1, :-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("grid", [(GRID, GRID), (2, 5)])
def test_the_table_is_that_of_timm_at_any_grid_with_the_class_token_first(grid):
    ours = encoding_of("relative").float()
    timms = RelPosBias((GRID, GRID), HEADS, prefix_tokens=1)
    table_NH = torch.cat([ours.offsets_Hyx.flatten(1), ours.class_tokens_H3], 1).T.detach()
    if grid != (GRID, GRID):
        count = (2 * grid[0] - 1) * (2 * grid[1] - 1) + 3
        table_NH = resize_rel_pos_bias_table_simple(table_NH, grid, (count, HEADS))
        timms = RelPosBias(grid, HEADS, prefix_tokens=1)
    with torch.no_grad():
        timms.relative_position_bias_table.copy_(table_NH)
        torch.testing.assert_close(bias_of(ours, grid, leading=1), timms.get_bias()[0])


@pytest.mark.parametrize("grid", [(GRID, GRID), (2, 5), (7, 7)])
def test_the_mlp_is_that_of_timm_at_any_grid_but_for_a_constant(grid):
    ours = encoding_of("relative_mlp").float()
    first = (GRID, GRID)
    timms = RelPosMlp(grid, HEADS, BIAS_HIDDEN, mode="swin", pretrained_window_size=first).eval()
    with torch.no_grad():
        timms.mlp.fc1.weight.copy_(ours.weight_M2)
        timms.mlp.fc1.bias.copy_(ours.bias_M)
        timms.mlp.fc2.weight.copy_(ours.weight_HM)
        torch.testing.assert_close(bias_of(ours, grid) + LIMIT, timms.get_bias()[0], rtol=1e-4, atol=1e-4)
    assert not bias_of(ours, grid, leading=1)[:, 0].any()


@pytest.mark.parametrize("patch", [1, 2, 8])
def test_at_another_patch_equal_distances_on_the_image_have_equal_biases_by_the_mlp(patch):
    encoding, side = encoding_of("relative_mlp"), GRID * PATCH
    found, first = bias_of(encoding, (side // patch,) * 2, patch), bias_of(encoding, (GRID, GRID))
    step, whole = max(1, PATCH // patch), max(1, patch // PATCH)
    fine = found.unflatten(2, (side // patch,) * 2).unflatten(1, (side // patch,) * 2)
    coarse = first.unflatten(2, (GRID, GRID)).unflatten(1, (GRID, GRID))
    fine, coarse = fine[:, ::step, ::step, ::step, ::step], coarse[:, ::whole, ::whole, ::whole, ::whole]
    torch.testing.assert_close(fine, coarse, rtol=0, atol=1e-12)


def test_a_table_interpolated_to_its_own_grid_is_itself_and_a_level_one_stays_level():
    table = encoding_of("relative").offsets_Hyx
    assert resized(table, (GRID, GRID)) is table
    level = torch.full((HEADS, 7, 7), 0.25, dtype=torch.float64)
    torch.testing.assert_close(resized(level, (3, 9)), torch.full((HEADS, 5, 17), 0.25, dtype=torch.float64))


@both
@torch.no_grad()
def test_attention_is_that_of_a_slow_reference(name):
    backbone = Deit(MODEL_SPECS["deit_pico"], 8, PATCH, pos_embed=name)
    backbone.initialise(0)
    backbone.double()
    encoding = backbone.vit.positions
    for parameter in encoding.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    image = torch.linspace(-2, 2, 2 * 3 * 16 * 8, dtype=torch.float64).view(2, 3, 16, 8).sin()
    h, w = 4, 2
    offsets = resized(encoding.offsets_Hyx, (h, w)) if name == "relative" else encoding.of_offsets((h, w), PATCH)

    def bias(query, key, head):
        if query is None or key is None:
            if name == "relative_mlp":
                return 0.0
            return float(encoding.class_tokens_H3[head, 2 if query == key else 0 if query is None else 1])
        return float(offsets[head, query[0] - key[0] + h - 1, query[1] - key[1] + w - 1])

    wanted, features = slow_tokens(backbone, image, bias=bias), backbone(image)
    torch.testing.assert_close(features.tokens_BLD, wanted[:, 1:], rtol=0, atol=1e-12)
    torch.testing.assert_close(features.pooled_ND, wanted[:, 0], rtol=0, atol=1e-12)
    assert (slow_tokens(backbone, image) - wanted).abs().max() > 1e-6


@torch.no_grad()
def test_a_table_of_another_grid_is_interpolated_when_weights_are_loaded():
    first, second = (Deit(MODEL_SPECS["deit_pico"], image, PATCH, pos_embed="relative") for image in (16, 32))
    first.initialise(0)
    second.vit.load_state_dict(second.convert_state_dict(first.vit.state_dict()))
    torch.testing.assert_close(
        bias_of(second.vit.positions, (8, 8), leading=1), bias_of(first.vit.positions, (8, 8), leading=1)
    )
