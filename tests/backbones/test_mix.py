"""The inner part of a mixer against its one-token-at-a-time twin: outputs, gradients, segments, dtypes, memory."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.backbones.ssd import mamba2_mixer as mix_module
from scaling.backbones.ssd import mixer_tiling
from scaling.backbones.ssd.mamba2_mixer import mix, mix_ref
from scaling.backbones.ssd.mixer_tiling import Tiling, Weights
from scaling.backbones.ssd.ssd_scan import plan_heads
from scaling.errors import ConfigError

HEADS, CHANNELS, STATES, TAPS, EPS = 3, 4, 5, 4, 1e-5
DECAYS = (0.05, 1.0, 3.0, 1000.0)  # about the largest dt; A reaches -16


def inputs(batch, length, decay, seed=0, dtype=torch.float64):
    """The projection's output, and weights."""
    g = torch.Generator().manual_seed(seed)
    inner, conv = HEADS * CHANNELS, HEADS * CHANNELS + 2 * STATES

    def normal(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    dt = torch.rand(HEADS, generator=g, dtype=torch.float64) * decay + 1e-4
    A = -1 - 15 * torch.rand(HEADS, generator=g, dtype=torch.float64)
    norm = 1 + 0.1 * normal(inner)
    w = (normal(conv, 1, TAPS) / 2, 0.1 * normal(conv), dt + torch.log(-torch.expm1(-dt)), A, normal(HEADS), norm)
    return normal(batch, length, inner + conv + HEADS).to(dtype), Weights(*(t.to(dtype) for t in w))


def segments(batch, length, seed, rate=0.1):
    """Ids that rise now and then, not always by one."""
    g = torch.Generator().manual_seed(seed)
    rises = (torch.rand(batch, length, generator=g) < rate) * torch.randint(1, 4, (batch, length), generator=g)
    return rises.cumsum(1)


def with_gradients(function, x, w, ids):
    """Output, and the gradients of a weighted sum of it for every input."""
    leaves = [t.clone().requires_grad_() for t in (x, *w)]
    out = function(leaves[0], Weights(*leaves[1:]), EPS, ids)
    (out * torch.linspace(-1, 1, x.shape[1], dtype=out.dtype)[:, None]).sum().backward()
    return [out.detach(), *(t.grad for t in leaves)]


def error(got, want):
    """Largest difference, in units of the largest value, which counts as 1e-4 at least."""
    got, want = got.detach().double(), want.detach().double()
    return float((got - want).abs().max() / want.abs().max().clamp_min(1e-4))


def assert_as_reference(x, w, ids, tolerance, of="", reference=None):
    names = ["output", "input", *Weights._fields]
    wanted = with_gradients(mix_ref, x, w, ids) if reference is None else reference
    for name, got, want in zip(names, with_gradients(mix, x, w, ids), wanted, strict=True):
        assert got.dtype == x.dtype
        assert error(got, want) < tolerance, (name, of)


@cache
def referred(length, decay, segmented):
    """A case, and the reference's answer, which walks token by token."""
    x, w = inputs(2, length, decay)
    ids = segments(2, length, 3) if segmented else None
    return x, w, ids, with_gradients(mix_ref, x, w, ids)


@pytest.fixture(params=["kept", "one tile", "short tiles"])
def tiles(request, monkeypatch):
    """Sequences of these tests with all kept for backward; recomputed, in one tile; and in many, a chunk each."""
    if request.param != "kept":
        monkeypatch.setattr(mix_module, "MAX_KEPT_ELEMENTS", 0)
    if request.param == "short tiles":
        monkeypatch.setitem(mixer_tiling.TILE_ELEMENTS, "cpu", 1)
        monkeypatch.setattr(mixer_tiling, "MIN_TILE_CHUNKS", 1)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("decay", DECAYS)
def test_outputs_and_gradients_are_those_of_the_reference(decay):
    """Lengths around the convolution's four taps and around chunks of 64."""
    for segmented in (False, True):
        for length in (1, 3, 4, 64, 65, 300):
            x, w, ids, wanted = referred(length, decay, segmented)
            assert_as_reference(x, w, ids, 1e-8 * (1 + decay), f"length {length}, segmented {segmented}", wanted)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 5),
    length=st.integers(1, 200),
    decay=st.sampled_from(DECAYS),
    rate=st.sampled_from([0.0, 0.02, 0.5]),
    chunks=st.integers(1, 6),
    kept=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_whatever_the_shapes_the_segments_and_the_tiles(batch, length, decay, rate, chunks, kept, seed):
    x, w = inputs(batch, length, decay, seed)
    ids = segments(batch, length, seed, rate) if rate else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixer_tiling, "MIN_TILE_CHUNKS", chunks)
        patch.setattr(mix_module, "MAX_KEPT_ELEMENTS", mix_module.MAX_KEPT_ELEMENTS if kept else 0)
        patch.setitem(mixer_tiling.TILE_ELEMENTS, "cpu", 1)
        assert_as_reference(x, w, ids, 1e-8 * (1 + decay))


@pytest.mark.usefixtures("tiles")
def test_float32_is_as_near_the_reference_as_float32_can_be():
    """Of the reference in float64. Gradients by single decays are sums that cancel."""
    for decay in DECAYS:
        x, w, _, wanted = referred(300, decay, False)
        got = with_gradients(mix, x.float(), Weights(*(t.float() for t in w)), None)
        assert error(got[0], wanted[0]) < 5e-5, decay  # measured: up to 3.4e-6
        assert all(error(g, r) < 2e-3 for g, r in zip(got[1:], wanted[1:], strict=True)), decay  # up to 1.3e-4


@pytest.mark.parametrize(
    ("drops", "chunk", "mild"),
    [
        ([0.1] * 8, 48, [True] * 8),
        ([0.1] * 7 + [99.0], 48, [True] * 7 + [False]),  # one head that forgets fast leaves the others their chunks
        ([3.0] * 8, 24, [True] * 8),  # where all do, chunks get shorter
        ([99.0] * 8, 16, [False] * 8),
    ],
)
def test_a_head_that_forgets_fast_goes_its_own_way(drops, chunk, mild):
    dt_BLH = torch.tensor(drops).expand(2, 624, 8)
    size, factors_H = plan_heads(dt_BLH, -torch.ones(8))
    assert (size, factors_H.tolist()) == (chunk, mild)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("segmented", [False, True])
def test_mild_and_strong_heads_side_by_side_give_the_reference(segmented):
    x, w = inputs(2, 150, 0.05)
    w = w._replace(A_H=torch.tensor([-1.0, -1e5, -2.0], dtype=torch.float64))
    assert [mild for mild, _ in Tiling(x, w, EPS, None).groups] == [True, False]
    assert_as_reference(x, w, segments(2, 150, 3) if segmented else None, 1e-8)


@pytest.mark.parametrize(("length", "decay"), [(7, 0.1), (130, 0.1), (7, 1000.0)])
@pytest.mark.parametrize("segmented", [False, True])
def test_gradcheck_holds_in_float64(length, decay, segmented):
    x, w = inputs(1, length, decay)
    w = w._replace(A_H=w.A_H / 16)  # so that not every gradient underflows where decays are strong
    ids = segments(1, length, 0) if segmented else None
    leaves = [t.requires_grad_() for t in (x, *w)]
    assert torch.autograd.gradcheck(lambda x, *w: mix(x, Weights(*w), EPS, ids), leaves, fast_mode=True)


@pytest.mark.usefixtures("tiles")
def test_packed_images_give_what_separate_calls_give():
    lengths = (5, 70, 1, 64, 130)
    x, w = inputs(2, sum(lengths), 0.3)
    ids = torch.cat([torch.full((2, n), i) for i, n in enumerate(lengths)], 1)
    separate = torch.cat([mix(part, w, EPS) for part in x.split(lengths, 1)], 1)
    assert error(mix(x, w, EPS, ids), separate) < 1e-12


def test_two_calls_are_equal_to_the_last_bit():
    x, w = inputs(3, 258, 0.3, dtype=torch.float32)
    first, second = (with_gradients(mix, x, w, None) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("segmented", [False, True])
def test_bfloat16_is_computed_in_float32_also_under_autocast(segmented):
    x, w = inputs(2, 130, 0.1, dtype=torch.float32)
    ids = segments(2, 130, 1) if segmented else None
    leaf = x.bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = mix(leaf, w, EPS, ids)
        y.float().square().sum().backward()
    assert (y.dtype, leaf.grad.dtype) == (torch.bfloat16, torch.bfloat16)
    assert error(y, mix_ref(leaf.detach(), w, EPS, ids)) < 2**-8  # one rounding, at the end
    assert leaf.grad.isfinite().all()


def test_torch_func_grad_and_autograd_agree():
    x, w = inputs(1, 40, 0.1)
    want = torch.autograd.grad(mix(x.requires_grad_(), w, EPS).square().sum(), x)[0]
    got = torch.func.grad(lambda x: mix(x, w, EPS).square().sum())(x.detach())
    assert error(got, want) < 1e-12


def test_vmap_gives_what_a_loop_gives_and_gradients_an_image():
    x, w = inputs(3, 40, 0.1)

    def square(x, A):
        return mix(x.unsqueeze(0), w._replace(A_H=A), EPS).square().sum()

    want = [torch.func.grad(square, argnums=(0, 1))(image, w.A_H) for image in x]
    got = torch.func.vmap(torch.func.grad(square, argnums=(0, 1)), in_dims=(0, None))(x, w.A_H)
    for part, parts in zip(got, zip(*want, strict=True), strict=True):
        assert error(part, torch.stack(parts)) < 1e-12
    mapped = torch.func.vmap(lambda image: mix(image.unsqueeze(0), w, EPS)[0])(x)
    assert error(mapped, mix(x, w, EPS)) < 1e-12


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("decay", [0.1, 1000.0])
def test_a_graph_that_is_retained_gives_its_gradients_twice(decay):
    x, w = inputs(2, 70, decay)
    y = mix(x.requires_grad_(), w, EPS).square().sum()
    first, second = (torch.autograd.grad(y, x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_gradients_that_are_not_asked_for_are_not_needed():
    x, w = inputs(1, 20, 0.1)
    x.requires_grad_()
    mix(x, w, EPS).sum().backward()
    assert x.grad.isfinite().all()
    assert all(t.grad is None for t in w)


def test_bad_input_is_refused_with_the_numbers():
    x, w = inputs(1, 4, 0.1, dtype=torch.float32)
    with pytest.raises(ConfigError, match="0 tokens"):
        mix(x[:, :0], w, EPS)
    with pytest.raises(ConfigError, match="float16"):
        mix(x.half(), w, EPS)
    with pytest.raises(ConfigError, match="back from 2 to 1 at row 0, token 3"):
        mix(x, w, EPS, torch.tensor([[0, 0, 2, 1]]))
    with pytest.raises(ConfigError, match=r"36 channels are not \[12, 22, 3\]"):
        mix(x[..., 1:], w, EPS)
