"""Weights that go to another grid, another patch, or to longer sequences: what is kept, what is resampled, and how.

Positions here say where they lie: channel 0 is the row, channel 1 the column, channel 2 marks the class token."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from scaling.backbones.adventurer import Adventurer
from scaling.backbones.checkpoint_io import read_state_dict
from scaling.backbones.patch_embed import ConvPatchEmbed, ExtendedPatchEmbed
from scaling.backbones.pos_embed import resample_as_released
from scaling.backbones.registry import build_backbone
from scaling.config.edit import edit, make_config
from scaling.errors import ConfigError
from scaling.model_specs import MODEL_SPECS

ADVENTURER = MODEL_SPECS["adventurer_nano"]
WIDTH = ADVENTURER.width


def ramps(grid):
    """(1, grid * grid, D): each patch's row and column."""
    pos_hwD = torch.zeros(grid, grid, WIDTH)
    pos_hwD[..., 0] = torch.arange(grid).view(-1, 1)
    pos_hwD[..., 1] = torch.arange(grid)
    return pos_hwD.view(1, -1, WIDTH)


def class_position():
    return torch.zeros(1, 1, WIDTH).index_fill(2, torch.tensor([2]), 100.0)


def adventurer(grid, patch=4):
    return Adventurer(ADVENTURER, grid * patch, patch)


def moved(source, target, pos_embed_resampling):
    """Positions of a source x source grid, the class token's last, in a model of another: its map and the last."""
    state = adventurer(source).state_dict()
    state["pos_embed"] = torch.cat([ramps(source), class_position()], 1)
    model = adventurer(target)
    model.load_state_dict(model.convert_state_dict(state, pos_embed_resampling))
    return model.pos_embed[0, :-1].detach().unflatten(0, (target, target)), model.pos_embed[0, -1].detach()


def test_fixed_positions_keep_their_places_and_the_class_token_its_own():
    map_hwD, last_D = moved(8, 14, "aligned")
    torch.testing.assert_close(last_D, class_position()[0, 0], rtol=0, atol=0)
    assert map_hwD[..., 2].abs().max() == 0
    wanted = (torch.arange(14) + 0.5) * 8 / 14 - 0.5  # where a patch's middle lies on the old grid
    inner = slice(4, 10)  # away from the edges, which bicubic weights repeat
    torch.testing.assert_close(map_hwD[inner, inner, 1], wanted[inner].expand(6, 6), rtol=0, atol=1e-4)
    torch.testing.assert_close(map_hwD[inner, inner, 0], wanted[inner].view(-1, 1).expand(6, 6), rtol=0, atol=1e-4)


def test_official_positions_are_shifted_by_one_and_hold_the_class_tokens():
    """The first patch's is kept as the class token's; patch k then has what lies at k - 1 of a map whose cells are one
    further: a column of the old grid ahead, less one of the new. What was the class token's is in the last corner."""
    map_hwD, last_D = moved(8, 14, "released")
    fixed_hwD, _ = moved(8, 14, "aligned")
    assert map_hwD[0, 0].tolist() == ramps(8)[0, 0].tolist()
    inner = slice(5, 9)
    ahead = (map_hwD - fixed_hwD)[inner, inner]
    assert (ahead[..., 1] - (1 - 8 / 14)).abs().max() < 0.1
    assert ahead[..., 0].abs().max() < 0.1
    assert last_D[2] > 90
    assert map_hwD[:-4, :, 2].abs().max() == 0
    assert map_hwD[-1, -1, 2] > 10  # the last patch's, too


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**16))
def test_the_released_way_is_right_where_the_class_token_is_first(source, target, seed):
    """As in DeiT, whose code it was: the first stays, the others are the grid's, bicubic."""
    grid_1LD = torch.randn(1, source**2, 3, generator=torch.Generator().manual_seed(seed))
    class_11D = torch.full((1, 1, 3), 7.0)
    found = resample_as_released(torch.cat([class_11D, grid_1LD], 1), target)
    wanted = F.interpolate(grid_1LD.transpose(1, 2).unflatten(2, (source, source)), (target, target), mode="bicubic")
    assert torch.equal(found[:, :1], class_11D)
    torch.testing.assert_close(found[:, 1:], wanted.flatten(2).transpose(1, 2))


@pytest.mark.parametrize("pos_embed_resampling", ["aligned", "released"])
def test_positions_of_as_many_patches_are_left_alone(pos_embed_resampling):
    map_hwD, last_D = moved(8, 8, pos_embed_resampling)
    assert torch.equal(map_hwD.flatten(0, 1), ramps(8)[0])
    assert torch.equal(last_D, class_position()[0, 0])


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(["aligned", "released"]))
def test_equal_positions_stay_equal_whatever_the_grids(source, target, pos_embed_resampling):
    with torch.device("meta"):
        model = Adventurer(ADVENTURER, 4 * target, 4)
    state = {
        "patch_embed.proj.weight": torch.zeros(WIDTH, 3, 4, 4),
        "pos_embed": torch.full((1, source**2 + 1, 2), 3.0),
    }
    state |= {f"layers.{n}.norm.weight": torch.zeros(1) for n in range(ADVENTURER.depth)}
    found = model.convert_state_dict(state, pos_embed_resampling)["pos_embed"]
    torch.testing.assert_close(found, torch.full((1, target**2 + 1, 2), 3.0))


def test_what_cannot_be_resampled_is_refused():
    model, state = adventurer(4), adventurer(3).state_dict()
    for how in ("aligned", "released"):
        with pytest.raises(ConfigError, match=r"no square|is no square"):
            model.convert_state_dict({**state, "pos_embed": torch.zeros(1, 8, WIDTH)}, how)
    with pytest.raises(ConfigError, match="did you mean released"):
        model.convert_state_dict(state, "relesed")
    with pytest.raises(ConfigError, match="no square"):
        resample_as_released(torch.zeros(1, 8, 3), 4)


def test_compat_makes_no_difference_to_deit(tmp_path):
    small = make_config(backbone="deit_nano", img_size=16, patch_size=4)
    state = build_backbone(small).checkpoint_module.state_dict()
    state["pos_embed"] = torch.cat([class_position(), ramps(4)], 1)
    torch.save(state, tmp_path / "w.pth")
    nets = [
        build_backbone(
            edit(
                small,
                img_size=32,
                initial_checkpoint=str(tmp_path / "w.pth"),
                pos_embed_resampling=how,
            )
        ).checkpoint_module
        for how in ("aligned", "released")
    ]
    assert torch.equal(nets[0].pos_embed, nets[1].pos_embed)
    assert torch.equal(nets[0].pos_embed[:, :1], class_position())
    assert nets[0].pos_embed[0, 1:, 2].abs().max() == 0


def test_a_recipes_compat_reaches_the_weights(tmp_path):
    small = make_config(backbone="adventurer_nano", img_size=16, patch_size=4)
    torch.save(build_backbone(small).checkpoint_module.state_dict(), tmp_path / "w.pth")
    fixed, official = (
        build_backbone(
            edit(
                small,
                img_size=32,
                initial_checkpoint=str(tmp_path / "w.pth"),
                pos_embed_resampling=how,
            )
        ).checkpoint_module
        for how in ("aligned", "released")
    )
    old = build_backbone(small).checkpoint_module.pos_embed
    assert torch.equal(fixed.pos_embed[:, -1], old[:, -1])
    assert torch.equal(official.pos_embed[:, 0], old[:, 0])


# extend: longer sequences without new pixels


def tokens(embed, image_BCHW):
    with torch.no_grad():
        return embed(image_BCHW)[0]


def test_extended_at_the_patch_itself_nothing_changes():
    image = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    plain, extended = ConvPatchEmbed(3, 5, 16, 4), ExtendedPatchEmbed(3, 5, 16, 4, embed_patch_size=4)
    extended.load_state_dict(plain.state_dict())
    torch.testing.assert_close(tokens(extended, image), tokens(plain, image))


@given(st.sampled_from([(16, 8, 4), (16, 8, 2), (32, 16, 1), (24, 12, 8), (24, 6, 4)]), st.integers(0, 2**16))
def test_extended_tokens_are_the_coarse_ones_interpolated(sizes, seed):
    side, coarse, patch = sizes
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(seed))
    plain, extended = ConvPatchEmbed(3, 4, side, coarse), ExtendedPatchEmbed(3, 4, side, patch, embed_patch_size=coarse)
    extended.load_state_dict(plain.state_dict())
    coarse_map = tokens(plain, image).transpose(1, 2).unflatten(2, (side // coarse, side // coarse))
    wanted = F.interpolate(coarse_map, (side // patch, side // patch), mode="bicubic")
    torch.testing.assert_close(tokens(extended, image), wanted.flatten(2).transpose(1, 2))


@pytest.mark.parametrize("name", ["deit_nano", "adventurer_nano"])
def test_an_extended_model_is_the_coarse_one_but_for_its_positions(tmp_path, name):
    coarse = make_config(backbone=name, img_size=32, patch_size=16)
    extended = edit(coarse, patch_size=8, embed_patch_size=16)
    a, b = (build_backbone(config).checkpoint_module.state_dict() for config in (coarse, extended))
    assert a.keys() == b.keys()
    assert [key for key in a if a[key].shape != b[key].shape] == ["pos_embed"]
    assert b["pos_embed"].shape == (1, 4 * 4 + 1, WIDTH)
    assert all(torch.equal(a[key], b[key]) for key in a if key != "pos_embed")  # drawn alike
    torch.save(a, tmp_path / "w.pth")
    backbone = build_backbone(edit(extended, seed=1, initial_checkpoint=str(tmp_path / "w.pth")))
    assert torch.equal(backbone.checkpoint_module.patch_embed.proj.weight, a["patch_embed.proj.weight"])
    image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert backbone(image).to_map().shape == (2, WIDTH, 4, 4)
    tokens_BLD = tokens(backbone.checkpoint_module.patch_embed, image)
    assert tokens_BLD.shape == (2, 4 * 4, WIDTH)
    # No more than the 2 x 2 coarse ones say:
    assert torch.linalg.matrix_rank(tokens_BLD, rtol=1e-4).tolist() == [2 * 2, 2 * 2]


def test_extending_from_a_smaller_patch_is_refused():
    with pytest.raises(ConfigError, match="embed_patch_size 2 is below patch_size 4"):
        make_config(patch_size=4, embed_patch_size=2)
    with pytest.raises(ConfigError, match="embed_patch_size 2 is below patch_size 4"):
        ExtendedPatchEmbed(3, 5, 16, 4, embed_patch_size=2)


# Where weights come from


def test_a_checkpoints_key_can_be_asked_for(tmp_path):
    torch.save({"model": {"a": torch.zeros(1)}, "model_ema": {"a": torch.ones(1)}}, tmp_path / "w.pt")
    assert read_state_dict(str(tmp_path / "w.pt"))["a"] == 0
    assert read_state_dict(str(tmp_path / "w.pt"), ("model_ema",))["a"] == 1
    with pytest.raises(ConfigError, match="no dictionary of tensors"):
        read_state_dict(str(tmp_path / "w.pt"), ("averaged",))


def test_a_hub_address_is_fetched_once_and_read_as_tensors(tmp_path, monkeypatch):
    asked = []

    def fetch(repository, name):
        asked.append((repository, name))
        save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
        return str(tmp_path / "model.safetensors")

    def download(address, path, progress):
        asked.append(address)
        torch.save({"model": {"a": torch.ones(3)}}, path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    assert len(read_state_dict("hf:owner/repository/deep/model.safetensors")["a"]) == 2
    for _ in range(2):
        assert len(read_state_dict("https://example.org/tiny.pth?download=1")["a"]) == 3
    assert asked == [("owner/repository", "deep/model.safetensors"), "https://example.org/tiny.pth?download=1"]


@pytest.mark.parametrize(
    "address", ["hf:owner/repository/model.safetensors", "hf:owner", "https://example.invalid/x.pth"]
)
def test_an_address_that_cannot_be_fetched_is_refused_in_one_line(tmp_path, monkeypatch, address):
    def fail(*_, **__):
        raise OSError("no network\nhere")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    monkeypatch.setattr("torch.hub.download_url_to_file", fail)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be fetched") as e:
        read_state_dict(address)
    assert "\n" not in str(e.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
