"""timm builds, takes apart and fine-tunes Adventurer as it does its own models (compare its tests/test_models.py)."""

import logging

import pytest
import timm
import torch
from timm.models import FeatureInfo
from timm.optim import create_optimizer_v2, param_groups_layer_decay

import scaling.backbones.timm_entrypoints as ours
from scaling.backbones.adventurer import Adventurer
from scaling.errors import ConfigError
from scaling.model_specs import MODEL_SPECS

TINY = "adventurer_tiny_patch16_224"
NAMES = [
    f"adventurer_{size}_patch16_224" for size in ("pico", "nano", "micro", "tiny", "small", "base", "large", "huge")
]
WIDTH, SMALL = 256, {"img_size": 32, "patch_size": 8, "num_classes": 10}  # 16 patches


def tiny(**changes):
    torch.manual_seed(0)
    return timm.create_model(TINY, **{**SMALL, **changes})


def images(count=2, channels=3, side=32):
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def released(tmp_path):
    """A file as released, its two sets of weights different."""
    model = tiny(num_classes=1000).state_dict()
    ema = {key: value + 0.01 for key, value in model.items()}
    torch.save({"model": model, "model_ema": ema, "epoch": 3}, tmp_path / "released.pth")
    return str(tmp_path / "released.pth"), ema


def same(state, other, leave_out=()):
    assert state.keys() == other.keys()
    return all(torch.equal(state[key], other[key]) for key in state if not key.startswith(tuple(leave_out)))


def test_timm_lists_all_sizes():
    assert set(timm.list_models("adventurer_*")) == set(NAMES)
    assert set(timm.list_models("adventurer_*", name_matches_cfg=True)) == set(NAMES)
    assert timm.list_models(module="timm_entrypoints") == timm.list_models("adventurer_*")
    assert set(ours.__all__) == set(NAMES)
    assert not timm.list_pretrained("adventurer_*")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_without_arguments_is_the_table_s_model_for_224_px_in_patches_of_16(name):
    with torch.device("meta"):
        model = timm.create_model(name)
        own = Adventurer(MODEL_SPECS[name.removesuffix("_patch16_224")], 224, 16, 1000)
    assert isinstance(model, Adventurer)
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in own.state_dict().items()}


@pytest.mark.parametrize("name", NAMES)
def test_default_cfg_names_modules_that_are_there(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    cfg, state = model.default_cfg, model.state_dict()
    assert (model.num_classes, model.in_chans, model.global_pool) == (cfg["num_classes"], cfg["input_size"][0], "token")
    assert f"{cfg['first_conv']}.weight" in state
    assert f"{cfg['classifier']}.weight" in state
    assert model.get_classifier() is model.get_submodule(cfg["classifier"])
    assert cfg["architecture"] == name
    assert timm.data.resolve_model_data_config(model)["input_size"] == (3, 224, 224)
    model.reset_classifier(0)
    assert not [key for key in model.state_dict() if key.startswith(cfg["classifier"])]


def test_logits_are_those_of_adventurer_with_the_same_weights():
    model = timm.create_model(TINY, img_size=64, patch_size=4, num_classes=10).eval()
    own = Adventurer(MODEL_SPECS["adventurer_tiny"], 64, 4, 10).eval()
    own.load_state_dict(model.state_dict())
    with torch.no_grad():
        logits = model(images(1, side=64))
        assert logits.shape == (1, 10)
        assert torch.equal(logits, own(images(1, side=64)))


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_every_parameter_gets_a_gradient(pool):
    model = tiny(num_classes=42, global_pool=pool, drop_rate=0.1, drop_path_rate=0.1).train()
    out = model(images())
    out.square().mean().backward()
    assert out.shape == (2, 42)
    assert out.isfinite().all()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
        assert p.grad.any(), name


def test_the_head_sees_the_class_token_the_mean_of_the_patches_or_every_token():
    model = tiny().eval()
    with torch.no_grad():
        tokens = model.forward_features(images())
        assert tokens.shape == (2, 17, model.num_features)
        assert model.forward_head(tokens).shape == (2, 10)
        assert torch.equal(model.forward_head(tokens, pre_logits=True), tokens[:, -1])
        assert model.head_hidden_size == model.num_features == WIDTH
        model.reset_classifier(0)
        assert torch.equal(model(images()), tokens[:, -1])
        model.reset_classifier(0, "")
        assert torch.equal(model(images()), tokens)
        model.reset_classifier(7, "avg")
        assert torch.equal(model.forward_head(tokens, pre_logits=True), tokens[:, :-1].mean(1))
        assert model(images()).shape == (2, 7)
    assert (model.num_classes, model.global_pool) == (7, "avg")


def test_a_new_classifier_stays_on_the_model_s_device_in_its_precision_and_mode():
    model = tiny().double().eval()
    model.reset_classifier(5)
    assert model.head.weight.dtype == torch.float64
    assert not model.head.training
    assert not model.head.bias.any()
    assert float(model.head.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    with torch.device("meta"):
        abstract = tiny()
    abstract.reset_classifier(5)
    assert abstract.head.weight.is_meta


def test_head_dropout_acts_in_training_only():
    model = tiny(drop_rate=0.5)
    tokens = torch.ones(4, 17, WIDTH)
    assert set(model.train().forward_head(tokens, pre_logits=True).unique().tolist()) == {0.0, 2.0}
    assert torch.equal(model.eval().forward_head(tokens, pre_logits=True), tokens[:, -1])


@pytest.mark.parametrize(
    ("changes", "kernel", "positions"),
    [
        ({"img_size": (16, 16), "patch_size": (4, 4)}, (3, 4, 4), 17),
        ({"in_chans": 1}, (1, 8, 8), 17),
        ({"in_chans": 5, "patch_size": 16}, (5, 16, 16), 5),
    ],
)
def test_image_patch_and_channels_are_arguments(changes, kernel, positions):
    model = tiny(**changes).eval()
    assert model.patch_embed.proj.weight.shape[1:] == kernel
    assert model.pos_embed.shape == (1, positions, WIDTH)
    with torch.no_grad():
        assert model(images(1, model.in_chans, model.image)).shape == (1, 10)


def test_flips_positions_and_drop_path_are_arguments():
    model = tiny(scan_direction="alternate", pos_embed="sincos", drop_path_rate=0.1)
    assert [n for n, layer in enumerate(model.layers) if layer.flip] == [2, 3, 6, 7, 10, 11]
    assert "pos_embed" not in model.state_dict()
    assert model.layers[-1].drop_path.rate == pytest.approx(0.1)


def test_intermediates_are_the_maps_of_the_blocks():
    model, image = tiny().eval(), images()
    info = FeatureInfo(model.feature_info, len(model.feature_info))
    seen = []
    for layer in model.layers:
        layer.register_forward_hook(lambda _, __, out: seen.append(out))
    with torch.no_grad():
        final, maps = model.forward_intermediates(image)
        assert len(maps) == len(info.channels()) == len(seen) == 12
        assert torch.equal(final, model.forward_features(image))
        for map_BDhw, tokens, channels, stride in zip(maps, seen[:12], info.channels(), info.reduction(), strict=True):
            assert map_BDhw.shape == (2, channels, 32 // stride, 32 // stride)
            assert torch.equal(map_BDhw[:, :, 1, 2], tokens[:, 6])
        seen.clear()
        pairs = model.forward_intermediates(
            image, [2, -5], True, norm=True, stop_early=True, output_fmt="NLC", intermediates_only=True
        )
        assert len(seen) == 8  # blocks after number 7 do not run
        for (patches, class_token), n in zip(pairs, (2, 7), strict=True):
            assert torch.equal(torch.cat([patches, class_token], 1), model.norm_f(seen[n]))
        last = model.forward_intermediates(image, 1, norm=True, intermediates_only=True)
        assert torch.equal(last[0].flatten(2).transpose(1, 2), model.forward_features(image)[:, :-1])
        model.set_grad_checkpointing()
    final, _ = model.forward_intermediates(image)
    torch.testing.assert_close(final, model.forward_features(image), rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="NHWC"):
        model.forward_intermediates(image, output_fmt="NHWC")
    with pytest.raises(AssertionError, match="out of range"):
        model.forward_intermediates(image, [12])


def test_features_only_is_the_model_up_to_the_last_map_that_is_asked_for():
    net, whole = tiny(features_only=True, out_indices=(1, -8)).eval(), tiny().eval()
    assert net.feature_info.channels() == [WIDTH, WIDTH]
    assert net.feature_info.reduction() == [8, 8]
    assert len(net.model.layers) == 5
    assert not [key for key in net.state_dict() if "head" in key or "norm_f" in key]
    with torch.no_grad():
        maps = net(images())
        want = whole.forward_intermediates(images(), [1, 4], intermediates_only=True)
    assert all(torch.equal(a, b) for a, b in zip(maps, want, strict=True))
    assert len(tiny(features_only=True).feature_info.channels()) == 3  # as timm's plain ViT


def test_layer_decay_puts_the_embedding_lowest_then_each_block_then_the_head():
    model = tiny()
    groups = param_groups_layer_decay(
        model, weight_decay=0.05, no_weight_decay_list=model.no_weight_decay(), layer_decay=0.5
    )
    of = {id(p): (group["lr_scale"], group["weight_decay"]) for group in groups for p in group["params"]}
    found = {name: of[id(p)] for name, p in model.named_parameters()}
    assert len(of) == len(found)
    for name, (scale, decay) in found.items():
        layer = (
            int(name.split(".")[1]) + 1
            if name.startswith("layers.")
            else {"head": 13, "norm_f": 12}.get(name.split(".")[0], 0)
        )
        assert scale == 0.5 ** (13 - layer), name
        plain = name.endswith(("pos_embed", "cls_token", "bias", "A_log", ".D")) or "norm" in name
        assert decay == (0 if plain else 0.05), name
    assert {"pos_embed", "cls_token", "layers.3.mixer.A_log", "layers.3.mixer.D", "layers.3.mixer.dt_bias"} < (
        model.no_weight_decay()
    )
    assert create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.75).param_groups


def test_checkpointed_blocks_give_the_same_gradients():
    model, gradients = tiny().train(), []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        model(images()).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_released_file_loads_strictly_by_either_of_timm_s_ways(released):
    path, ema = released
    assert same(tiny(num_classes=1000, checkpoint_path=path).state_dict(), ema)  # timm takes model_ema where it is
    overlaid = tiny(num_classes=1000, pretrained=True, pretrained_cfg_overlay={"file": path})
    assert same(overlaid.state_dict(), ema)
    whole = {"model": ema}
    assert same(tiny(num_classes=1000, pretrained=True, pretrained_cfg_overlay={"state_dict": whole}).state_dict(), ema)


def test_a_released_file_fits_another_image_patch_channels_and_classes(released):
    path, ema = released
    given = {"pretrained": True, "pretrained_cfg_overlay": {"file": path}}
    model = tiny(img_size=64, patch_size=4, in_chans=1, **given)
    assert same(model.state_dict(), ema, leave_out=("head.", "pos_embed", "patch_embed.proj.weight"))
    assert torch.equal(model.pos_embed[:, -1], ema["pos_embed"][:, -1])  # the class token's position is last
    assert model.pos_embed.shape == (1, 257, WIDTH)
    grey = tiny(in_chans=1, **given)
    assert torch.allclose(grey.patch_embed.proj.weight, ema["patch_embed.proj.weight"].sum(1, keepdim=True), atol=1e-6)
    net = tiny(features_only=True, **given)
    assert torch.equal(net.model.layers[0].mixer.D, ema["layers.0.mixer.D"])


@pytest.mark.parametrize("classes", [10, 1000])
def test_a_file_with_other_keys_or_another_depth_is_refused_with_a_list(released, tmp_path, classes):
    path, state = str(tmp_path / "other.pth"), dict(released[1])
    given = {"num_classes": classes, "pretrained": True, "pretrained_cfg_overlay": {"file": path}}
    state["layers.1.mixer.extra"] = state.pop("layers.1.mixer.D")
    torch.save({"model": state}, path)
    with pytest.raises(
        ConfigError, match=r"other\.pth.*missing layers\.1\.mixer\.D; unexpected layers\.1\.mixer\.extra"
    ):
        tiny(**given)
    with pytest.raises(RuntimeError, match=r"(?s)Missing.*layers\.1\.mixer\.D.*Unexpected.*layers\.1\.mixer\.extra"):
        tiny(num_classes=1000, checkpoint_path=path)
    state = {key: value for key, value in released[1].items() if not key.startswith("layers.11.")}
    torch.save({"model": state}, path)
    with pytest.raises(ConfigError, match="11 blocks; this Adventurer has 12"):
        tiny(**given)
    with pytest.raises(RuntimeError, match=r"layers\.11\.mixer\.D"):
        tiny(num_classes=1000, checkpoint_path=path)


class Code:
    def __reduce__(self):
        return (logging.warning, ("run",))


def test_code_in_a_file_is_not_run(released, tmp_path, caplog):
    path = str(tmp_path / "code.pth")
    torch.save({"model": released[1], "extra": Code()}, path)
    for given in ({"checkpoint_path": path}, {"pretrained": True, "pretrained_cfg_overlay": {"file": path}}):
        with pytest.raises(RuntimeError, match="weights_only"):
            tiny(**given)
    assert "run" not in caplog.text


def test_pretrained_weights_that_nobody_has_named_are_timm_s_own_error():
    with pytest.raises(RuntimeError, match=f"No pretrained weights exist for {TINY}"):
        tiny(pretrained=True)


def test_bad_input_is_refused_with_the_numbers():
    with pytest.raises(ConfigError, match="patch 5 does not divide a 32 px image"):
        tiny(patch_size=5)
    with pytest.raises(ConfigError, match=r"img_size \(32, 64\) is not square"):
        tiny(img_size=(32, 64))
    with pytest.raises(ConfigError, match="there is: '', avg, token"):
        tiny(global_pool="max")
    with pytest.raises(ConfigError, match=r"built for \(batch, 1, 32, 32\)"):
        tiny(in_chans=1)(images())
    with pytest.raises(ConfigError, match=r"built for \(batch, 3, 32, 32\)"):
        tiny()(images(side=64))
    with pytest.raises(ConfigError, match="rotary"):
        tiny(pos_embed="rotary")
