"""Sines are a function of where a patch lies: the same by whichever way a model came to a grid."""

import pytest
import torch

from scaling.backbones.registry import build_backbone
from scaling.backbones.sincos import COORDINATES, Reference, Sines, coordinates
from scaling.config.edit import edit, make_config
from scaling.config.initialization import FromRun
from scaling.errors import ConfigError
from scaling.runs.config_file import write_config

NAMES = ("deit_nano", "deit3_small", "adventurer_nano")
SMALL = make_config(pos_embed="sincos", img_size=16, patch_size=4)
SIDES = (1, 2, 3, 4, 7, 8, 14, 16, 33)
every_pair = pytest.mark.parametrize(("n", "n0"), [(1, 1), (1, 4), (4, 1), (7, 3), (8, 12), (33, 14), (14, 33)])


def positions(backbone, image):
    """(h * w, D): what is added to the patches of a blank image of that height and width."""
    net = backbone.checkpoint_module
    with torch.no_grad():
        patches_1LD, layout = net.patch_embed(torch.zeros(1, 3, *image))
        table = net.pos_embed[:, :-1] if hasattr(net, "layers") else net.pos_embed[:, -(backbone_grid(net) ** 2) :]
        return net.positions.add(torch.zeros_like(patches_1LD), layout, table)[0]


def backbone_grid(net):
    return net.positions.spec.grid


def test_on_the_grid_trained_at_coordinates_are_the_numbers_of_the_patches():
    for n in SIDES:
        for kind in COORDINATES:
            assert torch.equal(coordinates(n, n, kind), torch.arange(n, dtype=torch.float64))


@every_pair
def test_by_place_the_first_patch_is_as_far_from_the_border_as_the_last(n, n0):
    u = coordinates(n, n0)
    torch.testing.assert_close(u[0] + 0.5, n0 - 0.5 - u[-1])
    torch.testing.assert_close(u[0] + 0.5, torch.tensor(n0 / n / 2, dtype=torch.float64))


@every_pair
def test_by_pixels_a_patch_lies_where_it_lies_however_many_others_there_are(n, n0):
    for scale in (0.25, 1.0, 2.0):
        assert torch.equal(coordinates(n, n0, "pixels", scale), coordinates(n + 7, n0, "pixels", scale)[:n])
    assert torch.equal(coordinates(n, n0, "pixels"), coordinates(n, n0, "index"))  # of the same size in px


def test_at_another_patch_of_the_same_image_place_and_pixels_are_one():
    for n0 in SIDES:
        for finer in (1, 2, 4):
            by_pixels = coordinates(n0 * finer, n0, "pixels", 1 / finer)
            torch.testing.assert_close(coordinates(n0 * finer, n0), by_pixels)


def test_an_unknown_kind_of_coordinates_is_refused():
    with pytest.raises(ConfigError, match="did you mean place"):
        coordinates(4, 4, "palce")


@pytest.mark.parametrize("name", NAMES)
def test_at_the_grid_trained_at_the_table_is_the_one_of_arxiv_2104_02057(name):
    """Bit for bit, so that no run at its own size has other numbers than it had."""
    backbone = build_backbone(edit(SMALL, backbone=name))
    channels = backbone.width
    frequency_F = 10_000.0 ** -(torch.arange(channels // 4, dtype=torch.float64) / (channels // 4))
    y, x = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    angles = [where.reshape(-1, 1) * frequency_F for where in (x, y)]
    wanted = torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], 1).float()
    held = backbone.checkpoint_module.pos_embed.detach()[0]
    patches = held[:-1] if name.startswith("adventurer") else held[-16:]
    assert torch.equal(patches, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_a_chain_and_a_larger_image_give_equal_tables(name):
    first = edit(SMALL, backbone=name)
    second = edit(first, img_size=32, init=FromRun(config=first))
    third = edit(first, img_size=48, init=FromRun(config=second))
    for chained in (second, third):
        side = chained.model.img_size
        by_chain = positions(build_backbone(chained), (side, side))
        by_forward = positions(build_backbone(first), (side, side))
        torch.testing.assert_close(by_chain, by_forward, atol=1e-6, rtol=0)
    assert not torch.allclose(by_chain, positions(build_backbone(edit(first, img_size=48)), (48, 48)), atol=0.1)


def test_weights_of_a_runs_folder_bring_its_places_along(tmp_path):
    first = edit(SMALL, backbone="adventurer_nano")
    write_config(first, tmp_path)
    torch.save({"model": build_backbone(first).checkpoint_module.state_dict()}, tmp_path / "weights.pt")
    by_chain = build_backbone(edit(first, img_size=32, initial_checkpoint=str(tmp_path)))
    torch.testing.assert_close(positions(by_chain, (32, 32)), positions(build_backbone(first), (32, 32)))


@pytest.mark.parametrize("name", NAMES)
def test_rows_and_columns_change_places_with_height_and_width(name):
    backbone = build_backbone(edit(SMALL, backbone=name))
    high, wide = positions(backbone, (32, 16)), positions(backbone, (16, 32))
    half = backbone.width // 2  # first the column's sines, then the row's
    turned = wide.view(4, 8, -1).transpose(0, 1).flatten(0, 1).roll(half, 1)
    torch.testing.assert_close(high, turned, atol=1e-6, rtol=0)


def test_tables_are_remembered_by_both_sides_and_by_dtype():
    sines = Sines(8, 4, Reference(4, 4))
    own = torch.zeros(1)
    assert not torch.equal(sines.like((2, 8), own), sines.like((8, 2), own))
    assert sines.like((2, 8), own.double()).dtype == torch.float64
    assert sines.like((2, 8), own) is sines.like((2, 8), own)
    assert sines.like((2, 8), torch.zeros(1, device="meta")).is_meta


def test_positions_are_the_same_under_autocast():
    backbone = build_backbone(edit(SMALL, backbone="adventurer_nano"))
    wanted = positions(backbone, (64, 64))
    fresh = build_backbone(edit(SMALL, backbone="adventurer_nano"))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(positions(fresh, (64, 64)), wanted)


def test_by_pixels_alone_a_position_does_not_depend_on_what_its_image_is_filled_up_to():
    """Detection fills a training batch up to its largest image."""
    for kind, alike in (("place", False), ("pixels", True)):
        sines = Sines(8, 4, Reference(4, 4), kind)
        small, filled = (sines.table(grid).view(*grid, -1) for grid in ((4, 4), (6, 8)))
        assert torch.equal(small, filled[:4, :4]) == alike
