"""Positions that are functions of a patch's coordinates: their definitions, other grids, packed images, costs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling import costs
from scaling.backbones.additive_positions import Factorized, Fourier, SinCos1d, between
from scaling.backbones.base import TokenLayout
from scaling.backbones.pos_embed import build_position
from scaling.backbones.position_encoding import PositionSpec
from scaling.backbones.registry import build_backbone
from scaling.backbones.sincos import Reference
from scaling.config.additive_positions import COORDINATES
from scaling.config.edit import make_config
from scaling.errors import ConfigError
from scaling.packing.packed_images import pack

WIDTH, PATCH, SIDE = 8, 4, 4
CPU = torch.device("cpu")
SPEC = PositionSpec(WIDTH, 2, SIDE, PATCH, Reference(SIDE, PATCH))
KINDS = ["none", "sincos1d", "factorized", "fourier"]
LEARNED = pytest.mark.parametrize("kind", ["factorized", "fourier"])
EACH = pytest.mark.parametrize("coordinates", COORDINATES)
CLASS_TOKENS = {"deit_pico": (1, 0), "adventurer_pico": (0, 1)}


def drawn(encoding):
    torch.manual_seed(0)
    encoding.reset_parameters()
    return encoding.double()


def layout(grid, patch=PATCH):
    return TokenLayout(patch, CPU, grid)


def at(encoding, grid, patch=PATCH):
    """(h, w, D) of an image."""
    where = layout(grid, patch)
    zero = torch.zeros(1, math.prod(grid), WIDTH, dtype=torch.float64)
    return encoding.add(zero, where, None)[0].view(*grid, WIDTH).detach()


def test_sines_of_the_raster_order_are_those_of_a_double_loop():
    found = at(SinCos1d(SPEC), (SIDE, SIDE))
    for i in range(SIDE):
        for j in range(SIDE):
            u, half = i * SIDE + j, WIDTH // 2
            angles = [u * 10_000 ** (-k / half) for k in range(half)]
            right = torch.tensor([*map(math.sin, angles), *map(math.cos, angles)], dtype=torch.float64)
            torch.testing.assert_close(found[i, j], right, rtol=0, atol=1e-6)


def test_factorized_is_the_vector_of_the_row_plus_that_of_the_column():
    encoding = drawn(Factorized(SPEC, max_side=6))
    for grid in ((SIDE, SIDE), (6, 2), (1, 5)):
        right = encoding.rows[: grid[0], None] + encoding.columns[None, : grid[1]]
        torch.testing.assert_close(at(encoding, grid), right.detach(), rtol=0, atol=0)


@EACH
def test_factorized_the_difference_of_two_columns_is_the_same_in_every_row(coordinates):
    found = at(drawn(Factorized(SPEC, coordinates, 16)), (3, 5))
    torch.testing.assert_close(found[0, 1] - found[0, 4], found[2, 1] - found[2, 4], rtol=0, atol=1e-12)


def test_fourier_is_a_linear_layer_on_sines_and_cosines():
    encoding, grid = drawn(Fourier(SPEC, fourier_std=2.0)), (2, 3)
    found = at(encoding, grid)
    for i in range(grid[0]):
        for j in range(grid[1]):
            u_2 = torch.tensor([(i + 0.5) / grid[0], (j + 0.5) / grid[1]], dtype=torch.float64)
            angle_F = 2 * math.pi * (encoding.frequency @ u_2)
            right = encoding.weight @ torch.cat([angle_F.sin(), angle_F.cos()]) + encoding.offset
            torch.testing.assert_close(found[i, j], right.detach(), rtol=0, atol=1e-6)  # coordinates are float32


@LEARNED
def test_absolute_positions_do_not_depend_on_the_size_of_the_image_and_fractional_ones_on_no_scale(kind):
    absolute = drawn(build_position(kind, SPEC, position_coordinates="absolute"))
    torch.testing.assert_close(at(absolute, (3, 5))[:2, :2], at(absolute, (2, 2)), rtol=0, atol=0)
    fractional = drawn(build_position(kind, SPEC, position_coordinates="fractional"))
    small, large = at(fractional, (3, 5)), at(fractional, (9, 15))  # centres of every third are those of the small one
    torch.testing.assert_close(large[1::3, 1::3], small, rtol=0, atol=1e-5)
    ratio = drawn(build_position(kind, SPEC, position_coordinates="fractional_ar"))
    torch.testing.assert_close(at(ratio, (4, 4))[:2], at(ratio, (2, 4)), rtol=0, atol=1e-6)


@LEARNED
def test_of_a_square_fractional_coordinates_with_and_without_the_aspect_ratio_are_equal(kind):
    both = [drawn(build_position(kind, SPEC, position_coordinates=c)) for c in ("fractional", "fractional_ar")]
    torch.testing.assert_close(at(both[0], (5, 5)), at(both[1], (5, 5)), rtol=0, atol=1e-6)


@LEARNED
def test_patches_of_another_size_have_the_positions_of_the_same_place(kind):
    """A patch of 12 px covers three by three of 4 px; its centre is that of the middle one."""
    for coordinates in COORDINATES:
        encoding = drawn(build_position(kind, SPEC, position_coordinates=coordinates))
        torch.testing.assert_close(at(encoding, (2, 2), 12), at(encoding, (6, 6), 4)[1::3, 1::3], rtol=0, atol=1e-5)


@given(u=st.floats(-2, 9, allow_nan=False))
def test_between_two_vectors_positions_are_interpolated(u):
    table = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inside = min(max(u, 0.0), 6.0)
    low = min(int(inside), 5)
    right = (1 - (inside - low)) * table[low] + (inside - low) * table[low + 1]
    torch.testing.assert_close(between(table, torch.tensor([u], dtype=torch.float64))[0], right, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CLASS_TOKENS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4)
@given(
    grids=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=5),
    coordinates=st.sampled_from(COORDINATES),
)
def test_packed_images_have_the_features_and_gradients_of_each_image_alone(name, kind, grids, coordinates):
    options = {"position_coordinates": coordinates} if kind in ("factorized", "fourier") else {}
    config = make_config(backbone=name, img_size=16, patch_size=PATCH, pos_embed=kind, **options)
    backbone = build_backbone(config)
    backbone.initialise(0)
    backbone.double()
    draw = torch.Generator().manual_seed(0)
    images = [torch.randn(3, h * PATCH, w * PATCH, generator=draw, dtype=torch.float64) for h, w in grids]
    results = []
    for packed in (True, False):
        backbone.zero_grad()
        if packed:
            pooled_ND = backbone(pack(images, PATCH, 40, CLASS_TOKENS[name])).pooled_ND
        else:
            pooled_ND = torch.cat([backbone(image_CHW[None]).pooled_ND for image_CHW in images])
        pooled_ND.square().sum().backward()
        results.append([pooled_ND, *(p.grad for p in backbone.parameters() if p.grad is not None)])
    for found, right in zip(*results, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-10)


def test_without_positions_deit_sees_a_set_of_patches_and_adventurer_their_order():
    draw = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, 16, 16, generator=draw, dtype=torch.float64)
    turned = image.unflatten(3, (4, 4)).flip(3).flatten(3)  # columns of patches in reverse
    for name, equal in (("deit_pico", True), ("adventurer_pico", False)):
        backbone = build_backbone(make_config(backbone=name, img_size=16, patch_size=PATCH, pos_embed="none")).double()
        close = torch.allclose(backbone(image).pooled_ND, backbone(turned).pooled_ND, rtol=0, atol=1e-10)
        assert close is equal


@pytest.mark.parametrize("name", ["deit_pico", "deit3_small", "adventurer_pico"])
@pytest.mark.parametrize("kind", KINDS)
def test_their_parameters_are_counted(name, kind):
    config = make_config(backbone=name, img_size=16, patch_size=PATCH, pos_embed=kind, num_classes=5)
    built = sum(p.numel() for p in build_backbone(config).parameters() if p.requires_grad)
    width = build_backbone(config).width
    assert costs.recipe_parameters(config) == built + 5 * width + 5


def test_longer_images_than_the_table_are_refused_at_the_start_and_later():
    with pytest.raises(
        ConfigError, match=r"^an image has a side of 4 patches, and factorized positions have max_side 3"
    ):
        build_backbone(make_config(img_size=16, patch_size=4, pos_embed="factorized", max_side=3))
    backbone = build_backbone(make_config(img_size=16, patch_size=4, pos_embed="factorized", max_side=4))
    with pytest.raises(ConfigError, match=r"^an image has a side of 5 patches[^\n]*--position-coordinates fractional$"):
        backbone(torch.zeros(1, 3, 16, 20))
    fractional = make_config(
        img_size=16, patch_size=4, pos_embed="factorized", max_side=3, position_coordinates="fractional"
    )
    assert build_backbone(fractional)(torch.zeros(1, 3, 16, 20)).tokens_BLD.shape[1] == 20
