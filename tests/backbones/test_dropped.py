"""Packed images with dropped patches against each image alone with the patches that it keeps, for both backbones."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.backbones.deit import Deit
from scaling.errors import ConfigError
from scaling.packing.packed_images import pack
from tests.backbones.test_packed import BACKBONES, CLASS_TOKENS, PATCH, built, images_of

GRID = st.tuples(st.integers(1, 4), st.integers(1, 4))
IMAGES = st.lists(
    GRID.flatmap(lambda g: st.tuples(st.just(g), st.sets(st.integers(0, g[0] * g[1] - 1), min_size=1).map(sorted))),
    min_size=1,
    max_size=5,
)
MIXED = [((4, 4), [0, 3, 5, 6, 15]), ((1, 3), [1]), ((2, 2), [0, 1, 2, 3]), ((3, 1), [0, 2]), ((2, 4), [2, 3, 4])]


def together(name, pictures, kept, **options):
    return pack(pictures, PATCH, 20, CLASS_TOKENS[name], kept=tuple(map(np.array, kept)), **options)


def alone(backbone, picture, kept):
    """(pooled, tokens) of one image, written out: its patches are embedded and get their positions in the whole image;
    only then those that are dropped leave, and the blocks run on one unpacked row."""
    net, trailing = backbone.checkpoint_module, not isinstance(backbone, Deit)
    patches, layout = net.patch_embed(picture[None])
    if trailing:
        x_1TD, layout = layout.with_class_tokens(patches, trailing_1XD=net.cls_token)
        chosen, blocks, norm = [*kept, patches.shape[1]], net.layers, net.norm_f
    else:
        x_1TD, layout = layout.with_class_tokens(patches, net.cls_token)
        chosen, blocks, norm = [0, *(k + 1 for k in kept)], net.blocks, net.norm
    x_1TD = net.positions.add(x_1TD, layout, net.pos_embed)[:, chosen]
    for block in blocks:
        x_1TD = block(x_1TD)
    x_TD = norm(x_1TD)[0]
    return (x_TD[-1], x_TD[:-1]) if trailing else (x_TD[0], x_TD[1:])


@BACKBONES
@pytest.mark.parametrize("pos_embed", ["sincos", "learned", "grid", "factorized", "fourier"])
@settings(max_examples=6)
@given(images=IMAGES, plan=st.sampled_from(["first-fit", "balanced"]))
def test_the_features_of_each_image_are_those_of_its_kept_patches_alone(name, pos_embed, images, plan):
    backbone, pictures = built(name, pos_embed=pos_embed), images_of([grid for grid, _ in images])
    found, first = backbone(together(name, pictures, [kept for _, kept in images], plan=plan)), 0
    for number, (picture, (_, kept)) in enumerate(zip(pictures, images, strict=True)):
        pooled, tokens = alone(backbone, picture, kept)
        own = slice(first, first + len(kept))
        first = own.stop
        torch.testing.assert_close(found.pooled_ND[number], pooled, rtol=0, atol=1e-10)
        torch.testing.assert_close(found.tokens_BLD[0, own], tokens, rtol=0, atol=1e-10)


@pytest.mark.parametrize("pos_embed", ["rope", "rope_mixed"])
def test_rotations_of_kept_patches_are_those_of_their_places_in_the_whole_image(pos_embed):
    """Logits of all patches of the image alone, of which those of the kept ones are taken: attention over the others is
    cut by -inf."""
    backbone, pictures = built("deit_pico", pos_embed=pos_embed), images_of([grid for grid, _ in MIXED])
    found = backbone(together("deit_pico", pictures, [kept for _, kept in MIXED])).pooled_ND
    net = backbone.checkpoint_module
    for number, (picture, (grid, kept)) in enumerate(zip(pictures, MIXED, strict=True)):
        patches, layout = net.patch_embed(picture[None])
        x_1TD, layout = layout.with_class_tokens(patches, net.cls_token)
        dropped = [1 + k for k in range(grid[0] * grid[1]) if k not in kept]
        mask = torch.zeros(1, 1, x_1TD.shape[1], x_1TD.shape[1], dtype=torch.float64)
        mask[..., dropped] = -torch.inf
        for n, block in enumerate(net.blocks):
            x_1TD = block(x_1TD, mask, False, lambda q, k, n=n, its=layout: net.positions.rotate(q, k, its, n))
        torch.testing.assert_close(found[number], net.norm(x_1TD)[0, 0], rtol=0, atol=1e-10)


def test_relative_biases_refuse_dropped_patches():
    backbone, pictures = built("deit_pico", pos_embed="relative"), images_of([grid for grid, _ in MIXED])
    with pytest.raises(ConfigError, match=r"^relative biases are of whole images, and tokens are dropped"):
        backbone(together("deit_pico", pictures, [kept for _, kept in MIXED]))


@BACKBONES
def test_the_reference_is_the_backbone_where_all_patches_are_kept(name):
    backbone, (picture,) = built(name), images_of([(2, 3)])
    wanted = backbone(picture[None])
    pooled, tokens = alone(backbone, picture, range(6))
    torch.testing.assert_close(wanted.pooled_ND[0], pooled, rtol=0, atol=1e-12)
    torch.testing.assert_close(wanted.tokens_BLD[0], tokens, rtol=0, atol=1e-12)


@BACKBONES
def test_the_gradients_of_all_parameters_are_those_of_the_images_one_by_one(name):
    backbone, pictures = built(name, pos_embed="grid"), images_of([grid for grid, _ in MIXED])

    def gradients(pooled):
        backbone.zero_grad()
        sum(x_D.square().sum() for x_D in pooled).backward()
        return {key: p.grad.clone() for key, p in backbone.named_parameters() if p.grad is not None}

    kept = [kept for _, kept in MIXED]
    packed = gradients(backbone(together(name, pictures, kept)).pooled_ND)
    apart = gradients([alone(backbone, *one)[0] for one in zip(pictures, kept, strict=True)])
    assert packed.keys() == apart.keys()
    for key, grad in apart.items():
        torch.testing.assert_close(packed[key], grad, rtol=1e-8, atol=1e-10, msg=key)


@BACKBONES
def test_dropped_pixels_change_nothing_and_have_no_gradient(name):
    backbone, pictures = built(name), images_of([grid for grid, _ in MIXED])
    kept = [kept for _, kept in MIXED]
    for picture in pictures:
        picture.requires_grad_()
    wanted_ND = backbone(together(name, pictures, kept)).pooled_ND
    wanted_ND.square().sum().backward()
    for picture, (grid, of_image) in zip(pictures, MIXED, strict=True):
        by_patch = picture.grad.view(3, grid[0], PATCH, grid[1], PATCH).abs().amax((0, 2, 4)).flatten()
        assert by_patch.nonzero().flatten().tolist() == of_image
    with torch.no_grad():
        for picture, (grid, of_image) in zip(pictures, MIXED, strict=True):
            dropped = torch.ones(grid[0] * grid[1], dtype=torch.bool)
            dropped[of_image] = False
            of_pixels = dropped.view(grid).repeat_interleave(PATCH, 0).repeat_interleave(PATCH, 1)
            picture[:, of_pixels] = 1e3
    assert torch.equal(backbone(together(name, pictures, kept)).pooled_ND, wanted_ND)


def test_the_heading_average_is_over_kept_tokens_and_a_reversal_is_of_them():
    backbone = built("adventurer_pico")
    blocks = list(backbone.net.layers)
    assert {block.flip for block in blocks} == {False, True}
    seen = []
    for block in blocks:
        block.mixer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        block.norm.register_forward_hook(lambda module, args, out: seen.append(out))
    (picture,), kept = images_of([(4, 4)]), [1, 2, 7, 12]
    backbone(together("adventurer_pico", [picture], [kept]))
    for block, normed, mixed in zip(blocks, seen[::2], seen[1::2], strict=True):
        patches, last = normed[0, :-1], normed[0, -1:]
        wanted = torch.cat([normed[0].mean(0, keepdim=True), patches.flip(0) if block.flip else patches, last])
        torch.testing.assert_close(mixed[0], wanted, rtol=0, atol=1e-12)
