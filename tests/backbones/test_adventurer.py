"""Adventurer gives the released model's numbers, keys and sizes; and says what it cannot take."""

import json
import zlib
from pathlib import Path

import pytest
import torch

from scaling.backbones.adventurer import Adventurer
from scaling.backbones.adventurer_backbone import AdventurerBackbone
from scaling.backbones.checkpoint_io import load_state, read_state_dict
from scaling.backbones.registry import build_backbone
from scaling.config.edit import make_config
from scaling.errors import ConfigError
from scaling.model_specs import MODEL_SPECS, ModelSpec

NANO = ModelSpec("adventurer", 64, 4, 160, 32, 16)  # small, and not what any recipe has: those may change
# What the released code gives for weights filled by the rule below: an excerpt (16 of 1000 logits, three blocks).
EXPECTED = json.loads((Path(__file__).parents[1] / "fixtures/adventurer/expected_excerpt.json").read_text())


@torch.no_grad()
def fill_(model):
    """Weights by name: each from a generator seeded by the CRC-32 of its key, scaled by its kind."""
    for name, p in model.state_dict().items():
        draw = torch.randn(
            p.shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())), dtype=torch.float64
        )
        leaf = name.rsplit(".", 1)[-1]
        if leaf == "A_log":
            p.copy_(torch.log1p(15 * torch.sigmoid(draw)))
        elif leaf == "dt_bias":
            p.copy_(draw - 4)
        elif leaf == "D" or (leaf == "weight" and p.ndim == 1):
            p.copy_(1 + 0.1 * draw)
        elif p.ndim == 1:
            p.copy_(0.02 * draw)
        elif leaf in ("pos_embed", "cls_token"):
            p.copy_(0.2 * draw)
        else:
            p.copy_(draw / (p.numel() / p.shape[0]) ** 0.5)
    return model


def filled_case(case, dtype):
    model = Adventurer(MODEL_SPECS[case["model"]], case["img_size"], case["patch_size"], case["num_classes"])
    side = case["img_size"]
    image = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1234), dtype=torch.float64)
    return fill_(model.to(dtype)), image.to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-7), (torch.float32, 1e-4)], ids=str)
@pytest.mark.parametrize("name", EXPECTED)
def test_logits_and_blocks_are_those_of_the_released_model(name, dtype, tolerance):
    case = EXPECTED[name]
    model, image = filled_case(case, dtype)
    means = []
    for layer in model.layers:
        layer.register_forward_hook(lambda _, __, out: means.append(float(out.abs().mean())))
    with torch.no_grad():
        logits = model(image)
    want = torch.tensor(case["logits_first_16"], dtype=torch.float64)
    assert (logits[:, :16].double() - want).abs().max() < tolerance
    assert means == pytest.approx(case["block_output_abs_mean"], abs=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)], ids=str)
def test_gradient_norms_are_those_of_the_released_model(dtype, tolerance):
    case = EXPECTED["tiny_32px_p4"]
    model, image = filled_case(case, dtype)
    (model(image) * torch.linspace(-1, 1, case["num_classes"], dtype=dtype)).sum().backward()
    norms = {name: float(p.grad.norm()) for name, p in model.named_parameters() if name in case["gradient_norms"]}
    assert norms == pytest.approx(case["gradient_norms"], rel=tolerance)


def released_keys(width, heads, conv, mlp, depth, patch, tokens, classes):
    """Keys and shapes of a released checkpoint."""
    inner = 2 * width
    block = {
        "mixer.dt_bias": (heads,),
        "mixer.A_log": (heads,),
        "mixer.D": (heads,),
        "mixer.in_proj.weight": (inner + conv + heads, width),
        "mixer.conv1d.weight": (conv, 1, 4),
        "mixer.conv1d.bias": (conv,),
        "mixer.norm.weight": (inner,),
        "mixer.out_proj.weight": (width, inner),
        "norm.weight": (width,),
        "mlp.w1.weight": (mlp, width),
        "mlp.w1.bias": (mlp,),
        "mlp.w2.weight": (mlp, width),
        "mlp.w2.bias": (mlp,),
        "mlp.w3.weight": (width, mlp),
        "mlp.w3.bias": (width,),
        "norm_mlp.weight": (width,),
    }
    outside = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, tokens, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        "head.weight": (classes, width),
        "head.bias": (classes,),
        "norm_f.weight": (width,),
    }
    return outside | {f"layers.{n}.{key}": shape for n in range(depth) for key, shape in block.items()}


def shapes(model):
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def test_keys_and_shapes_are_those_of_the_released_tiny_checkpoint():
    with torch.device("meta"):
        model = Adventurer(MODEL_SPECS["adventurer_tiny"], 224, 16, 1000)
    assert shapes(model) == released_keys(256, 8, 640, 640, 12, 16, 197, 1000)


def test_sizes_have_the_parameters_of_table_7():
    for size, patch, millions in (
        ("adventurer_tiny", 16, 11.6),
        ("adventurer_small", 16, 44.5),
        ("adventurer_base", 16, 98.7),
        ("adventurer_large", 16, 346.2),
        ("adventurer_huge", 16, 718.0),  # Table 7 prints 759, which its own dimensions do not give
        ("adventurer_base", 1, 136.5),
    ):
        with torch.device("meta"):
            model = Adventurer(MODEL_SPECS[size], 224, patch, 1000)
        assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == millions, (size, patch)


@pytest.mark.parametrize("patch", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("position", ["learned", "sincos"])
def test_every_parameter_gets_a_finite_gradient_at_every_patch(patch, position):
    torch.manual_seed(0)
    model = Adventurer(NANO, 16, patch, 12, pos_embed=position, drop_path=0.1).train()
    model(torch.randn(3, 3, 16, 16)).square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
        assert p.grad.abs().sum() > 0, name
    assert ("pos_embed" in dict(model.named_parameters())) == (position == "learned")


def test_features_are_the_tokens_as_a_map_and_the_class_token():
    torch.manual_seed(0)
    backbone = AdventurerBackbone(NANO, 16, 4).eval()
    model, image = backbone.net, torch.randn(2, 3, 16, 16)
    tokens = model.forward_features(image)
    features = backbone(image)
    grid, summary = features.to_map(), features.pooled_ND
    assert tokens.shape == (2, 17, 64)
    assert grid.shape == (2, 64, 4, 4)
    assert grid.is_contiguous()
    assert torch.equal(grid[:, :, 1, 2], tokens[:, 6])
    assert torch.equal(summary, tokens[:, -1])
    assert torch.equal(model(image), summary)  # no classes: no head
    assert features.hidden == ()
    assert (model.width, model.stride) == (64, 4)


def test_released_and_alternate_flips_differ_from_block_6_on():
    size = NANO._replace(depth=8)
    flips = {
        name: [layer.flip for layer in Adventurer(size, 16, 8, scan_direction=name).layers]
        for name in ("released", "alternate")
    }
    assert flips["released"] == [False, False, True, True, False, False, False, False]
    assert flips["alternate"] == [False, False, True, True, False, False, True, True]


def test_a_recipe_says_which_blocks_flip():
    deep = [
        build_backbone(
            make_config(backbone="adventurer_tiny", img_size=32, patch_size=16, scan_direction=flip)
        ).checkpoint_module.layers
        for flip in ("released", "alternate")
    ]
    assert [[n for n, layer in enumerate(layers) if layer.flip] for layers in deep] == [[2, 3], [2, 3, 6, 7, 10, 11]]


def test_checkpointed_blocks_give_the_same_gradients():
    torch.manual_seed(0)
    model = Adventurer(NANO, 16, 4, 12, drop_path=0.2).train()
    image, grads = torch.randn(3, 3, 16, 16), []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        torch.manual_seed(1)
        model.zero_grad()
        model(image).square().sum().backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_a_flip_of_all_blocks_and_of_the_image_changes_nothing_but_the_order():
    """With no position embedding, a block that flips sees the reversed tokens as one that does not sees the tokens."""
    torch.manual_seed(0)
    plain = Adventurer(NANO, 8, 2).eval().double().layers[0]
    x = torch.randn(2, 17, 64).double()
    backwards = torch.cat([x[:, :-1].flip(1), x[:, -1:]], 1)
    want = plain(x)
    plain.flip = True
    got = plain(backwards)
    torch.testing.assert_close(got, torch.cat([want[:, :-1].flip(1), want[:, -1:]], 1), rtol=1e-10, atol=1e-10)


def test_the_initialisation_is_mambas_and_vits():
    torch.manual_seed(0)
    size = MODEL_SPECS["adventurer_tiny"]._replace(depth=4)
    model = Adventurer(size, 64, 8, 10)
    for name, p in model.state_dict().items():
        leaf = name.rsplit(".", 1)[-1]
        if leaf == "A_log":
            assert p.exp().min() >= 1
            assert p.exp().max() <= 16
        elif leaf == "dt_bias":
            dt = torch.nn.functional.softplus(p)
            assert dt.min() >= 0.99e-3
            assert dt.max() <= 1.01e-1
        elif leaf == "bias":
            assert not p.any()
        elif leaf == "D" or "norm" in name:
            assert (p == 1).all()
    assert float(model.pos_embed.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert float(model.patch_embed.proj.weight.detach().std()) == pytest.approx((3 * 64) ** -0.5, rel=0.05)
    # torch's plain initialisation has variance 1 / (3 fan-in); the depth divides it by 4 in out_proj
    assert float(model.layers[0].mixer.out_proj.weight.detach().std()) == pytest.approx((3 * 512 * 4) ** -0.5, rel=0.05)


def test_one_seed_draws_the_same_blocks_at_every_patch():
    states = []
    for patch in (1, 8):
        backbone = AdventurerBackbone(NANO, 16, patch)
        backbone.initialise(3)
        states.append({k: v for k, v in backbone.checkpoint_module.state_dict().items() if k.startswith("layers.")})
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_drop_path_drops_whole_images_in_training_only():
    torch.manual_seed(0)
    model = Adventurer(NANO, 16, 8, drop_path=0.5)
    assert [layer.drop_path.rate for layer in model.layers] == pytest.approx([0, 1 / 6, 1 / 3, 1 / 2])
    drop = model.layers[-1].drop_path
    out = drop.train()(torch.ones(64, 5, 3))
    assert set(out.flatten(1).mean(1).tolist()) == {0.0, 2.0}
    assert torch.equal(drop.eval()(out), out)


def test_bfloat16_autocast_stays_near_float32():
    torch.manual_seed(0)
    model = Adventurer(NANO, 16, 2, 12).eval()
    image = torch.randn(4, 3, 16, 16)
    want = model(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = model(image)
        got.float().square().sum().backward()
    assert (got.float() - want).abs().max() < 0.1 * want.abs().max()  # measured: 0.012
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_an_image_alone_gives_what_it_gives_in_a_batch():
    torch.manual_seed(0)
    model, image = Adventurer(NANO, 16, 1, 12).eval().double(), torch.randn(3, 3, 16, 16).double()
    with torch.no_grad():
        torch.testing.assert_close(model(image)[1:2], model(image[1:2]), rtol=1e-10, atol=1e-10)


def test_released_weights_fit_another_patch_and_image_by_resampling():
    torch.manual_seed(0)
    released = Adventurer(NANO, 16, 4, 10).state_dict()
    same, other = AdventurerBackbone(NANO, 16, 4), AdventurerBackbone(NANO, 32, 2)
    kept = same.convert_state_dict(released)
    assert all(torch.equal(kept[key], released[key]) for key in released)
    fitted = other.convert_state_dict(released)
    assert {k: tuple(v.shape) for k, v in fitted.items() if not k.startswith("head.")} == shapes(
        other.checkpoint_module
    )
    assert torch.equal(fitted["pos_embed"][:, -1], released["pos_embed"][:, -1])  # the class token's position is last


def test_a_released_file_loads_strictly_and_one_with_other_keys_is_refused_with_a_list(tmp_path):
    torch.manual_seed(0)
    state, backbone = Adventurer(NANO, 16, 4, 10).state_dict(), AdventurerBackbone(NANO, 16, 4)
    torch.save({"model": state, "model_ema": state}, tmp_path / "released.pth")
    load_state(backbone, read_state_dict(str(tmp_path / "released.pth")), "released.pth")
    assert all(torch.equal(value, state[key]) for key, value in backbone.checkpoint_module.state_dict().items())
    state["layers.1.mixer.extra"] = state.pop("layers.1.mixer.D")
    torch.save({"model": state}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"missing layers\.1\.mixer\.D; unexpected layers\.1\.mixer\.extra"):
        load_state(backbone, read_state_dict(str(tmp_path / "other.pth")), "other.pth")


def test_bad_input_is_refused_with_the_numbers():
    with pytest.raises(ConfigError, match="patch 5 does not divide a 16 px image"):
        Adventurer(NANO, 16, 5)
    with pytest.raises(ConfigError, match="did you mean released"):
        Adventurer(NANO, 16, 4, scan_direction="releasd")
    with pytest.raises(ConfigError, match="rotary"):
        Adventurer(NANO, 16, 4, pos_embed="rotary")
    with pytest.raises(ConfigError, match="deit"):
        Adventurer(MODEL_SPECS["deit_nano"], 16, 4)
    with pytest.raises(ConfigError, match="48 channels"):
        Adventurer(NANO._replace(head_dim=48), 16, 4)
    model = Adventurer(NANO, 16, 4)
    for shape in ((2, 3, 16, 32), (2, 3, 32, 32), (2, 1, 16, 16), (3, 16, 16)):
        with pytest.raises(ConfigError, match=r"built for \(batch, 3, 16, 16\)"):
            model(torch.zeros(shape))
    backbone = AdventurerBackbone(NANO, 16, 4)
    with pytest.raises(ConfigError, match="6 blocks; this Adventurer has 4"):
        backbone.convert_state_dict(Adventurer(NANO._replace(depth=6), 16, 4).state_dict())
    with pytest.raises(ConfigError, match="not weights of an Adventurer"):
        backbone.convert_state_dict({"fc.weight": torch.zeros(1)})
    with pytest.raises(ConfigError, match="15 patches, which is no square"):
        backbone.convert_state_dict({**model.state_dict(), "pos_embed": torch.zeros(1, 16, 64)})
