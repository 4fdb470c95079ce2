"""The mixer as an operator of torch: its registrations, torch.compile without a break, torch.export, FLOPs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scaling import costs
from scaling.backbones.adventurer import Adventurer
from scaling.backbones.registry import build_backbone
from scaling.backbones.ssd import mixer_operator
from scaling.backbones.ssd.mamba2_mixer import mix
from scaling.backbones.ssd.mixer_operator import mixer
from scaling.config.edit import make_config
from scaling.model_specs import MODEL_SPECS
from tests.backbones.test_mix import EPS, error, inputs, segments, with_gradients

SMALL = MODEL_SPECS["adventurer_pico"]._replace(depth=3)  # the third flips


def as_operator(x, w, eps, ids):
    return mixer(x, *w, eps, ids)


@pytest.mark.parametrize("segmented", [False, True])
def test_its_registrations_pass_torchs_own_checks(segmented):
    x, w = inputs(2, 70, 0.1)
    ids = segments(2, 70, 0) if segmented else None
    leaves = [t.clone().requires_grad_() for t in (x, *w)]
    torch.library.opcheck(mixer, (*leaves, EPS, ids))


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("segmented", [False, True])
def test_numbers_and_gradients_are_those_of_the_functions(kept, segmented, monkeypatch):
    if not kept:
        monkeypatch.setattr(mixer_operator, "MAX_KEPT_ELEMENTS", 0)
    x, w = inputs(2, 150, 0.3)
    ids = segments(2, 150, 3) if segmented else None
    pairs = zip(with_gradients(as_operator, x, w, ids), with_gradients(mix, x, w, ids), strict=True)
    assert all(error(got, want) < 1e-12 for got, want in pairs)


def test_it_is_traced_without_a_break_for_any_length():
    x, w = inputs(2, 70, 0.1)
    compiled = torch.compile(lambda x: 2 * mix(3 * x, w, EPS), backend="aot_eager", fullgraph=True, dynamic=True)
    for length in (70, 33, 1):
        leaf = x[:, :length].clone().requires_grad_()
        y = compiled(leaf)
        y.square().sum().backward()
        plain = x[:, :length].clone().requires_grad_()
        right = 2 * mix(3 * plain, w, EPS)
        right.square().sum().backward()
        assert error(y, right) < 1e-12
        assert error(leaf.grad, plain.grad) < 1e-12


def test_an_adventurer_is_compiled_as_one_graph():
    torch.manual_seed(0)
    model, image = Adventurer(SMALL, 16, 4, 5).double(), torch.randn(2, 3, 16, 16).double()
    results = []
    for function in (model, torch.compile(model, backend="aot_eager", fullgraph=True)):
        model.zero_grad()
        logits = function(image)
        logits.square().sum().backward()
        results.append([logits.detach(), *(p.grad.clone() for p in model.parameters())])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["adventurer_pico", "deit_pico"])
@pytest.mark.parametrize("pos_embed", ["learned", "sincos"])
def test_backbones_are_exported_for_any_number_of_images(name, pos_embed):
    backbone = build_backbone(make_config(backbone=name, img_size=16, patch_size=4, pos_embed=pos_embed)).eval()

    class Pooled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = backbone

        def forward(self, image_BCHW):
            return self.backbone(image_BCHW).pooled_ND

    images = torch.randn(3, 3, 16, 16)
    exported = torch.export.export(Pooled(), (images[:2],), dynamic_shapes=({0: torch.export.Dim("images")},))
    for count in (1, 2, 3):
        torch.testing.assert_close(exported.module()(images[:count]), Pooled()(images[:count]))


def test_an_exported_adventurer_is_saved_and_loaded(tmp_path):
    model, images = Adventurer(SMALL, 16, 4, 5).eval(), torch.randn(3, 3, 16, 16)
    program = torch.export.export(model, (images[:2],), dynamic_shapes=({0: torch.export.Dim("images")},))
    torch.export.save(program, tmp_path / "model.pt2")
    found = torch.export.load(tmp_path / "model.pt2").module()(images)
    torch.testing.assert_close(found, model(images))


def test_on_tensors_without_numbers_flops_are_those_of_the_cost_model():
    name = "adventurer_nano"
    with torch.device("meta"):
        backbone = build_backbone(make_config(backbone=name, img_size=32, patch_size=4)).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone(torch.zeros(1, 3, 32, 32, device="meta"))
    assert counter.get_total_flops() == costs.flops(name, 32, 4, 0)


def test_a_backward_pass_is_counted_as_twice_the_forward_pass():
    x, w = inputs(1, 12, 0.1)
    leaves = [t.clone().requires_grad_() for t in (x, *w)]
    with FlopCounterMode(display=False) as counter:
        mixer(*leaves, EPS, None).sum().backward()
    counts = counter.get_flop_counts()["Global"]
    forward = counts[torch.ops.patch_scaling.mixer]
    assert counts[torch.ops.patch_scaling.mixer_backward] == 2 * forward
    inner, states = 12, 5
    assert forward == 2 * 12 * (3 * inner * states + 4 * (inner + 2 * states))
