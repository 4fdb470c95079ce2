"""Maps at fixed strides from a backbone at any patch: their sizes, their places, and how large anything gets."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from scaling.heads.feature_pyramid import FeaturePyramid, num_upsamples

PATCHES = (1, 2, 4, 8, 14, 16, 32, 64)
STRIDES = (4, 8, 16, 32)
WIDTH = 3


def pyramid(patch, strides=STRIDES, width=WIDTH):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FeaturePyramid(width, patch, strides)


def grid(patch, size, seed=0, width=WIDTH, batch=2):
    """A map as backbones hand it on: a strided view of tokens (B, L, D)."""
    h, w = (math.ceil(side / patch) for side in size)
    g = torch.Generator().manual_seed(seed)
    return torch.randn(batch, h * w, width, generator=g).transpose(1, 2).unflatten(-1, (h, w))


def ramp(patch, size):
    """(1, 3, h, w): where each patch's middle lies in the image, its row and its column [px], and a constant."""
    y, x = ((torch.arange(side // patch) + 0.5) * patch for side in size)
    return torch.stack([*torch.meshgrid(y, x, indexing="ij"), torch.full((len(y), len(x)), 7.0)])[None]


def pooled_ref(map_BDhw, target):
    """Each cell is the mean of every token that it touches."""
    (h, w), (n, m) = map_BDhw.shape[-2:], target
    out = torch.zeros(*map_BDhw.shape[:2], n, m)
    for i in range(n):
        rows = slice(i * h // n, math.ceil((i + 1) * h / n))
        for j in range(m):
            out[..., i, j] = map_BDhw[..., rows, j * w // m : math.ceil((j + 1) * w / m)].mean((-2, -1))
    return out


class Largest(TorchDispatchMode):
    """The most cells that any tensor made inside has, of one image and one channel."""

    def __init__(self):
        super().__init__()
        self.cells = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        views = {t.untyped_storage().data_ptr() for t in args if isinstance(t, torch.Tensor)}
        if isinstance(out, torch.Tensor) and out.untyped_storage().data_ptr() not in views and out.ndim == 4:
            self.cells = max(self.cells, out.numel() // (out.shape[0] * WIDTH))
        return out


def test_every_stride_gets_its_map_contiguous():
    for patch in PATCHES:
        for strides in (STRIDES, (*STRIDES, 64)):
            neck = pyramid(patch, strides)
            for h, w in ((128, 128), (64, 192), (100, 67), (33, 1)):
                maps, of = neck([grid(patch, (h, w))], (h, w)), (patch, strides, h, w)
                assert [m.shape for m in maps] == [(2, WIDTH, math.ceil(h / s), math.ceil(w / s)) for s in strides], of
                assert all(m.is_contiguous() and m.isfinite().all() for m in maps), of


@pytest.mark.parametrize("patch", PATCHES)
def test_gradients_reach_every_weight_and_every_token_of_every_map(patch):
    neck = pyramid(patch)
    maps = [grid(patch, (128, 192), seed).requires_grad_() for seed in range(4)]
    sum((m * torch.randn(m.shape)).sum() for m in neck(maps, (128, 192))).backward()
    for name, p in neck.named_parameters():
        assert p.grad.abs().sum() > 0, name
    assert all(m.grad.abs().sum((0, 1)).min() > 0 for m in maps)


@pytest.mark.parametrize("patch", PATCHES)
def test_each_stride_is_made_of_its_own_map(patch):
    neck, size = pyramid(patch), (128, 128)
    maps = [grid(patch, size, seed) for seed in range(4)]
    together = neck(maps, size)
    for n, got in enumerate(together):
        torch.testing.assert_close(got, neck([maps[n]], size)[n], rtol=0, atol=0)


def test_the_number_of_octaves_follows_from_the_stride():
    times = {patch: [num_upsamples(patch, s) for s in STRIDES] for patch in PATCHES}
    assert times == {
        **{patch: [0, 0, 0, 0] for patch in (1, 2, 4)},
        8: [1, 0, 0, 0],
        14: [1, 0, 0, 0],
        16: [2, 1, 0, 0],
        32: [3, 2, 1, 0],
        64: [4, 3, 2, 1],
    }
    for patch, strides in times.items():
        for s, n in zip(STRIDES, strides, strict=True):
            assert n == max(math.floor(math.log2(patch / s)), 0)


def test_at_patch_16_it_is_the_pyramid_of_vitdet():
    """Transposed convolutions for the two finer maps, a norm and a GELU between the first's, nothing else."""
    kinds = {s: [type(m).__name__ for m in steps] for s, steps in pyramid(16).up.items()}
    twice = ["ConvTranspose2d", "LayerNorm2d", "GELU", "ConvTranspose2d"]
    assert kinds == {"4": twice, "8": ["ConvTranspose2d"], "16": [], "32": []}
    map_BDhw = grid(16, (64, 64))
    assert torch.equal(pyramid(16)([map_BDhw], (64, 64))[2], map_BDhw)


@pytest.mark.parametrize("patch", PATCHES)
def test_nothing_is_built_that_is_larger_than_stride_4_needs(patch):
    side = 518 if patch == 14 else 512
    neck, map_BDhw = pyramid(patch), grid(patch, (side, side), batch=1)
    if patch == 2:
        assert map_BDhw[0, 0].numel() == 65_536
    largest = Largest()
    with torch.no_grad(), largest:
        neck([map_BDhw], (side, side))
    assert largest.cells == math.ceil(side / 4) ** 2 <= 130**2


@settings(deadline=None, derandomize=True, max_examples=40)
@given(patch=st.sampled_from(PATCHES), sides=st.tuples(*[st.integers(1, 100)] * 2), seed=st.integers(0, 99))
def test_coarser_maps_are_the_means_of_the_tokens_they_touch(patch, sides, seed):
    map_BDhw = grid(patch, sides, seed)
    maps = pyramid(patch)([map_BDhw], sides)
    for s, got in zip(STRIDES, maps, strict=True):
        if s >= patch:
            torch.testing.assert_close(got, pooled_ref(map_BDhw, got.shape[-2:]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("patch", [p for p in PATCHES if p < 32])
def test_pooling_keeps_constants_and_where_things_lie(patch):
    """Where a stride is so many patches, a cell's middle is the mean of the middles that it covers."""
    size = (448, 896)
    for s, map_BDhw in zip(STRIDES, pyramid(patch)([ramp(patch, size)], size), strict=True):
        if s >= patch:
            assert map_BDhw[:, 2].sub(7).abs().max() < 1e-4
            tolerance = 1e-2 if s % patch == 0 else patch  # else a cell takes in tokens that are partly outside
            assert (map_BDhw[:, :2] - ramp(s, size)[:, :2]).abs().max() <= tolerance


@pytest.mark.parametrize("size", [(112, 112), (112, 280)])
def test_stretching_to_an_odd_ratio_keeps_constants_and_where_things_lie(size):
    """Patch 14 to stride 8: no convolution, 1.75 times as many cells, exact but within half a patch of the edge."""
    map_BDhw = pyramid(14)([ramp(14, size)], size)[1]
    error = (map_BDhw - ramp(8, size)).abs()
    assert error[:, 2].max() < 1e-4
    assert error[:, :, 1:-1, 1:-1].max() < 1e-3
    assert error.max() <= 7


@pytest.mark.parametrize("size", [(32, 64), (37, 29)])
@pytest.mark.parametrize("built_for", [2, 8, 16])
def test_a_map_of_another_stride_is_brought_to_the_one_it_is_built_for_and_then_treated_alike(built_for, size):
    neck = pyramid(built_for)
    own_grid = tuple(math.ceil(side / built_for) for side in size)
    for patch in PATCHES:
        map_BDhw = grid(patch, size)
        enlarged = map_BDhw.shape[-1] < own_grid[1] or map_BDhw.shape[-2] < own_grid[0]
        at_own = resized_ref(map_BDhw, own_grid) if enlarged else pooled_ref(map_BDhw, own_grid)
        for s, got in zip(STRIDES, neck([map_BDhw], size), strict=True):
            target = tuple(math.ceil(side / s) for side in size)
            if num_upsamples(built_for, s):
                want = neck([at_own], size)[STRIDES.index(s)]
            elif map_BDhw.shape[-1] < target[1] or map_BDhw.shape[-2] < target[0]:
                want = resized_ref(map_BDhw, target)
            else:
                want = pooled_ref(map_BDhw, target)
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5, msg=lambda m, of=(patch, s): f"{of}: {m}")


def resized_ref(map_BDhw, target):
    """Bilinear, from the four nearest cells of every place."""
    (h, w), (n, m) = map_BDhw.shape[-2:], target
    out = torch.zeros(*map_BDhw.shape[:2], n, m)
    for i in range(n):
        for j in range(m):
            y, x = (min(max((k + 0.5) * a / b - 0.5, 0), a - 1) for k, a, b in ((i, h, n), (j, w, m)))
            top, left = int(y), int(x)
            for row, down in ((top, 1 - (y - top)), (min(top + 1, h - 1), y - top)):
                for column, across in ((left, 1 - (x - left)), (min(left + 1, w - 1), x - left)):
                    out[..., i, j] += down * across * map_BDhw[..., row, column]
    return out


@pytest.mark.parametrize("built_for", [1, 8, 16])
def test_no_stride_of_the_backbone_makes_a_map_that_is_larger_than_stride_4_needs(built_for):
    neck = pyramid(built_for)
    for patch in (2, 4, 8, 16, 32):
        map_BDhw, largest = grid(patch, (128, 128), batch=1), Largest()
        with torch.no_grad(), largest:
            neck([map_BDhw], (128, 128))
        assert largest.cells == 32**2, patch


def test_doubling_keeps_where_things_lie():
    """A transposed convolution whose four taps are the identity repeats each token in the four cells it covers."""
    neck = pyramid(14)
    with torch.no_grad():
        neck.up["4"][0].weight.copy_(torch.eye(WIDTH)[..., None, None].expand(-1, -1, 2, 2))
        neck.up["4"][0].bias.zero_()
        map_BDhw = neck([ramp(14, (112, 112))], (112, 112))[0]
    error = (map_BDhw - ramp(4, (112, 112))).abs()
    assert error[:, 2].max() < 1e-4
    assert error.max() <= 7  # half a patch


def test_a_map_does_not_depend_on_what_else_is_in_the_batch():
    neck, map_BDhw = pyramid(64).double(), grid(64, (128, 192), batch=3).double()
    for together, alone in zip(neck([map_BDhw], (128, 192)), neck([map_BDhw[1:2]], (128, 192)), strict=True):
        torch.testing.assert_close(together[1:2], alone, rtol=1e-10, atol=1e-10)


def test_what_cannot_be_served_is_said_with_its_numbers():
    with pytest.raises(ValueError, match="2 maps for strides"):
        pyramid(16)([grid(16, (64, 64))] * 2, (64, 64))
    for width, stride, strides in ((0, 16, STRIDES), (8, 0, STRIDES), (8, 16, (0, 4)), (8, 16, ())):
        with pytest.raises(ValueError, match="must be 1 or more"):
            FeaturePyramid(width, stride, strides)
