"""Released weights of FlexiViT: timm's and the .npz files of JAX give timm's logits at every patch size."""

import logging

import numpy as np
import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

from scaling.backbones.checkpoint_io import read_state_dict
from scaling.backbones.registry import build_backbone
from scaling.config.edit import edit, make_config
from scaling.engine.warm_start import start_from
from scaling.errors import ConfigError
from scaling.model_specs import MODEL_SPECS, ModelSpec
from scaling.preprocessing import Preprocessing, preprocessing_of
from scaling.tasks.classification import ClassificationTask

HALF = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
PATCHES = (8, 10, 12, 15, 16, 20, 24, 30, 40, 48)  # of the paper, at 240 px
SHALLOW = {"embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}
IMAGE = torch.randn(1, 3, 240, 240, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def shallow_deit(monkeypatch):
    monkeypatch.setitem(MODEL_SPECS, "deit_toy", ModelSpec("deit", 24, 2, 96, 8))


def drawn(net):
    """The model, its weights so large that every one of them counts in its logits."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * (0.3 if p.ndim == 2 else 0.1 if p.ndim == 4 else 1.0))
    return net.eval()


def flexivit(**changed):
    return drawn(timm.create_model("flexivit_small", **{**SHALLOW, "img_size": 240, **changed}))


def at_patch(state, patch):
    """timm's own model for another patch size, and weights as timm itself resamples them for FlexiViT."""
    net = timm.create_model("flexivit_small", **{**SHALLOW, "img_size": 240, "patch_size": patch})
    net.load_state_dict(checkpoint_filter_fn(state, net, interpolation="bilinear", antialias=False))
    return net.eval()


def config_for(path, **changed):
    flexible = {"patch_embed": "flexible", "kernel_size": 16, "antialias": False}
    positions = {"pos_embed": "grid", "grid_size": 15, "grid_antialias": False}
    model = {"backbone": "deit_toy", "img_size": 240, "patch_size": 8, "num_classes": 5}
    return make_config(**{**model, **flexible, **positions, "initial_checkpoint": str(path), **changed})


def loaded(config, tmp_path):
    task = ClassificationTask(config, 1)
    start_from(task, config, tmp_path)
    return task.eval()


@torch.no_grad()
def logits(task, patch=None):
    return task.head(task.backbone(IMAGE, patch_size=patch))


@pytest.mark.parametrize("ending", ["pth", "npz"])
def test_timms_weights_give_its_logits_at_every_patch_size_and_by_no_other_filter(tmp_path, ending, caplog):
    theirs = flexivit()
    path = tmp_path / f"w.{ending}"
    if ending == "pth":
        torch.save(theirs.state_dict(), path)
    else:
        np.savez(path, **as_jax(theirs.state_dict(), 3))
    task = loaded(config_for(path, load_head=True), tmp_path)
    assert "antialias" not in caplog.text
    others = [
        loaded(config_for(path, load_head=True, **{name: True}), tmp_path) for name in ("antialias", "grid_antialias")
    ]
    assert caplog.text.count("--antialias false gives its logits") == 1
    for patch in PATCHES:
        with torch.no_grad():
            wanted = at_patch(theirs.state_dict(), patch)(IMAGE)
        torch.testing.assert_close(logits(task, patch), wanted, atol=1e-5, rtol=1e-5)
        assert wanted.abs().mean() > 0.1
        off = [float((logits(other, patch) - wanted).abs().max()) for other in others]
        assert (off[0] > 1e-3) == (patch < 16), (patch, off)
        assert (off[1] > 1e-3) == (patch > 16), (patch, off)


@pytest.mark.parametrize("patch", [8, 30])
@pytest.mark.parametrize("backbone", ["deit_toy", "timm:flexivit_small"])
def test_a_fixed_model_has_them_resampled_as_timm_does(tmp_path, monkeypatch, backbone, patch):
    theirs = flexivit()
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **given: create(name, **{**SHALLOW, **given}))
    where = {"img_size": 240, "patch_size": patch, "num_classes": 5, "initial_checkpoint": str(tmp_path / "w.pth")}
    config = make_config(backbone=backbone, load_head=True, **where)
    with torch.no_grad():
        wanted = at_patch(theirs.state_dict(), patch)(IMAGE)
    torch.testing.assert_close(logits(loaded(config, tmp_path)), wanted, atol=1e-5, rtol=1e-5)


def test_every_norm_has_the_epsilon_of_timms():
    own, theirs = build_backbone(make_config(backbone="deit_toy")), flexivit()
    found = [
        {m.eps for m in net.modules() if isinstance(m, torch.nn.LayerNorm)} for net in (own.checkpoint_module, theirs)
    ]
    assert found == [{1e-6}, {1e-6}]


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"pretrained": "flexivit_small.1200ep_in1k"}, HALF),
        ({"pretrained": "vit_small_patch16_224.augreg_in1k"}, HALF),
        ({"pretrained": "deit3_small_patch16_224.fb_in1k"}, Preprocessing()),
        ({"initial_checkpoint": "flexivit_s_i1k.npz"}, HALF),
        ({"initial_checkpoint": "https://storage.googleapis.com/big_vision/flexivit/flexivit_s_i1k.npz"}, HALF),
        ({"initial_checkpoint": "https://example.org/w.npz?download=1"}, HALF),
        ({"initial_checkpoint": "w.pth"}, Preprocessing()),
    ],
)
def test_pixels_are_those_of_the_weights_for_a_model_of_this_project(changed, wanted):
    assert preprocessing_of(make_config(backbone="deit_small", **changed)) == wanted


def test_a_change_of_the_kernel_is_said(tmp_path, caplog):
    torch.save(flexivit().state_dict(), tmp_path / "w.pth")
    said = {16: None, 32: "stay the same at patch 16 alone", 8: "change at every patch size"}
    for side, what in said.items():
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            build_backbone(config_for(tmp_path / "w.pth", kernel_size=side))
        assert (what in caplog.text and "--kernel-size 16 keeps it" in caplog.text) if what else not caplog.text


# The files of JAX


def as_jax(state, heads, layout="params/"):
    """A plain ViT's tensors under the names and shapes of JAX: big_vision ("params/"), the same with all blocks in one
    array ("stacked"), or vision_transformer ("opt/target/")."""
    big_vision = layout != "opt/target/"
    attention, mlp, norm = ("_0", "_0", "_1") if big_vision else ("_1", "_3", "_2")
    state = {name: tensor.numpy() for name, tensor in state.items()}
    width = state["cls_token"].shape[-1]
    blocks = []
    for n in range(sum(name.endswith("norm1.weight") for name in state)):
        own = {name.removeprefix(f"blocks.{n}."): v for name, v in state.items() if name.startswith(f"blocks.{n}.")}
        block = {
            "LayerNorm_0/scale": own["norm1.weight"],
            "LayerNorm_0/bias": own["norm1.bias"],
            f"LayerNorm{norm}/scale": own["norm2.weight"],
            f"LayerNorm{norm}/bias": own["norm2.bias"],
        }
        mixer = f"MultiHeadDotProductAttention{attention}"
        for row, name in enumerate(("query", "key", "value")):
            rows = slice(row * width, (row + 1) * width)
            block[f"{mixer}/{name}/kernel"] = own["attn.qkv.weight"][rows].T.reshape(width, heads, -1)
            block[f"{mixer}/{name}/bias"] = own["attn.qkv.bias"][rows].reshape(heads, -1)
        block[f"{mixer}/out/kernel"] = own["attn.proj.weight"].T.reshape(heads, -1, width)
        block[f"{mixer}/out/bias"] = own["attn.proj.bias"]
        for layer in (0, 1):
            block[f"MlpBlock{mlp}/Dense_{layer}/kernel"] = own[f"mlp.fc{layer + 1}.weight"].T
            block[f"MlpBlock{mlp}/Dense_{layer}/bias"] = own[f"mlp.fc{layer + 1}.bias"]
        blocks.append(block)
    found = {
        "embedding/kernel": state["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": state["patch_embed.proj.bias"],
        "cls": state["cls_token"],
        "pos_embedding" if big_vision else "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
        "head/kernel": state["head.weight"].T,
        "head/bias": state["head.bias"],
    }
    if layout == "stacked":
        found |= {f"Transformer/encoderblock/{name}": np.stack([b[name] for b in blocks]) for name in blocks[0]}
    else:
        found |= {f"Transformer/encoderblock_{n}/{name}": v for n, b in enumerate(blocks) for name, v in b.items()}
    prefix = "opt/target/" if layout == "opt/target/" else "params/"
    return {prefix + name: value for name, value in found.items()}


@pytest.mark.parametrize("layout", ["params/", "stacked", "opt/target/"])
def test_a_file_of_jax_has_the_tensors_that_it_was_made_of(tmp_path, layout):
    """With the kernel of 32 x 32 and the 7 x 7 positions of the originals."""
    own_class = layout == "opt/target/"
    state = drawn(VisionTransformer(img_size=224, patch_size=32, **SHALLOW, no_embed_class=not own_class)).state_dict()
    np.savez(tmp_path / "w.npz", **as_jax(state, 3, layout))
    found = read_state_dict(str(tmp_path / "w.npz"))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    config = config_for(tmp_path / "w.npz", kernel_size=32, grid_size=7, img_size=224)
    own = build_backbone(config).checkpoint_module.state_dict()
    assert torch.equal(own["patch_embed.proj.weight"], state["patch_embed.proj.weight"])
    assert torch.equal(own["pos_embed"][:, 1:], state["pos_embed"][:, own_class:])
    assert bool(own["pos_embed"][:, 0].any()) == own_class


def broken(arrays, how):
    arrays = dict(arrays)
    if how == "no kernel":
        del arrays["params/embedding/kernel"]
    if how == "no norm":
        del arrays["params/Transformer/encoder_norm/bias"]
    if how == "more":
        arrays["params/pre_logits/kernel"] = np.zeros((2, 2), np.float32)
    if how == "objects":
        arrays["params/cls"] = np.array([{"a": 1}], dtype=object)
    return arrays


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no kernel", "it has no embedding/kernel"),
        ("no norm", "params/Transformer/encoder_norm/bias"),
        ("more", "it holds 4 values beside those of a plain ViT"),
        ("objects", "allow_pickle=False"),
    ],
)
def test_a_file_of_jax_that_is_no_plain_vit_is_refused_in_one_line(tmp_path, how, said):
    arrays = as_jax(flexivit().state_dict(), 3)
    np.savez(tmp_path / "w.npz", **broken(arrays, how))
    with pytest.raises(ConfigError, match=r"w\.npz cannot be read as tensors alone") as e:
        read_state_dict(str(tmp_path / "w.npz"))
    assert said in str(e.value)
    assert "\n" not in str(e.value)


def test_the_source_of_backbone_and_head_is_read_once(tmp_path, monkeypatch):
    torch.save(flexivit().state_dict(), tmp_path / "w.pth")
    read, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda path, **given: read.append(path.name) or load(path, **given))
    loaded(config_for(tmp_path / "w.pth", load_head=True), tmp_path)
    assert read == ["w.pth"]


def test_a_head_of_other_classes_and_another_width_are_refused_in_one_line(tmp_path):
    state = flexivit().state_dict()
    torch.save(state, tmp_path / "w.pth")
    config = config_for(tmp_path / "w.pth", load_head=True)
    with pytest.raises(ConfigError, match=r"have a head of 5 classes, the data 3; leave out --load-head"):
        loaded(edit(config, num_classes=3), tmp_path)
    with pytest.raises(ConfigError, match="24 channels wide; this backbone is 48"):
        loaded(edit(config, backbone="deit_nano"), tmp_path)
    torch.save({name: t for name, t in state.items() if not name.startswith("head.")}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"have no head\.weight"):
        loaded(config, tmp_path)
