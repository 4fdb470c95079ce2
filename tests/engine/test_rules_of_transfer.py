"""Rules by which positions and the patch kernel come to another grid: each against a slow one, and recorded."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from scaling.backbones.deit import Deit
from scaling.backbones.pos_embed import resample_table
from scaling.backbones.registry import build_backbone
from scaling.backbones.resampling import resize_kernel, resize_matrix
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import FromRun
from scaling.config.patch_embeds import RESIZE_METHODS
from scaling.engine.warm_start import restore_backbone
from scaling.errors import ConfigError
from scaling.model_specs import MODEL_SPECS

SMALL = make_config(img_size=16, patch_size=4)
NAMES = ("deit_nano", "adventurer_nano")


def state_of(config):
    return build_backbone(config).checkpoint_module.state_dict()


def linear_by_loops(map_hwD, side):
    """A square map at side x side, row by row and column by column with the triangle of resize_matrix."""
    weight = torch.from_numpy(resize_matrix(len(map_hwD), side, antialias=True))
    found = torch.zeros(side, side, map_hwD.shape[2], dtype=torch.float64)
    for y, x in np.ndindex(side, side):
        for v, u in np.ndindex(*map_hwD.shape[:2]):
            found[y, x] += weight[y, v] * weight[x, u] * map_hwD[v, u]
    return found


@pytest.mark.parametrize("side", [2, 4, 6, 8, 12])
@pytest.mark.parametrize("name", NAMES)
def test_bilinear_positions_are_those_of_a_double_loop(name, side):
    first = edit(SMALL, backbone=name)
    state = state_of(first)
    last = name.startswith("adventurer")  # where the class token is
    own = state["pos_embed"][0, :-1] if last else state["pos_embed"][0, 1:]
    larger = build_backbone(edit(first, img_size=4 * side))
    found = larger.convert_state_dict(state, "bilinear")["pos_embed"][0]
    patches, class_token = (found[:-1], found[-1]) if last else (found[1:], found[0])
    wanted = linear_by_loops(own.double().unflatten(0, (4, 4)), side).flatten(0, 1)
    torch.testing.assert_close(patches.double(), wanted, rtol=0, atol=1e-6)
    assert torch.equal(class_token, state["pos_embed"][0, -1 if last else 0])


def test_aligned_positions_are_bicubic():
    table_1TD = torch.randn(1, 17, 3, generator=torch.Generator().manual_seed(0))
    map_1Dhw = table_1TD[:, :-1].transpose(1, 2).unflatten(2, (4, 4))
    wanted = F.interpolate(map_1Dhw, (6, 6), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    assert torch.equal(resample_table(table_1TD, 6)[:, :-1], wanted)
    assert not torch.equal(resample_table(table_1TD, 6, "bilinear")[:, :-1], wanted)


@pytest.mark.parametrize("name", NAMES)
def test_extrapolated_sines_at_a_larger_image_begin_with_those_of_training(name):
    first = edit(SMALL, backbone=name, pos_embed="sincos")
    table = positions(first)
    larger = edit(first, img_size=32, sincos_transfer="extrapolate", init=FromRun(config=first))
    torch.testing.assert_close(positions(larger).unflatten(0, (8, 8))[:4, :4].flatten(0, 1), table)
    interpolated = edit(first, img_size=32, init=FromRun(config=first))
    assert not torch.allclose(positions(interpolated), positions(larger), atol=0.1)
    assert torch.equal(positions(edit(first, sincos_transfer="extrapolate")), table)


def positions(config):
    """(L, D): sines that a model adds to the patches of its own image."""
    net = build_backbone(config).checkpoint_module
    table_TD = net.pos_embed.detach()[0]
    return table_TD[:-1] if config.model.family == "adventurer" else table_TD[-((config.model.img_size // 4) ** 2) :]


@pytest.mark.parametrize("method", RESIZE_METHODS)
@pytest.mark.parametrize("patch", [2, 8])
@pytest.mark.parametrize("name", NAMES)
def test_the_kernel_of_another_run_is_resized_by_the_method_asked_for(name, patch, method, tmp_path):
    first = edit(SMALL, backbone=name, pos_embed="sincos")
    state = state_of(first)
    torch.save({"model": state}, tmp_path / "weights.pt")
    second = edit(first, patch_size=patch, init=FromRun(config=first, patch_embed_resampling=method))
    backbone = build_backbone(second)
    restore_backbone(backbone, first, tmp_path, patch_embed_resampling=method)
    found = backbone.checkpoint_module.state_dict()
    kernel = "patch_embed.proj.weight"
    assert torch.equal(found[kernel], resize_kernel(state[kernel], patch, method))
    block = "layers.0.norm.weight" if name.startswith("adventurer") else "blocks.0.attn.qkv.weight"
    assert torch.equal(found[block], state[block])


def test_rules_are_recorded_and_change_the_run_and_without_them_runs_keep_their_ids():
    first = edit(SMALL, pos_embed="sincos")
    way = {"img_size": 32, "epochs": 0, "init": FromRun(config=first)}
    plain, extended = edit(first, **way), edit(first, **way, sincos_transfer="extrapolate")
    assert "further" not in plain.canonical
    assert plain.run_id != extended.run_id
    assert ExperimentConfig.from_dict(extended.to_dict()) == extended
    resized = [
        edit(first, patch_size=8, init=FromRun(config=first, patch_embed_resampling=how)) for how in RESIZE_METHODS
    ]
    assert len({run.run_id for run in resized}) == 4
    assert ExperimentConfig.from_dict(resized[1].to_dict()).init.patch_embed_resampling == RESIZE_METHODS[1]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"pos_embed": "sincos"}, "is for learned positions of DeiT and Adventurer; deit_nano with sincos has none"),
        ({"pos_embed": "rope"}, "deit_nano with rope has none"),
        ({"backbone": "timm:vit_tiny_patch16_224"}, "vit_tiny_patch16_224 with learned has none"),
    ],
)
def test_bilinear_positions_of_an_encoding_without_a_table_are_refused(given, reason):
    first = edit(SMALL, **given)
    with pytest.raises(ConfigError, match=reason):
        edit(first, img_size=32, init=FromRun(config=first, pos_embed_resampling="bilinear"))


def test_wrong_rules_are_refused():
    first = edit(SMALL, pos_embed="sincos")
    with pytest.raises(ConfigError, match="did you mean extrapolate"):
        edit(first, sincos_transfer="extrapolat")
    with pytest.raises(ConfigError, match="patch_embed_resampling"):
        FromRun(config=first, patch_embed_resampling="bicubic")
    with pytest.raises(ConfigError, match="patch_size 8 differs from 4"):
        edit(first, patch_size=8, init=FromRun(config=first))
    stem = edit(first, patch_embed="conv_stem")
    with pytest.raises(ConfigError, match="resizes the kernel of --patch-embed conv, not of conv_stem"):
        edit(stem, patch_size=8, init=FromRun(config=stem, patch_embed_resampling="pi"))
    with pytest.raises(ConfigError, match="did you mean extrapolate"):
        Deit(MODEL_SPECS["deit_nano"], 16, 4, pos_embed="sincos", position_options={"sincos_transfer": "extrapolat"})
