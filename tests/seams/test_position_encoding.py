"""Position encodings are added from outside the library: their hooks change what attention computes exactly as a slow
reference does it, a run trains them, and a backbone without attention refuses those that need it."""

import math
from dataclasses import make_dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from scaling.backbones.adventurer_backbone import AdventurerBackbone
from scaling.backbones.deit import Deit
from scaling.backbones.pos_embed import POSITION_ENCODINGS, PositionEncoding
from scaling.backbones.registry import build_backbone
from scaling.config.edit import edit, make_config
from scaling.config.model import POS_EMBEDS
from scaling.errors import ConfigError
from scaling.model_specs import MODEL_SPECS
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.optim import parameter_groups

PICO = MODEL_SPECS["deit_pico"]
IMAGE = torch.linspace(-2, 2, 2 * 3 * 8 * 12, dtype=torch.float64).view(2, 3, 8, 12).sin()
TURN = 5.0  # angle over one side of the image


class Rotary(PositionEncoding):
    """Neighbouring channels are rotated, by the row in the first half and by the column in the second."""

    def rotate(self, q_BHTP, k_BHTP, layout, block):
        half = q_BHTP.shape[-1] // 4
        angle_1TF = layout.padded(TURN * layout.coords_BL2.to(q_BHTP.dtype).repeat_interleave(half, 2))
        cos, sin = angle_1TF.cos().unsqueeze(1), angle_1TF.sin().unsqueeze(1)

        def turned(x_BHTP):
            a, b = x_BHTP[..., 0::2], x_BHTP[..., 1::2]
            return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)

        return turned(q_BHTP), turned(k_BHTP)


class Distance(PositionEncoding):
    """Logits fall with the distance of patches, by a learned slope per head."""

    def __init__(self, spec):
        super().__init__(spec)
        self.slope_H1 = nn.Parameter(torch.empty(spec.heads, 1))

    def reset_parameters(self):
        nn.init.constant_(self.slope_H1, -3.0)

    def bias(self, layout):
        gap_LL = torch.cdist(layout.coords_BL2, layout.coords_BL2)[0].to(self.slope_H1.dtype)
        first, last = layout.leading, layout.trailing
        return nn.functional.pad(self.slope_H1.unsqueeze(-1) * gap_LL, (first, last, first, last)).unsqueeze(0)


class Ramp(PositionEncoding):
    """A learned linear function of row and column."""

    def __init__(self, spec):
        super().__init__(spec)
        self.to_width = nn.Linear(2, spec.width)

    def add(self, x_BTD, layout, table_1TD):
        assert table_1TD is None
        return x_BTD + layout.padded(self.to_width(layout.coords_BL2.to(x_BTD.dtype)))


TOYS = {"rotary": Rotary, "distance": Distance, "ramp": Ramp}


@pytest.fixture
def registered(monkeypatch):
    for name, toy in TOYS.items():
        monkeypatch.setitem(POSITION_ENCODINGS, name, toy)
        part = make_dataclass(name, [], namespace={"kind": name}, frozen=True)
        monkeypatch.setitem(POS_EMBEDS, name, part)


def deit(position):
    backbone = Deit(PICO, 8, 4, pos_embed=position)
    backbone.initialise(0)
    return backbone.double()


def reference(backbone, image, rotary, slope):
    """DeiT's forward pass with attention token by token; the class token is first and has no position."""
    vit = backbone.vit
    h, w = image.shape[2] // 4, image.shape[3] // 4
    places = [None] + [((i + 0.5) / h, (j + 0.5) / w) for i in range(h) for j in range(w)]
    tokens = vit.patch_embed.proj(image).flatten(2).transpose(1, 2)
    x = torch.cat([vit.cls_token.expand(len(tokens), -1, -1), tokens], 1)
    for block in vit.blocks:
        y, heads = block.norm1(x), block.attn.num_heads
        qkv = block.attn.qkv(y).view(*y.shape[:2], 3, heads, -1)
        out = torch.zeros_like(qkv[:, :, 0])
        for b in range(len(x)):
            for head in range(heads):
                q, k, v = qkv[b, :, :, head].unbind(1)
                if rotary:
                    q, k = (torch.stack([turned(u, place) for u, place in zip(t, places, strict=True)]) for t in (q, k))
                logits = q @ k.T / math.sqrt(q.shape[1])
                for s, one in enumerate(places):
                    for t, other in enumerate(places):
                        if slope and one and other:
                            logits[s, t] += slope * math.dist(one, other)
                out[b, :, head] = logits.softmax(1) @ v
        x = x + block.attn.proj(out.flatten(2))
        x = x + block.mlp(block.norm2(x))
    return vit.norm(x)


def turned(u, place):
    if place is None:
        return u
    found, pairs = u.clone(), len(u) // 2
    for pair in range(pairs):
        angle = TURN * (place[0] if pair < pairs // 2 else place[1])
        c, s = math.cos(angle), math.sin(angle)
        found[2 * pair] = c * u[2 * pair] - s * u[2 * pair + 1]
        found[2 * pair + 1] = s * u[2 * pair] + c * u[2 * pair + 1]
    return found


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("name", "slope"), [("rotary", 0.0), ("distance", -3.0)])
@torch.no_grad()
def test_attention_is_that_of_a_slow_reference(name, slope):
    backbone = deit(name)
    wanted = reference(backbone, IMAGE, name == "rotary", slope)
    features = backbone(IMAGE, (2,))
    torch.testing.assert_close(features.tokens_BLD, wanted[:, 1:], rtol=1e-6, atol=1e-7)  # coordinates are float32
    torch.testing.assert_close(features.pooled_ND, wanted[:, 0], rtol=1e-6, atol=1e-7)
    assert torch.equal(features.hidden[0], features.tokens_BLD)
    without = reference(backbone, IMAGE, False, 0.0)
    assert (wanted - without).abs().max() > 1e-3


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("name", TOYS)
def test_recomputed_blocks_give_equal_gradients_of_all_parameters(name):
    found = []
    for recompute in (False, True):
        backbone = deit(name).train()
        backbone.checkpoint_module.set_grad_checkpointing(recompute)
        backbone(IMAGE).tokens_BLD.square().sum().backward()
        found.append({key: p.grad for key, p in backbone.named_parameters()})
    assert all(grad is not None and grad.any() for grad in found[0].values())
    assert all(torch.equal(grad, found[1][key]) for key, grad in found[0].items())
    assert "vit.pos_embed" not in found[0]


@pytest.mark.usefixtures("registered")
def test_a_backbone_without_attention_takes_additive_encodings_alone():
    size = MODEL_SPECS["adventurer_pico"]
    for name in ("rotary", "distance"):
        with pytest.raises(
            ConfigError, match=rf"^pos_embed {name} acts on .* attention, which Adventurer does not have"
        ):
            AdventurerBackbone(size, 8, 4, pos_embed=name)
    backbone = AdventurerBackbone(size, 8, 4, pos_embed="ramp")
    backbone.initialise(0)
    image = IMAGE.float()
    moved = backbone(image).tokens_BLD
    assert "pos_embed" not in backbone.checkpoint_module.state_dict()
    with torch.no_grad():
        backbone.checkpoint_module.positions.to_width.weight.zero_()
        backbone.checkpoint_module.positions.to_width.bias.zero_()
    assert not torch.allclose(backbone(image).tokens_BLD, moved)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("name", "backbone"), [("distance", "deit_pico"), ("ramp", "adventurer_pico")])
def test_a_run_trains_its_parameters_and_they_are_loaded_again(trained, name, backbone):
    config = make_config(
        backbone=backbone,
        pos_embed=name,
        img_size=16,
        patch_size=8,
        epochs=1,
        global_batch_size=8,
        num_train=16,
        num_val=8,
    )
    folder = trained(config) / config.run_id
    again = build_backbone(edit(config, initial_checkpoint=str(folder))).checkpoint_module.positions.state_dict()
    fresh = build_backbone(config).checkpoint_module.positions.state_dict()
    assert again.keys() == fresh.keys()
    assert all(not torch.equal(again[key], fresh[key]) for key in again)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("backbone", ["deit_pico", "adventurer_pico"])
def test_its_parameters_learn_with_the_embedding_and_do_not_decay(backbone):
    task = ClassificationTask(make_config(backbone=backbone, pos_embed="ramp", img_size=16, patch_size=8), 4)
    net = task.backbone.checkpoint_module
    of = {id(p): group for group in parameter_groups(task, 0.05, 1.0, 0.5) for p in group["params"]}
    weight, stem = of[id(net.positions.to_width.weight)], of[id(net.patch_embed.proj.weight)]
    assert (weight["lr"], weight["weight_decay"]) == (stem["lr"], 0.0)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 1000))
def test_a_rotation_keeps_lengths_and_its_products_depend_on_differences_alone(h, w, seed):
    """Two images of one patch more or less: equal gaps of coordinates give equal products."""
    from scaling.backbones.base import TokenLayout

    u, v = torch.randn(2, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    layout = TokenLayout(4, torch.device("cpu"), (h, w), leading=1)
    rows = u.expand(1, 1, h * w + 1, 8), v.expand(1, 1, h * w + 1, 8)
    q, k = (t[0, 0] for t in Rotary(None).rotate(*rows, layout, 0))
    assert torch.equal(q[0], u)
    torch.testing.assert_close(q.norm(dim=1), u.norm().expand(h * w + 1))
    products = (q[1:] @ k[1:].T).view(h, w, h, w)
    if h > 2:
        torch.testing.assert_close(products[1:, :, 1:], products[:-1, :, :-1], rtol=1e-5, atol=1e-5)


def test_the_registries_are_as_before_afterwards():
    added = ["learned", "sincos", "grid", "none", "sincos1d", "factorized", "fourier"]
    inside = ["rope", "rope_mixed", "relative", "relative_mlp", "rope_scan"]
    assert list(POSITION_ENCODINGS) == list(POS_EMBEDS) == [*added, *inside]
