"""RoPE: turns against a slow reference and timm, what logits depend on, and images of other lengths."""

import cmath
import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import RotaryEmbeddingCat
from timm.layers.pos_embed_sincos import apply_rot_embed_cat, freq_bands, get_mixed_freqs, init_random_2d_freqs

from scaling.backbones.base import TokenLayout
from scaling.backbones.deit import Deit
from scaling.backbones.frozen import frozen_state
from scaling.backbones.pos_embed import build_position
from scaling.backbones.position_encoding import PositionSpec
from scaling.backbones.registry import build_backbone
from scaling.backbones.rope import turned
from scaling.backbones.rope_frequencies import axial_frequencies, temperature, transferred
from scaling.backbones.sincos import Reference
from scaling.config.attention_positions import TRANSFERS
from scaling.config.edit import edit, make_config
from scaling.config.initialization import FromRun
from scaling.errors import ConfigError
from scaling.model_specs import MODEL_SPECS
from tests.backbones.slow_attention import slow_tokens

KINDS = [*(("rope", rule) for rule in TRANSFERS), *(("rope_mixed", rule) for rule in TRANSFERS[:-1])]
every_rule = pytest.mark.parametrize(("name", "rule"), KINDS)
CPU = torch.device("cpu")
WIDTH, HEADS, DEPTH, GRID, PATCH = 32, 2, 3, 4, 4
SPEC = PositionSpec(WIDTH, HEADS, GRID, PATCH, Reference(GRID, PATCH), DEPTH)


def rope(name, rule="interpolate", spec=SPEC):
    torch.manual_seed(0)
    encoding = build_position(name, spec, rope_transfer=rule)
    encoding.reset_parameters()
    return encoding.double()


def of_patches(encoding, grid, patch=PATCH, block=0):
    """Turns of the patches (H or 1, h, w, E)."""
    with torch.no_grad():
        return encoding.turns(TokenLayout(patch, CPU, grid), block, torch.float64).unflatten(1, grid)


def slow_turn(encoding, image_px):
    """The turn of the definition, of one pair after the other. image_px: height and width."""
    reference, patch = encoding.spec.reference, PATCH
    scales = [side / (reference.grid * reference.patch) for side in image_px]
    largest, rule = max(scales), encoding.rope_transfer
    factor = 0.1 * math.log(largest) + 1 if rule == "yarn" and largest > 1 else 1.0

    def one(theta, scale, band, bands):
        if rule == "extrapolate":
            return theta
        if rule == "interpolate" or scale <= 1:
            return theta / scale
        if rule == "ntk":  # of the base T, which is 1 / theta of the band after the last
            return theta * scale ** (-2 * band / (2 * bands - 2))
        turns = reference.grid * abs(theta) / (2 * math.pi)
        share = min(1.0, max(0.0, (turns - 1) / (32 - 1)))
        return (1 - share) * theta / scale + share * theta

    def turn(pairs, place, block, head):
        if place is None:
            return [factor * z for z in pairs]
        frequency_2HE = encoding.frequencies(block).detach()
        found = []
        for e, z in enumerate(pairs):
            angle = 0.0
            for axis in (0, 1):
                theta = float(frequency_2HE[axis, head % frequency_2HE.shape[1], e])
                u = (place[axis] + 0.5) * patch / reference.patch - 0.5
                angle += u * one(theta, scales[axis], e % (len(pairs) // 2), len(pairs) // 2)
            found.append(factor * cmath.exp(1j * angle) * z)
        return found

    return turn


@pytest.mark.parametrize(("name", "rule", "table"), [*((*kind, False) for kind in KINDS), ("rope", "yarn", True)])
def test_attention_is_that_of_a_slow_reference(name, rule, table):
    """At twice the height and at the width trained at; with a table at the grid trained at, where it is as stored."""
    options = {"rope_transfer": rule, "learned_table": table}
    backbone = Deit(MODEL_SPECS["deit_pico"], 8, PATCH, pos_embed=name, position_options=options)
    backbone.initialise(0)
    backbone.double()
    height = 8 if table else 16
    image = torch.linspace(-2, 2, 2 * 3 * height * 8, dtype=torch.float64).view(2, 3, height, 8).sin()
    encoding = backbone.vit.positions.inside if table else backbone.vit.positions
    with torch.no_grad():
        wanted = slow_tokens(backbone, image, slow_turn(encoding, (height, 8)))
        features = backbone(image)
        torch.testing.assert_close(features.tokens_BLD, wanted[:, 1:], rtol=0, atol=1e-12)
        torch.testing.assert_close(features.pooled_ND, wanted[:, 0], rtol=0, atol=1e-12)
        assert (slow_tokens(backbone, image) - wanted).abs().max() > 1e-6


@every_rule
@settings(max_examples=15)
@given(
    grid=st.tuples(st.integers(2, 7), st.integers(2, 7)),
    patch=st.sampled_from([1, 2, 4, 8]),
    seed=st.integers(0, 99),
)
def test_logits_depend_on_the_offset_alone_and_lengths_on_yarns_factor_alone(name, rule, grid, patch, seed):
    encoding = rope(name, rule)
    turns_HhwE = of_patches(encoding, grid, patch)
    u, v = torch.randn(2, WIDTH // HEADS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    q, k = (turned(x.expand(1, 1, grid[0] * grid[1], -1), turns_HhwE.flatten(1, 2)) for x in (u, v))
    logits = (q @ k.transpose(2, 3))[0].unflatten(2, grid).unflatten(1, grid)
    torch.testing.assert_close(logits[:, 1:, 1:, 1:, 1:], logits[:, :-1, :-1, :-1, :-1], rtol=0, atol=1e-12)
    factor = temperature(rule, max(n * patch / (GRID * PATCH) for n in grid))
    torch.testing.assert_close(q.norm(dim=3) / u.norm(), torch.full(q.shape[:3], factor, dtype=u.dtype))


@every_rule
@pytest.mark.parametrize("patch", [1, 2, 4, 8])
def test_an_image_as_long_as_the_first_has_the_same_angles_by_every_rule_at_every_patch(name, rule, patch):
    """A patch at twice the distance, of half the side, lies at the same place."""
    grid = (GRID * PATCH // patch,) * 2
    turns, plain = of_patches(rope(name, rule), grid, patch), of_patches(rope(name), (GRID, GRID))
    assert torch.equal(turns, of_patches(rope(name, "extrapolate"), grid, patch))
    step, whole = max(1, PATCH // patch), max(1, patch // PATCH)
    fine, coarse = turns[:, ::step, ::step], plain[:, ::whole, ::whole]
    torch.testing.assert_close(fine / fine[:, :1, :1], coarse / coarse[:, :1, :1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", TRANSFERS)
def test_every_rule_is_continuous_at_scale_1(rule):
    theta = axial_frequencies(32, 100.0)[0]
    for scale in (1 - 1e-9, 1.0, 1 + 1e-9):
        torch.testing.assert_close(transferred(theta, rule, scale, 14), theta, rtol=0, atol=1e-8)
        assert temperature(rule, scale) == pytest.approx(1, abs=1e-9)


def test_ratios_of_frequencies_are_those_of_the_papers_formulas():
    """Worked out by hand from arXiv 2309.00071 for base 100, 16 channels of an axis and twice the length."""
    theta = axial_frequencies(32, 100.0)[0, :8]
    both = torch.cat([theta, theta])

    def ratios(rule, tokens):
        return [round(float(r), 3) for r in (transferred(both, rule, 2.0, tokens) / both)[:8]]

    assert ratios("yarn", 14)[:3] == [0.52, 0.504, 0.5]
    assert ratios("yarn", 224) == [1, 0.807, 0.666, 0.586, 0.541, 0.516, 0.502, 0.5]
    assert ratios("ntk", 14) == [1, 0.906, 0.82, 0.743, 0.673, 0.61, 0.552, 0.5]
    assert ratios("interpolate", 14) == [0.5] * 8
    assert [round(temperature("yarn", s), 4) for s in (2, 4)] == [1.0693, 1.1386]
    ordered = transferred(both, "yarn", 2.0, 224)[:8]
    assert (ordered.diff() < 0).all()  # no frequency overtakes another


def test_ntk_is_another_base():
    base, channels, scale = 100.0, 32, 3.0
    d = channels // 2  # of an axis
    another = axial_frequencies(channels, base * scale ** (d / (d - 2)))
    torch.testing.assert_close(transferred(axial_frequencies(channels, base)[0], "ntk", scale, 14), another[0])


@pytest.mark.parametrize("grid", [(4, 4), (2, 5)])
def test_axial_turns_are_those_of_timm(grid):
    encoding, x = rope("rope", "extrapolate"), torch.randn(2, HEADS, grid[0] * grid[1], WIDTH // HEADS)
    timms = RotaryEmbeddingCat(WIDTH // HEADS, temperature=100.0, in_pixels=False)
    turns = encoding.turns(TokenLayout(PATCH, CPU, grid), 0, torch.float32)
    # timm counts from 0 and so does a patch of the first training
    torch.testing.assert_close(turned(x, turns), apply_rot_embed_cat(x, timms.get_embed(list(grid))))
    torch.testing.assert_close(encoding.frequencies(0)[0, 0, :4], freq_bands(4, 100.0, 1).double())


@pytest.mark.parametrize("grid", [(4, 4), (2, 5)])
def test_interpolated_turns_are_those_of_timm_for_another_grid_but_for_a_common_shift(grid):
    """timm takes corners of patches for places, this project centres."""
    timms = RotaryEmbeddingCat(WIDTH // HEADS, temperature=100.0, in_pixels=False, ref_feat_shape=[GRID, GRID])
    sin, cos = timms.get_embed(list(grid)).double().chunk(2, -1)
    wanted = torch.complex(cos, sin)[:, ::2]
    found = of_patches(rope("rope"), grid).flatten(1, 2)[0]
    torch.testing.assert_close(found / found[:1], wanted / wanted[:1], rtol=0, atol=1e-6)


def test_mixed_turns_and_their_start_are_those_of_timm():
    encoding, grid = rope("rope_mixed", "extrapolate").float(), (3, 5)
    x = torch.randn(2, HEADS, grid[0] * grid[1], WIDTH // HEADS)
    y, x_ = (t.flatten().float() for t in torch.meshgrid(torch.arange(3), torch.arange(5), indexing="ij"))
    for block in range(DEPTH):
        emb = get_mixed_freqs(encoding.frequencies(block), y, x_)
        turns = encoding.turns(TokenLayout(PATCH, CPU, grid), block, torch.float32)
        torch.testing.assert_close(turned(x, turns), apply_rot_embed_cat(x, emb), rtol=1e-5, atol=1e-5)
    torch.manual_seed(3)
    encoding.reset_parameters()
    torch.manual_seed(3)
    timms = init_random_2d_freqs(WIDTH // HEADS, DEPTH, HEADS, 10.0).transpose(0, 1)
    torch.testing.assert_close(encoding.frequency_N2HE.detach(), timms)


@pytest.mark.parametrize("name", ["rope", "rope_mixed"])
def test_a_turned_image_has_turned_turns_and_tables_are_kept_by_both_sides(name):
    encoding = rope(name)
    high, wide = of_patches(encoding, (2, 6)), of_patches(encoding, (6, 2))
    if name == "rope":
        half = high.shape[-1] // 2
        torch.testing.assert_close(high.transpose(1, 2).roll(half, -1), wide)
        layout = TokenLayout(PATCH, CPU, (2, 6))
        assert encoding.turns(layout, 0, torch.float64) is encoding.turns(layout, 2, torch.float64)
    assert not torch.equal(high, wide.reshape(high.shape))


def test_a_chain_of_runs_measures_places_in_the_patches_of_the_first():
    first = make_config(img_size=16, patch_size=4, pos_embed="rope", rope_transfer="yarn")
    second = edit(first, img_size=32, init=FromRun(config=first))
    third = edit(first, img_size=48, init=FromRun(config=second))
    alone = edit(first, img_size=48)
    by_first, by_chain, by_alone = (build_backbone(c).vit.positions for c in (first, third, alone))
    assert torch.equal(of_patches(by_chain, (12, 12)), of_patches(by_first, (12, 12)))
    assert not torch.equal(of_patches(by_alone, (12, 12)), of_patches(by_first, (12, 12)))


@pytest.mark.parametrize("name", ["rope", "rope_mixed", "relative", "relative_mlp"])
@pytest.mark.parametrize("table", [False, True])
def test_a_flexible_model_frozen_at_a_patch_has_its_features(name, table):
    config = make_config(
        backbone="deit_pico", img_size=16, patch_size=2, patch_embed="flexible", pos_embed=name, learned_table=table
    )
    model = build_backbone(config).double().eval()
    image = torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for patch in (2, 4):
        frozen = Deit(
            MODEL_SPECS["deit_pico"],
            *(16, patch),
            pos_embed=name,
            reference=Reference(8, 2),
            position_options={"learned_table": table},
        ).double()
        net = frozen.checkpoint_module
        net.load_state_dict(frozen.convert_state_dict(frozen_state(model, patch)))
        with torch.no_grad():
            torch.testing.assert_close(frozen(image)[0], model(image, patch_size=patch)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["rope", "rope_mixed", "relative", "relative_mlp"])
def test_recomputed_blocks_give_equal_gradients_of_all_parameters(name):
    found = []
    for recompute in (False, True):
        config = make_config(backbone="deit_pico", img_size=16, patch_size=4, pos_embed=name, learned_table=True)
        backbone = build_backbone(config).double().train()
        backbone.checkpoint_module.set_grad_checkpointing(recompute)
        image = torch.linspace(-2, 2, 2 * 3 * 8 * 12, dtype=torch.float64).view(2, 3, 8, 12).sin()
        backbone(image).tokens_BLD.square().sum().backward()
        found.append({key: p.grad for key, p in backbone.named_parameters()})
    assert all(grad is not None and grad.any() for grad in found[0].values())
    assert all(torch.allclose(grad, found[1][key], rtol=1e-12, atol=1e-14) for key, grad in found[0].items())


def test_turns_do_not_lose_digits_under_autocast():
    wanted = rope("rope").turns(TokenLayout(PATCH, CPU, (8, 8)), 0, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(rope("rope").turns(TokenLayout(PATCH, CPU, (8, 8)), 0, torch.float32), wanted)


def test_what_an_encoding_cannot_do_is_refused_in_a_line():
    with pytest.raises(ConfigError, match=r"^unknown rope_transfer 'ntk'; there is: extrapolate, interpolate, yarn$"):
        make_config(pos_embed="rope_mixed", rope_transfer="ntk")
    with pytest.raises(ConfigError, match=r"heads of channels divisible by 4, not 6$"):
        build_position("rope", SPEC._replace(width=12))
    with pytest.raises(ConfigError, match=r"ntk needs two frequencies .* not 4; interpolate takes any$"):
        build_position("rope", SPEC._replace(width=8), rope_transfer="ntk")
    with pytest.raises(ConfigError, match="which Adventurer does not have"):
        build_backbone(make_config(backbone="adventurer_pico", img_size=16, patch_size=4, pos_embed="rope"))
    plain = build_backbone(make_config(backbone="deit_pico", img_size=16, patch_size=4))
    other = build_backbone(make_config(backbone="deit_pico", img_size=16, patch_size=4, pos_embed="rope"))
    with pytest.raises(ConfigError, match="hold a table of positions"):
        other.convert_state_dict(plain.checkpoint_module.state_dict())
    with pytest.raises(ConfigError, match=r"^rope_base 1\.0 must be above 1$"):
        make_config(pos_embed="rope", rope_base=1.0)


def test_weights_with_a_table_start_a_model_that_turns_too():
    plain = build_backbone(make_config(backbone="deit_pico", img_size=16, patch_size=4))
    config = make_config(backbone="deit_pico", img_size=16, patch_size=4, pos_embed="rope", learned_table=True, seed=1)
    backbone = build_backbone(config)
    net, state = backbone.checkpoint_module, plain.checkpoint_module.state_dict()
    net.load_state_dict(backbone.convert_state_dict(state))
    assert all(torch.equal(tensor, state[key]) for key, tensor in net.state_dict().items())
    assert dataclasses.asdict(config.model.pos_embed) == {
        "rope_base": 100.0,
        "rope_transfer": "interpolate",
        "learned_table": True,
    }
