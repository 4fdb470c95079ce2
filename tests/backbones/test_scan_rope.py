"""B and C of Adventurer's scan turned by position, against a scan by loops with rotation matrices."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from scaling.backbones.adventurer import Adventurer
from scaling.backbones.adventurer_block import EPS
from scaling.backbones.base import TokenLayout
from scaling.backbones.frozen import frozen_state
from scaling.backbones.pos_embed import build_position
from scaling.backbones.position_encoding import PositionSpec
from scaling.backbones.registry import build_backbone
from scaling.backbones.scan_rope import mix_turned
from scaling.backbones.sincos import Reference
from scaling.backbones.ssd.mamba2_mixer import mix, mix_ref
from scaling.config.edit import edit, make_config
from scaling.config.initialization import FromRun
from scaling.errors import ConfigError
from scaling.model_specs import MODEL_SPECS
from scaling.packing.packed_images import pack
from tests.backbones import test_mix as of_mixers
from tests.backbones.test_packed import PATCH, assert_each_as_alone, built, images_of

STATES = 8
CPU = torch.device("cpu")
SPEC = PositionSpec(24, 0, 4, 4, Reference(4, 4), 3, 16)


@pytest.fixture
def states(monkeypatch):
    monkeypatch.setattr(of_mixers, "STATES", STATES)  # divisible by 4


def phases(batch, length, seed=0):
    """Complex turns (B, L, E) of length 1."""
    g = torch.Generator().manual_seed(seed)
    angle = 7 * torch.rand(batch, length, STATES // 2, generator=g, dtype=torch.float64)
    return torch.polar(torch.ones_like(angle), angle)


def matrix_of(turns_E):
    """(N, N): the rotation of each pair of neighbouring channels."""
    blocks = [torch.stack([torch.stack([t.real, -t.imag]), torch.stack([t.imag, t.real])]) for t in turns_E]
    return torch.block_diag(*blocks)


def slow(zxBCdt_BLX, w, eps, turns_BLE, ids=None):
    """mix_turned token by token: convolution, SiLU and recurrence by loops."""
    z_BLI, xBC_BLC, dt_BLH = zxBCdt_BLX.split(w.splits, -1)
    heads, taps, rows = len(w.A_H), w.conv_C1K.shape[-1], []
    for b in range(len(z_BLI)):
        state_HPN, outputs = None, []
        for t in range(z_BLI.shape[1]):
            h_C = w.conv_bias_C
            for back in range(min(taps, t + 1)):
                if ids is None or ids[b, t - back] == ids[b, t]:
                    h_C = h_C + xBC_BLC[b, t - back] * w.conv_C1K[:, 0, taps - 1 - back]
            x_I, B_N, C_N = F.silu(h_C).split(w.parts)
            turn_NN = matrix_of(turns_BLE[b if len(turns_BLE) > 1 else 0, t])
            dt_H, x_HP = F.softplus(dt_BLH[b, t] + w.dt_bias_H), x_I.view(heads, -1)
            inflow_HPN = (dt_H[:, None] * x_HP)[..., None] * (turn_NN @ B_N)
            kept = state_HPN is not None and (ids is None or ids[b, t] == ids[b, t - 1])
            state_HPN = inflow_HPN + (torch.exp(dt_H * w.A_H)[:, None, None] * state_HPN if kept else 0)
            outputs.append((state_HPN @ (turn_NN @ C_N) + w.D_H[:, None] * x_HP).flatten())
        rows.append(torch.stack(outputs))
    return F.rms_norm(torch.stack(rows) * F.silu(z_BLI), w.norm_I.shape, w.norm_I, eps)


@pytest.mark.usefixtures("states")
@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize(("length", "decay"), [(2, 1.0), (7, 3.0), (70, 0.05)])
def test_the_mixer_and_its_gradients_are_those_of_the_loops(length, decay, segmented):
    x, w = of_mixers.inputs(2, length, decay)
    turns = phases(2 if segmented else 1, length)
    ids = of_mixers.segments(2, length, 3) if segmented else None

    def of(function):
        return of_mixers.with_gradients(lambda x, w, eps, ids: function(x, w, eps, turns, ids), x, w, ids)

    for got, want in zip(of(mix_turned), of(slow), strict=True):
        assert of_mixers.error(got, want) < 1e-9


@pytest.mark.usefixtures("states")
def test_without_an_angle_it_is_the_mixer():
    x, w = of_mixers.inputs(2, 40, 1.0)
    ids = of_mixers.segments(2, 40, 3)
    for some in (None, ids):
        found = mix_turned(x, w, EPS, torch.ones(1, 40, STATES // 2, dtype=torch.complex128), some)
        torch.testing.assert_close(found, mix(x, w, EPS, some), rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(found, mix_ref(x, w, EPS, some), rtol=1e-9, atol=1e-10)


@pytest.mark.usefixtures("states")
def test_a_common_shift_of_all_positions_changes_nothing_but_another_order_does():
    x, w = of_mixers.inputs(1, 30, 0.3)
    turns, shift = phases(1, 30), phases(1, 1, seed=1)
    found = mix_turned(x, w, EPS, turns)
    torch.testing.assert_close(mix_turned(x, w, EPS, turns * shift), found, rtol=1e-9, atol=1e-9)
    assert (mix_turned(x, w, EPS, turns.flip(1)) - found).abs().max() > 1e-3


@pytest.mark.usefixtures("states")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precisions_are_near_and_keep_their_dtype(dtype):
    x, w = of_mixers.inputs(2, 40, 1.0)
    turns = phases(1, 40)
    with torch.autocast("cpu", torch.bfloat16):
        found = mix_turned(x.to(dtype), w, EPS, turns.to(torch.complex64))
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    assert of_mixers.error(found, slow(x.to(dtype).double(), w, EPS, turns)) < tolerance


def test_turns_are_those_of_rope_with_a_head_of_the_size_of_the_state():
    layout = TokenLayout(4, CPU, (3, 5), trailing=1)
    found = build_position("rope_scan", SPEC).scan_turns(layout, torch.float64)
    wanted = build_position("rope", SPEC._replace(width=16, heads=1)).turns(layout, 0, torch.float64)
    assert torch.equal(found, wanted)
    assert found.shape == (1, 16, 8)
    assert torch.equal(found[0, -1], torch.ones(8, dtype=torch.complex128))  # the class token


def by_hand(net, image):
    """Features of Adventurer whose blocks get turns in the order of their scan, one image."""
    patches, layout = net.patch_embed(image)
    x, layout = layout.with_class_tokens(patches, trailing_1XD=net.cls_token)
    angles = []
    for y in range(layout.grid[0]):
        for x_place in range(layout.grid[1]):
            theta = [100.0 ** -(k / 4) for k in range(4)]  # a state of 16: four pairs by row, four by column
            angles.append([y * t for t in theta] + [x_place * t for t in theta])
    turns = torch.polar(torch.ones(len(angles), 8).double(), torch.tensor(angles, dtype=torch.float64))
    one = torch.ones(1, 8, dtype=torch.complex128)
    for block in net.layers:
        u = block.norm(x)
        patches = range(u.shape[1] - 1)
        order = [*(reversed(patches) if block.flip else patches), u.shape[1] - 1]
        scanned = torch.cat([u.mean(1, keepdim=True), u[:, order]], 1)
        of_scan = torch.cat([one, turns, one])[[0, *(1 + i for i in order)]]
        w = block.mixer
        mixed = w(scanned, None, of_scan[None])[:, 1:]
        back = torch.empty_like(mixed)
        back[:, order] = mixed
        x = x + back
        x = x + block.mlp(block.norm_mlp(x))
    return net.norm_f(x)


@pytest.mark.parametrize("direction", ["released", "alternate"])
def test_the_turns_of_a_block_follow_the_order_of_its_scan(direction):
    backbone = built("adventurer_pico", pos_embed="rope_scan", scan_direction=direction)
    net = backbone.net
    assert any(block.flip for block in net.layers)
    image = images_of([(4, 4)])[0][None]
    with torch.no_grad():
        torch.testing.assert_close(net.forward_features(image), by_hand(net, image), rtol=1e-9, atol=1e-9)
        plain = built("adventurer_pico", pos_embed="none", scan_direction=direction)
        assert (plain.net.forward_features(image) - by_hand(net, image)).abs().max() > 1e-3


@pytest.mark.parametrize("options", [{}, {"rope_transfer": "yarn", "learned_table": True}])
def test_packed_images_have_the_features_of_each_alone(options):
    backbone = built("adventurer_pico", pos_embed="rope_scan", img_size=8, **options)
    assert_each_as_alone(backbone, "adventurer_pico", images_of([(4, 4), (1, 3), (2, 2), (3, 1), (2, 2)]), 1e-10)


def test_recomputed_blocks_give_equal_gradients():
    found = []
    for recompute in (False, True):
        backbone = built("adventurer_pico", pos_embed="rope_scan").train()
        backbone.net.set_grad_checkpointing(recompute)
        backbone(images_of([(4, 4)])[0][None]).tokens_BLD.square().sum().backward()
        found.append({key: p.grad for key, p in backbone.named_parameters()})
    assert all(torch.allclose(grad, found[1][key], rtol=1e-12, atol=1e-14) for key, grad in found[0].items())


def test_it_has_no_weights_of_its_own_so_those_without_positions_fit():
    plain = build_backbone(make_config(backbone="adventurer_pico", img_size=16, patch_size=4, pos_embed="none"))
    turning = build_backbone(make_config(backbone="adventurer_pico", img_size=16, patch_size=4, pos_embed="rope_scan"))
    assert turning.net.state_dict().keys() == plain.net.state_dict().keys()
    turning.net.load_state_dict(turning.convert_state_dict(plain.net.state_dict()))


def test_a_chain_measures_places_in_the_patches_of_the_first():
    first = make_config(backbone="adventurer_pico", img_size=16, patch_size=4, pos_embed="rope_scan")
    second = edit(first, img_size=32, init=FromRun(config=first))
    layout = TokenLayout(4, CPU, (8, 8), trailing=1)
    by_first, by_second = (build_backbone(c).net.positions.scan_turns(layout, torch.float64) for c in (first, second))
    assert torch.equal(by_first, by_second)
    angle = by_first.angle()[0, 8, 0]  # the second row: by interpolation half a patch of training from the first
    assert math.isclose(angle - by_first.angle()[0, 0, 0], 0.5, rel_tol=1e-9)


def test_a_flexible_model_is_frozen_without_a_table():
    config = make_config(
        backbone="adventurer_pico", img_size=16, patch_size=2, patch_embed="flexible", pos_embed="rope_scan"
    )
    model = build_backbone(config).double().eval()
    options = {"pos_embed": "rope_scan", "reference": Reference(8, 2), "dynamic_img_size": True}
    frozen = Adventurer(MODEL_SPECS["adventurer_pico"], 16, 4, **options).double()
    frozen.load_state_dict(frozen.convert_state_dict(frozen_state(model, 4)))
    image = images_of([(4, 4)])[0][None]
    with torch.no_grad():
        features = model(image, patch_size=4).tokens_BLD
        torch.testing.assert_close(frozen.forward_features(image)[:, :-1], features, rtol=0, atol=1e-6)


def test_what_it_cannot_do_is_refused_in_a_line():
    with pytest.raises(ConfigError, match=r"^pos_embed rope_scan turns B and C of a scan, .* has not: use rope$"):
        build_backbone(make_config(backbone="deit_pico", img_size=16, patch_size=4, pos_embed="rope_scan"))
    with pytest.raises(ConfigError, match=r"needs a state divisible by 4, not 6$"):
        build_position("rope_scan", SPEC._replace(state=6))
    with pytest.raises(ConfigError, match=r"fourier or rope_scan$"):
        build_backbone(make_config(backbone="adventurer_pico", img_size=16, patch_size=4, pos_embed="rope"))


def test_kept_patches_are_turned_by_their_places_in_the_whole_image():
    backbone, image, kept = built("adventurer_pico", pos_embed="rope_scan"), images_of([(3, 4)])[0], [0, 2, 5, 11]
    net = backbone.net
    found = backbone(pack([image], PATCH, 20, (0, 1), kept=(np.array(kept),))).pooled_ND[0]
    patches, layout = net.patch_embed(image[None])
    x, layout = layout.with_class_tokens(patches, trailing_1XD=net.cls_token)
    some = [*kept, 12]  # and the class token
    x, turns = x[:, some], net.positions.scan_turns(layout, torch.float64)[:, some]
    for block in net.layers:
        x = block(x, None, turns)
    torch.testing.assert_close(found, net.norm_f(x)[0, -1], rtol=0, atol=1e-10)
