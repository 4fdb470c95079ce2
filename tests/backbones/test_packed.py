"""Packed images against each image alone, for both backbones: features, gradients, stochastic depth, isolation."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from scaling.backbones import packed_attention
from scaling.backbones.drop_path import set_sample_keys
from scaling.backbones.packed_attention import attention_with_mask, attention_within_images, by_length, in_one_call
from scaling.backbones.registry import build_backbone
from scaling.config.edit import make_config
from scaling.errors import ConfigError
from scaling.packing.packed_images import pack
from scaling.rng import SampleKey

PATCH, LENGTH = 4, 20
CLASS_TOKENS = {"deit_pico": (1, 0), "adventurer_pico": (0, 1)}
SIDES = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=6)
BACKBONES = pytest.mark.parametrize("name", CLASS_TOKENS)


def built(name, dtype=torch.float64, **options):
    values = {"img_size": 16, "patch_size": PATCH, "pos_embed": "sincos", **options}
    backbone = build_backbone(make_config(backbone=name, **values))
    backbone.initialise(0)
    return backbone.to(dtype)


def images_of(grids, dtype=torch.float64, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(3, h * PATCH, w * PATCH, generator=draw, dtype=dtype) for h, w in grids]


def packed(name, images, **options):
    return pack(images, PATCH, LENGTH, CLASS_TOKENS[name], **options)


def assert_each_as_alone(backbone, name, images, tolerance, **options):
    found, first = backbone(packed(name, images, **options), blocks=(0, 1)), 0
    for number, image_CHW in enumerate(images):
        alone = backbone(image_CHW[None], blocks=(0, 1))
        own = slice(first, first + alone.tokens_BLD.shape[1])
        first = own.stop
        torch.testing.assert_close(found.pooled_ND[number], alone.pooled_ND[0], rtol=0, atol=tolerance)
        torch.testing.assert_close(found.tokens_BLD[0, own], alone.tokens_BLD[0], rtol=0, atol=tolerance)
        for packed_1LD, alone_1LD in zip(found.hidden, alone.hidden, strict=True):
            torch.testing.assert_close(packed_1LD[0, own], alone_1LD[0], rtol=0, atol=tolerance)


@BACKBONES
@pytest.mark.parametrize("pos_embed", ["sincos", "learned", "grid"])
@settings(max_examples=8)
@given(grids=SIDES, plan=st.sampled_from(["first-fit", "balanced"]), trim=st.booleans())
def test_the_features_of_each_image_are_those_of_the_image_alone(name, pos_embed, grids, plan, trim):
    backbone = built(name, pos_embed=pos_embed)
    assert_each_as_alone(backbone, name, images_of(grids), 1e-10, plan=plan, trim=trim)


@pytest.mark.parametrize(
    ("pos_embed", "options"),
    [
        ("rope", {"rope_transfer": "yarn"}),
        ("rope", {"rope_transfer": "ntk", "learned_table": True}),
        ("rope_mixed", {}),
        ("relative", {}),
        ("relative_mlp", {"learned_table": True}),
    ],
)
@settings(max_examples=6)
@given(grids=SIDES)
def test_so_are_those_with_positions_inside_attention_and_their_gradients(pos_embed, options, grids):
    """The first training had images of two patches a side, so that most of these are extended."""
    backbone, images = built("deit_pico", pos_embed=pos_embed, img_size=8, **options), images_of(grids)
    for parameter in backbone.vit.positions.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    assert_each_as_alone(backbone, "deit_pico", images, 1e-10)
    found = []
    for pooled in (backbone(packed("deit_pico", images)).pooled_ND, [backbone(i[None]).pooled_ND[0] for i in images]):
        backbone.zero_grad()
        sum(x_D.square().sum() for x_D in pooled).backward()
        found.append({key: p.grad.clone() for key, p in backbone.vit.positions.named_parameters()})
    for key, grad in found[0].items():
        torch.testing.assert_close(grad, found[1][key], rtol=1e-8, atol=1e-10, msg=key)


def test_images_of_equal_length_and_unequal_grids_have_their_own_biases():
    backbone = built("deit_pico", pos_embed="relative")
    assert_each_as_alone(backbone, "deit_pico", images_of([(2, 3), (3, 2), (1, 6), (6, 1), (2, 3)]), 1e-10)


@BACKBONES
def test_in_float32_they_agree_to_1e_5(name):
    images = images_of([(4, 4), (1, 3), (2, 2), (3, 1), (2, 2)], torch.float32)
    assert_each_as_alone(built(name, torch.float32), name, images, 1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("deit3_small", {}),
        ("adventurer_pico", {"scan_direction": "alternate"}),
        ("deit_pico", {"patch_embed": "flexible", "kernel_size": 8}),
    ],
)
def test_so_do_other_forms_of_the_backbones(name, options):
    backbone = built(name, pos_embed="learned", **options)
    images = images_of([(4, 4), (1, 3), (2, 2)])
    found = backbone(pack(images, PATCH, LENGTH, CLASS_TOKENS.get(name, (1, 0))))
    for number, image_CHW in enumerate(images):
        torch.testing.assert_close(found.pooled_ND[number], backbone(image_CHW[None]).pooled_ND[0], rtol=0, atol=1e-10)


@BACKBONES
@settings(max_examples=5)
@given(grids=SIDES)
def test_the_gradients_of_all_parameters_are_those_of_the_images_one_by_one(name, grids):
    backbone, images = built(name, pos_embed="grid"), images_of(grids)  # timm resamples learned ones in float32

    def gradients(pooled):
        backbone.zero_grad()
        sum(x_D.square().sum() for x_D in pooled).backward()
        return {key: p.grad.clone() for key, p in backbone.named_parameters() if p.grad is not None}

    together = gradients(backbone(packed(name, images)).pooled_ND)
    alone = gradients([backbone(image_CHW[None]).pooled_ND[0] for image_CHW in images])
    assert together.keys() == alone.keys()
    for key, grad in alone.items():
        torch.testing.assert_close(together[key], grad, rtol=1e-8, atol=1e-10, msg=key)


@BACKBONES
def test_another_image_of_the_row_changes_nothing_and_gets_no_gradient(name):
    backbone, images = built(name), images_of([(2, 2), (1, 3), (2, 3)])
    rows = packed(name, images, plan="first-fit")
    assert len(rows.rows.rows) == 1
    wanted_ND = backbone(rows).pooled_ND
    images[1] = images[1] * 100
    changed = packed(name, images, plan="first-fit")
    changed.patch_LP.requires_grad_()
    found_ND = backbone(changed).pooled_ND
    # The scan of Adventurer has chunks whose length depends on the values, so last bits may differ.
    torch.testing.assert_close(found_ND[[0, 2]], wanted_ND[[0, 2]], rtol=0, atol=1e-12)
    assert not torch.allclose(found_ND[1], wanted_ND[1])
    found_ND[2].sum().backward()
    assert changed.patch_LP.grad[:7].abs().max() < 1e-12
    assert changed.patch_LP.grad[7:].any()


@BACKBONES
def test_permuted_images_have_permuted_features(name):
    backbone, images = built(name), images_of([(2, 2), (1, 3), (2, 3), (4, 4), (2, 2)])
    order = [3, 0, 4, 2, 1]
    found_ND = backbone(packed(name, [images[i] for i in order])).pooled_ND
    torch.testing.assert_close(found_ND, backbone(packed(name, images)).pooled_ND[order], rtol=0, atol=1e-12)


@BACKBONES
def test_stochastic_depth_drops_the_same_images_as_without_packing(name):
    backbone = built(name, drop_path=0.5).train()
    images, keys = images_of([(2, 2)] * 6), [SampleKey(0, i) for i in range(6)]
    set_sample_keys(backbone, keys, 3)
    apart = backbone(torch.stack(images)).pooled_ND
    together = backbone(packed(name, images)).pooled_ND
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-12)
    assert not torch.allclose(apart, backbone.eval()(torch.stack(images)).pooled_ND)


@BACKBONES
def test_gradient_checkpointing_changes_nothing(name):
    backbone, images = built(name), images_of([(2, 2), (1, 3)])
    wanted = backbone(packed(name, images)).pooled_ND
    backbone.checkpoint_module.set_grad_checkpointing(True)
    assert torch.equal(backbone(packed(name, images)).pooled_ND, wanted)


@given(grids=SIDES)
def test_attention_within_images_is_attention_under_a_mask(grids):
    rows = pack(images_of(grids), PATCH, LENGTH, (1, 0)).rows
    draw = torch.Generator().manual_seed(1)
    shape = (len(rows.rows), 2, rows.row_length, 3)
    qkv = [torch.randn(shape, generator=draw, dtype=torch.float64) for _ in range(3)]
    torch.testing.assert_close(attention_within_images(*qkv, rows), attention_with_mask(*qkv, rows), rtol=0, atol=1e-12)


def one_after_the_other(q_THP, k_THP, v_THP, borders_q, borders_k, longest_q, longest_k):
    """What the kernel for images of any lengths is stated to do."""
    assert borders_q.dtype == borders_k.dtype == torch.int32
    lengths = borders_q.diff().tolist()
    assert max(lengths) == longest_q == longest_k
    assert borders_q[0] == 0
    parts = zip(*(x_THP.split(lengths) for x_THP in (q_THP, k_THP, v_THP)), strict=True)
    found = [scaled_dot_product_attention(*(x_tHP.transpose(0, 1) for x_tHP in part)) for part in parts]
    return torch.cat([y_HtP.transpose(0, 1) for y_HtP in found])


@settings(max_examples=10)
@given(grids=SIDES)
def test_attention_in_one_call_for_images_of_any_lengths_is_that_by_length(grids):
    rows = pack(images_of(grids), PATCH, LENGTH, (1, 0)).rows
    draw = torch.Generator().manual_seed(1)
    qkv_TXHP = torch.randn(sum(rows.lengths), 3, 2, 5, generator=draw, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_attention, "varlen_attn", one_after_the_other)
        found = in_one_call(qkv_TXHP, rows)
    torch.testing.assert_close(found, by_length(qkv_TXHP, rows), rtol=0, atol=1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_so_is_that_of_the_kernel_on_a_gpu(dtype):
    rows = pack(images_of([(4, 4), (1, 3), (2, 2), (3, 1)]), PATCH, LENGTH, (1, 0)).rows
    draw = torch.Generator().manual_seed(1)
    qkv_TXHP = torch.randn(sum(rows.lengths), 3, 2, 16, generator=draw).to("cuda", dtype).requires_grad_()
    assert packed_attention.has_kernel(qkv_TXHP)
    found, expected = in_one_call(qkv_TXHP, rows), by_length(qkv_TXHP, rows)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-2)
    (gradient,), (right,) = (torch.autograd.grad(y.sum(), qkv_TXHP) for y in (found, expected))
    torch.testing.assert_close(gradient, right, rtol=0, atol=2e-2)


@pytest.mark.gpu
@BACKBONES
def test_features_on_a_gpu_are_those_on_the_cpu(name):
    images = packed(name, images_of([(4, 4), (1, 3), (2, 2), (3, 1)], torch.float32))
    backbone = built(name, torch.float32)
    expected = backbone(images).pooled_ND
    found = backbone.cuda()(dataclasses.replace(images, patch_LP=images.patch_LP.cuda())).pooled_ND
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-3)


def test_patches_of_another_size_and_extended_embeddings_are_refused():
    images = pack(images_of([(2, 2)]), PATCH, LENGTH, (1, 0))
    with pytest.raises(ConfigError, match=r"^the images are packed in patches of 4 px; the embedding is at 8 px"):
        built("deit_pico", patch_size=8)(images)
    with pytest.raises(ConfigError, match=r"^an extended embedding interpolates maps"):
        built("deit_pico", patch_embed="extended", embed_patch_size=8)(images)


def test_timms_own_backbones_refuse_them():
    backbone = build_backbone(make_config(backbone="timm:vit_tiny_patch16_224", img_size=32, patch_size=16))
    with pytest.raises(ConfigError, match=r"^timm's backbones take images of one size"):
        backbone(pack(images_of([(2, 2)]), PATCH, LENGTH))
