"""Adaptive patches beside slow tokens, beside the model of one patch size, and alone beside in a batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.backbones.adaptive_embed import leaf_counts
from scaling.backbones.base import TokenLayout
from scaling.backbones.patch_embeds import build_patch_embed
from scaling.backbones.registry import build_backbone
from scaling.backbones.resampling import resize_kernel, resize_matrix
from scaling.config.edit import edit, make_config
from scaling.errors import ConfigError
from scaling.packing.packed_images import PackedImages
from scaling.packing.packed_rows import PackedRows
from tests.backbones.test_quadtree import slow_leaves

BACKBONES = pytest.mark.parametrize("name", ["deit_pico", "adventurer_pico"])
ADDED = ("none", "learned", "sincos", "grid", "sincos1d", "factorized", "fourier")
POSITIONS = [
    *(("deit_pico", kind) for kind in (*ADDED, "rope", "rope_mixed")),
    *(("adventurer_pico", k) for k in ADDED),
]
EXACT = {"rtol": 0, "atol": 1e-10}


def noise(images=3, side=16, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(images, 3, side, side, dtype=torch.float64, generator=draw)


def some_flat(seed=0):
    """Four images: all noise, half of it flat, noise in a corner, flat; with ever fewer leaves."""
    image_BCHW = noise(4, seed=seed)
    image_BCHW[1, :, 8:] = image_BCHW[2, :, 2:] = image_BCHW[2, :, :2, 2:] = image_BCHW[3] = 0.5
    return image_BCHW


def built(name="deit_pico", **options):
    values = {"img_size": 16, "patch_size": 2, "patch_embed": "adaptive", "pos_embed": "sincos", **options}
    model = build_backbone(make_config(backbone=name, **values)).double()
    with torch.no_grad():
        embed = model.checkpoint_module.patch_embed
        if hasattr(embed, "size_embed"):
            embed.size_embed.copy_(torch.linspace(-1, 1, embed.size_embed.numel()).view_as(embed.size_embed))
    return model


def test_tokens_are_those_of_slow_leaves_row_by_row_of_their_centres():
    embed = built().checkpoint_module.patch_embed
    image_BCHW = some_flat()
    tokens_1LD, layout = embed(image_BCHW)
    wanted, centres = [], []
    for image_CHW in image_BCHW:
        found = slow_leaves(image_CHW, [8, 4, 2], 0.25, 0, "variance")
        for top, left, side in sorted(found, key=lambda leaf: (leaf[0] + leaf[2] / 2, leaf[1] + leaf[2] / 2)):
            kernel = resize_kernel(embed.proj.weight, side)
            pixels = image_CHW[:, top : top + side, left : left + side]
            wanted.append((kernel * pixels).sum((1, 2, 3)) + embed.proj.bias + embed.size_embed[[8, 4, 2].index(side)])
            centres.append([(top + side / 2) / 2, (left + side / 2) / 2])
    torch.testing.assert_close(tokens_1LD[0], torch.stack(wanted), **EXACT)
    assert layout.centres_BL2[0].tolist() == centres
    torch.testing.assert_close(layout.coords_BL2[0], torch.tensor(centres) / 8)
    assert len(set(layout.rows.patch_counts)) > 2


def test_a_leaf_has_the_token_of_the_smallest_patch_of_the_coarsest_side_that_it_is_the_reduction_of():
    embed = build_patch_embed("adaptive", 3, 8, 16, 2).double()
    reduce = torch.from_numpy(resize_matrix(8, 4, antialias=True))
    leaf, enlarge = noise(1, 4), torch.linalg.pinv(reduce)
    large = enlarge @ leaf @ enlarge.T
    torch.testing.assert_close(reduce @ large @ reduce.T, leaf, **EXACT)
    kernel = resize_kernel(embed.proj.weight, 4)
    torch.testing.assert_close((kernel * leaf).sum((1, 2, 3)), (embed.proj.weight * large).sum((1, 2, 3)), **EXACT)


@pytest.mark.parametrize(("name", "pos_embed"), POSITIONS)
def test_leaves_of_one_size_are_the_model_of_that_patch(name, pos_embed):
    """All the finest, and all the coarsest, beside one kernel at that patch."""
    one = {"patch_embed": "flexible", "kernel_size": 8, "pos_embed": pos_embed}
    plain, image_BCHW = built(name, **one), noise()
    for side, options in ((2, {"leaf_share": 1.0}), (8, {"split_threshold": 1e30})):
        model = built(name, pos_embed=pos_embed, **options)
        model.checkpoint_module.patch_embed.size_embed.data.zero_()
        missing, unexpected = model.checkpoint_module.load_state_dict(
            plain.checkpoint_module.state_dict(), strict=False
        )
        assert (missing, unexpected) == (["patch_embed.size_embed"], [])
        found, wanted = model(image_BCHW, (0,)), plain(image_BCHW, (0,), patch_size=side)
        torch.testing.assert_close(found.pooled_ND, wanted.pooled_ND, **EXACT)
        torch.testing.assert_close(found.tokens_BLD[0].view_as(wanted.tokens_BLD), wanted.tokens_BLD, **EXACT)
        times = side // 2
        for ours, theirs in ((found.to_map(), wanted.to_map()), (found.hidden_maps()[0], wanted.hidden_maps()[0])):
            enlarged = theirs.repeat_interleave(times, 2).repeat_interleave(times, 3)
            torch.testing.assert_close(ours, enlarged, **EXACT)


@settings(max_examples=4)
@given(seed=st.integers(0, 99), share=st.sampled_from([0.15, 0.25, 0.8]))
@pytest.mark.parametrize(("name", "pos_embed"), [*POSITIONS[1:3], POSITIONS[7], *POSITIONS[-6:-4]])
def test_each_image_is_as_alone(name, pos_embed, seed, share):
    model, image_BCHW = built(name, pos_embed=pos_embed, leaf_share=share), some_flat(seed=seed)
    together, first = model(image_BCHW, (0, 1)), 0
    assert together.layout.rows.patch_counts[0] > together.layout.rows.patch_counts[3]
    for n, image_CHW in enumerate(image_BCHW):
        alone = model(image_CHW[None], (0, 1))
        own = slice(first, first + alone.tokens_BLD.shape[1])
        first = own.stop
        torch.testing.assert_close(together.pooled_ND[n], alone.pooled_ND[0], **EXACT)
        torch.testing.assert_close(together.tokens_BLD[0, own], alone.tokens_BLD[0], **EXACT)
        torch.testing.assert_close(together.to_map()[n], alone.to_map()[0], **EXACT)
        for ours, theirs in zip(together.hidden, alone.hidden, strict=True):
            torch.testing.assert_close(ours[0, own], theirs[0], **EXACT)


@BACKBONES
def test_gradients_of_a_batch_are_the_sums_of_those_of_each_image(name):
    model, image_BCHW = built(name, pos_embed="learned", drop_path=0.0), some_flat()
    net = model.checkpoint_module
    model(image_BCHW).pooled_ND.square().sum().backward()
    together = {key: p.grad.clone() for key, p in net.named_parameters() if p.grad is not None}
    assert together["patch_embed.size_embed"].abs().sum(1).min() > 0
    model.zero_grad()
    for image_CHW in image_BCHW:
        model(image_CHW[None]).pooled_ND.square().sum().backward()
    for key, p in net.named_parameters():
        torch.testing.assert_close(together[key], p.grad, rtol=1e-9, atol=1e-10)


def test_every_cell_of_a_map_has_the_token_of_its_leaf():
    features, cells = built()(some_flat()), 0
    centre_L2, first = features.layout.centres_BL2[0], 0
    for n, count in enumerate(features.layout.rows.patch_counts):
        for token_D, (y, x) in zip(features.tokens_BLD[0, first:], centre_L2[first : first + count], strict=False):
            inside = features.to_map()[n][:, int(y), int(x)]  # one of the cells around the centre
            assert torch.equal(inside, token_D)
        first += count
        cells += features.to_map()[n][0].numel()
    assert first == features.tokens_BLD.shape[1] < cells
    packed = TokenLayout(2, torch.device("cpu"), rows=PackedRows([[0]], ((1, 1),), 0, 0, 1))
    with pytest.raises(ValueError, match="packed tokens have no map"):
        packed.to_map(torch.zeros(1, 1, 1))


@BACKBONES
def test_a_map_has_gradients(name):
    model = built(name)
    image_BCHW = some_flat()
    map_BDhw = model(image_BCHW).to_map()
    weight = noise(1, 64)[0, 0].flatten()[: map_BDhw[0, 0].numel()].view(map_BDhw.shape[2:])
    (map_BDhw * weight).sum().backward()
    assert model.checkpoint_module.patch_embed.proj.weight.grad.abs().sum() > 0


def test_leaves_are_counted_by_size():
    image_BCHW = some_flat()
    rows = built().checkpoint_module.patch_embed(image_BCHW)[1].rows
    found = [side for x in image_BCHW for *_, side in slow_leaves(x, [8, 4, 2], 0.25, 0, "variance")]
    assert leaf_counts(rows) == [found.count(side) for side in (8, 4, 2)]


@BACKBONES
def test_vectors_of_sizes_have_no_weight_decay(name):
    assert "patch_embed.size_embed" in built(name).no_weight_decay()


@BACKBONES
@pytest.mark.parametrize("options", [{"patch_embed": "conv"}, {"patch_embed": "flexible", "kernel_size": 8}])
def test_weights_of_one_patch_have_the_same_tokens_at_the_finest_leaves(name, options, tmp_path):
    plain = edit(make_config(backbone=name, img_size=16, patch_size=2), **options)
    path = tmp_path / "w.pth"
    torch.save(build_backbone(plain).checkpoint_module.state_dict(), path)
    config = edit(plain, patch_embed="adaptive", leaf_share=1.0, initial_checkpoint=str(path))
    found = build_backbone(config)(noise().float())
    wanted = build_backbone(edit(plain, initial_checkpoint=str(path)))(noise().float())
    torch.testing.assert_close(found.pooled_ND, wanted.pooled_ND, rtol=1e-4, atol=1e-4)
    torch.save(build_backbone(config).checkpoint_module.state_dict(), path)
    with pytest.raises(ConfigError, match=r"^these weights have leaves of 3 sizes, and this embedding of 2$"):
        build_backbone(edit(config, coarsest_leaf=4))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"coarsest_leaf": 12}, "^coarsest_leaf 12 must be patch_size 4 times 2, 4, 8 ..., such as 8, 16, 32$"),
        ({"coarsest_leaf": 4}, "^coarsest_leaf 4 must be patch_size 4 times 2"),
        ({"coarsest_leaf": 2}, "^coarsest_leaf 2 must be patch_size 4 times 2"),
        ({"leaf_share": 0.06}, "^leaf_share 0.06 allows fewer patches than an image has of 16 px; at least 0.0625"),
        ({"leaf_share": 1.5}, r"^leaf_share 1.5 must be in \(0, 1\]$"),
        ({"split_threshold": -1.0}, "^split_threshold -1.0 must be 0 or more$"),
        ({"split_by": "entropy"}, "^unknown split_by 'entropy'; there is: edges, turned, variance"),
        ({"patch_embed": "adaptive", "img_size": 24}, "^coarsest_leaf 16 does not divide a 24 px image"),
        ({"leaf_share": 0.5, "pos_embed": "relative"}, "^pos_embed relative has a bias per offset in a grid"),
        ({"leaf_share": 0.5, "pos_embed": "relative_mlp"}, "^pos_embed relative_mlp has a bias per offset"),
        ({"leaf_share": 0.5, "packing": "sequences"}, "^packing sequences needs --patch-embed conv, not adaptive$"),
        ({"patch_embed": "adaptive", "step_shapes": "random_patch"}, "set --patch-embed flexible$"),
        ({"backbone": "timm:vit_tiny_patch16_224", "patch_embed": "adaptive"}, "add --patch-embed conv$"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_a_line(fields, message):
    with pytest.raises(ConfigError, match=message) as error:
        make_config(**fields)
    assert "\n" not in str(error.value)


def test_images_that_do_not_fit_are_refused_in_a_line():
    embed = build_patch_embed("adaptive", 3, 8, 16, 2)
    with pytest.raises(ConfigError, match=r"^patches of 8 px do not tile images of 16 x 20 px; pad them first$"):
        embed(torch.zeros(1, 3, 16, 20))
    with pytest.raises(ConfigError, match=r"^patch 4 differs from 2, that of the finest leaves$"):
        embed(torch.zeros(1, 3, 16, 16), patch_size=4)
    with pytest.raises(ConfigError, match=r"^an adaptive embedding packs its own leaves"):
        embed(PackedImages.__new__(PackedImages))


def test_a_field_alone_chooses_the_embedding_and_patch_sizes_are_one_group():
    plain = make_config(patch_size=4)
    assert edit(plain, leaf_share=0.5).model.patch_embed.kind == "adaptive"
    groups = {edit(plain, patch_embed="adaptive", patch_size=patch).group for patch in (1, 2, 4)}
    assert len(groups) == 1
