"""The compiled passes of the mixer over a tile give the numbers of torch's operations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from scaling.backbones.ssd import tile_kernels
from scaling.backbones.ssd.mixer_tiling import _reach
from scaling.backbones.ssd.tile_kernels import CompiledPasses, library, passes_for
from scaling.backbones.ssd.tile_passes import Convolution, FromScan, Gate, Read, TorchPasses

pytestmark = pytest.mark.skipif(library() is None, reason="no compiler built the kernels here")
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-5}
PAST = 3


@pytest.fixture(autouse=True, scope="module", params=[1, 2], ids=["any processor", "AVX-512"])
def level(request):
    """The set of instructions that the kernels of these tests use."""
    if request.param > library().tile_kernels_level():
        pytest.skip("this processor has no AVX-512")
    own = tile_kernels.kernel
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tile_kernels, "kernel", lambda name, dtype: own(name, dtype, request.param))
        yield


class Drawn:
    """Tensors of one seed; arrays are parts of wider ones, as in the mixer."""

    def __init__(self, seed: int, dtype: torch.dtype) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._dtype = dtype

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self._generator, dtype=torch.float64).to(self._dtype)

    def part(self, images: int, tokens: int, channels: int) -> torch.Tensor:
        return self.normal(images, tokens, channels + 5)[..., 2 : channels + 2]

    def ids(self, images: int, tokens: int) -> torch.Tensor:
        steps = torch.rand(images, tokens, generator=self._generator) < 0.3
        return steps.long().cumsum(1)


def assert_same(ours, theirs, dtype):
    for one, other in zip(ours, theirs, strict=True):
        scale = float(other.abs().max()) if other.numel() else 1.0
        assert torch.allclose(one, other, rtol=0, atol=TOLERANCE[dtype] * max(1.0, scale))


SIZES = st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 19), st.integers(1, 9))
DTYPES = st.sampled_from([torch.float64, torch.float32])
SEEDS = st.integers(0, 2**31)
FILLERS = st.integers(0, 3)  # tokens that fill the last chunk


@given(SIZES, DTYPES, SEEDS, st.integers(1, 3), FILLERS)
@settings(max_examples=60, deadline=None)
def test_gate_and_norm(sizes, dtype, seed, threads, fillers):
    images, tokens, inner, _ = sizes
    draw = Drawn(seed, dtype)
    grad, scanned, x, z = (draw.part(images, tokens, inner) for _ in range(4))
    gate = Gate(draw.normal(inner), draw.normal(inner))

    def found(passes):
        out, dz = torch.full_like(x, 7.0), torch.full_like(x, 7.0)
        to = Gate(*(torch.ones_like(t) for t in gate))
        passes.gated_norm(scanned, x, z, gate, 1e-5, out)
        dy = passes.gated_norm_backward(grad, scanned, x, z, gate, 1e-5, dz, to, tokens + fillers)
        assert not dy[:, tokens:].any()
        return out, dy, dz, *to

    with_threads(threads, lambda: assert_same(found(CompiledPasses), found(TorchPasses), dtype))


@given(SIZES, DTYPES, SEEDS, st.integers(1, 3), st.booleans(), st.booleans(), st.integers(0, PAST), FILLERS)
@settings(max_examples=120, deadline=None)
def test_convolution(sizes, dtype, seed, threads, segments, goes_on, before, fillers):
    """segments: the convolution is reset at some tokens; goes_on: there are tokens after the tile; before: tokens
    before it."""
    images, tokens, inner, states = sizes
    images = 1 if goes_on or before else images  # a tile of several images has all of their tokens
    draw, channels = Drawn(seed, dtype), inner + 2 * states
    length = before + tokens + (PAST if goes_on else 0)
    reach = _reach(draw.ids(images, length), PAST)[:, before : before + tokens + PAST] if segments else None
    read = Read(draw.part(images, before + tokens, channels), before, reach)
    conv = Convolution(draw.normal(PAST + 1, channels), draw.normal(channels))
    grads = FromScan(*(draw.part(images, tokens, size) for size in (inner, states, states, inner)))
    skip, after = draw.normal(inner), draw.normal(images, PAST, channels) if goes_on else None

    def found(passes):
        to, dx = Convolution(*(torch.ones_like(t) for t in conv)), draw_like(read, before)
        first = passes.conv_silu_backward(read, conv, grads, skip, after, dx, to)
        parts = passes.conv_silu(read, conv, [inner, states, states], tokens + fillers)
        assert not any(part[:, tokens:].any() for part in parts)
        return *parts, first, dx, *to

    with_threads(threads, lambda: assert_same(found(CompiledPasses), found(TorchPasses), dtype))


def draw_like(read, before):
    own = read.xBC_gVC[:, before:]
    return own.new_full((*own.shape[:2], own.shape[2] + 3), 7.0)[..., 1:-2]


@given(SIZES, DTYPES, SEEDS, st.booleans())
@settings(max_examples=40, deadline=None)
def test_products_by_head(sizes, dtype, seed, in_place):
    chunks, tokens, heads, channels = sizes
    draw = Drawn(seed, dtype)
    x, other = (draw.part(chunks, tokens, heads * channels) for _ in range(2))
    factor = draw.normal(chunks, tokens, heads)

    def found(passes):
        mine, dots = x.clone(), torch.empty_like(factor)
        out = passes.scaled_and_dots(mine, other, factor, dots, mine if in_place else None)
        assert in_place == (out is mine)
        return out, dots

    assert_same(found(CompiledPasses), found(TorchPasses), dtype)


@given(SIZES, DTYPES, SEEDS, st.booleans(), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_states_from_chunk_to_chunk(sizes, dtype, seed, reverse, states):
    images, chunks, heads, channels = sizes
    draw = Drawn(seed, dtype)
    x, state = draw.normal(images * chunks, states, heads * channels), draw.normal(images, states, heads * channels)
    factors = [draw.normal(images * chunks, 1, heads).sigmoid() for _ in range(3)]

    def found(passes):
        mine, its = x.clone(), state.clone()
        passes.chain(mine, its, *factors, reverse=reverse)
        return mine, its

    assert_same(found(CompiledPasses), found(TorchPasses), dtype)


def with_threads(threads, call):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        call()
    finally:
        torch.set_num_threads(before)


def test_silu_far_from_zero_is_torchs():
    """The exponential function of float32 numbers is the kernels' own: no overflow, and nan stays nan."""
    x = torch.cat([torch.linspace(-200, 200, 4001), torch.tensor([float("inf"), float("nan")])]).view(1, -1, 1)
    read = Read(x, 0, torch.zeros(1, x.shape[1] + PAST, dtype=torch.uint8))
    weight = torch.zeros(PAST + 1, 1).index_fill_(0, torch.tensor(0), 1.0)
    found, _, _ = CompiledPasses.conv_silu(read, Convolution(weight, torch.zeros(1)), [1, 0, 0], x.shape[1])
    assert torch.allclose(found, torch.nn.functional.silu(x), rtol=1e-6, atol=1e-30, equal_nan=True)


def test_what_the_kernels_do_not_know_is_computed_by_torch(monkeypatch):
    cpu = torch.device("cpu")
    assert passes_for(cpu, torch.float32, 4) is CompiledPasses
    assert passes_for(cpu, torch.float64, 4) is CompiledPasses
    assert passes_for(cpu, torch.float32, 3) is TorchPasses
    assert passes_for(torch.device("meta"), torch.float32, 4) is TorchPasses
    with FlopCounterMode(display=False):  # which counts torch's operations
        assert passes_for(cpu, torch.float32, 4) is TorchPasses
    monkeypatch.setattr(tile_kernels, "library", lambda: None)
    assert passes_for(cpu, torch.float32, 4) is TorchPasses


@pytest.mark.parametrize("why", ["other sources", "asked for torch's operations"])
def test_the_kernels_are_left_alone(why, monkeypatch):
    monkeypatch.setattr(tile_kernels, "VERSION", tile_kernels.VERSION + (why == "other sources"))
    monkeypatch.setenv("SCALING_SCAN", "" if why == "other sources" else "torch")
    assert library.__wrapped__() is None
    monkeypatch.undo()
    assert library.__wrapped__() is not None
