"""The scan against its one-token-at-a-time twin."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.backbones.ssd import backend as backends
from scaling.backbones.ssd import ssd_scan as scan_module
from scaling.backbones.ssd import ssd_scan_cuda
from scaling.backbones.ssd.backend import backend
from scaling.backbones.ssd.rms_norm import rms_norm
from scaling.backbones.ssd.scan_inputs import ScanInputs
from scaling.backbones.ssd.ssd_scan import scan
from scaling.backbones.ssd.ssd_scan_reference import scan_ref
from scaling.backbones.ssd.tile_kernels import library
from scaling.errors import ConfigError
from scaling.model_specs import chunk_length

HEADS, CHANNELS, STATES = 3, 4, 5
LENGTHS = (1, 2, 3, 16, 63, 64, 65, 96, 97, 129, 258, 300)
DECAYS = (1e-3, 0.1, 1.0, 10.0, 1e3)  # largest dt; A reaches -16, so a token's decay reaches exp(-16000)


def inputs(batch, length, decay, seed=0, dtype=torch.float64, heads=HEADS, channels=CHANNELS, states=STATES):
    """x, dt, A, B, C, D of a scan."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)

    dt = torch.rand(batch, length, heads, generator=g, dtype=torch.float64).to(dtype) * decay
    A = -1 - 15 * torch.rand(heads, generator=g, dtype=torch.float64).to(dtype)
    return [
        normal(batch, length, heads, channels),
        dt,
        A,
        normal(batch, length, states),
        normal(batch, length, states),
        normal(heads),
    ]


def segments(batch, length, seed, rate=0.1):
    """Ids that rise now and then, not always by one."""
    g = torch.Generator().manual_seed(seed)
    rises = (torch.rand(batch, length, generator=g) < rate) * torch.randint(1, 4, (batch, length), generator=g)
    return rises.cumsum(1)


def initial(batch, seed=1, dtype=torch.float64):
    return torch.randn(batch, HEADS, CHANNELS, STATES, generator=torch.Generator().manual_seed(seed)).to(dtype)


def relative(got, want):
    """Largest difference, in units of the largest value."""
    return float((got.double() - want.double()).abs().max() / want.double().abs().max().clamp_min(1e-30))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 3),
    length=st.one_of(st.sampled_from(LENGTHS), st.integers(1, 140)),
    decay=st.sampled_from(DECAYS),
    segmented=st.booleans(),
    started=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_scan_gives_the_reference_outputs_and_final_state(batch, length, decay, segmented, started, seed):
    ids = segments(batch, length, seed) if segmented else None
    state = initial(batch, seed) if started else None
    values = inputs(batch, length, decay, seed)
    given = ScanInputs(*values, ids, state)
    y, final = scan(given, return_state=True)
    want, want_final = scan_ref(given)
    assert y.shape == want.shape
    assert relative(y, want) < 1e-12
    assert relative(final, want_final) < 1e-12
    assert relative(scan(given).y_BLHP, y) < 1e-12


def test_float32_is_as_near_the_reference_as_float32_can_be():
    for decay in DECAYS:
        for length in (1, 65, 258):
            values = inputs(2, length, decay, dtype=torch.float32)
            wanted = scan_ref(ScanInputs(*values)).y_BLHP
            assert relative(scan(ScanInputs(*values)).y_BLHP, wanted) < 2e-6, (length, decay)  # measured: up to 1.7e-7


@pytest.mark.parametrize("segmented", [False, True])
def test_gradients_in_float32_are_finite_and_those_of_the_reference(segmented):
    length = 130
    ids, weight = segments(2, length, 3) if segmented else None, torch.linspace(-1, 1, length)[:, None, None]
    for decay in DECAYS:
        grads = []
        for function, dtype in ((scan, torch.float32), (scan_ref, torch.float64)):
            values = [v.to(dtype).requires_grad_() for v in inputs(2, length, decay, dtype=torch.float32)]
            (function(ScanInputs(*values, ids)).y_BLHP * weight).sum().backward()
            grads.append([v.grad for v in values])
        for name, got, want in zip(["x", "dt", "A", "B", "C", "D"], *grads, strict=True):
            assert got.isfinite().all(), (name, decay)
            assert relative(got, want) < 2e-5, (name, decay)  # measured: up to 1.4e-6


@pytest.mark.parametrize(("length", "decay"), [(1, 0.1), (7, 0.1), (130, 0.1), (7, 200.0), (120, 200.0)])
@pytest.mark.parametrize("segmented", [False, True])
def test_gradcheck_holds_in_float64_for_both_ways_through_a_chunk(length, decay, segmented):
    values = inputs(1, length, decay, heads=2, channels=1, states=2)
    values[2] = values[2] / 16  # so that not every gradient underflows where decays are strong
    ids = segments(1, length, 0) if segmented else None
    state = torch.randn(1, 2, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = [v.requires_grad_() for v in (*values, state)]
    assert torch.autograd.gradcheck(
        lambda *v: tuple(scan(ScanInputs(*v[:6], ids, v[6]), return_state=True)), values, fast_mode=length > 7
    )


def test_strong_decays_take_shorter_chunks_and_then_the_unfactored_way():
    plans = [scan_module.plan(*inputs(2, 258, decay, dtype=torch.float32)[1:3]) for decay in (0.1, 1.0, 1e3)]
    assert [factored for _, factored in plans] == [True, True, False]
    assert plans[1][0] < plans[0][0]


def test_packed_segments_give_what_separate_calls_give():
    lengths = (5, 70, 1, 64, 130)
    values = inputs(2, sum(lengths), 0.3)
    ids = torch.cat([torch.full((2, n), i) for i, n in enumerate(lengths)], 1)
    packed, final = scan(ScanInputs(*values, ids), return_state=True)
    x, dt, A, B, C, D = values
    parts = [
        scan(ScanInputs(x_, dt_, A, B_, C_, D), return_state=True)
        for x_, dt_, B_, C_ in zip(*(t.split(lengths, 1) for t in (x, dt, B, C)), strict=True)
    ]
    assert relative(packed, torch.cat([y for y, _ in parts], 1)) < 1e-12
    assert relative(final, parts[-1][1]) < 1e-12


@pytest.mark.parametrize("cut", [1, 64, 100, 199])
def test_a_state_carried_over_a_cut_continues_the_sequence(cut):
    x, dt, A, B, C, D = inputs(2, 200, 0.05)
    whole, final = scan(ScanInputs(x, dt, A, B, C, D), return_state=True)
    y1, state = scan(ScanInputs(x[:, :cut], dt[:, :cut], A, B[:, :cut], C[:, :cut], D), return_state=True)
    rest = ScanInputs(x[:, cut:], dt[:, cut:], A, B[:, cut:], C[:, cut:], D, initial_state=state)
    y2, last = scan(rest, return_state=True)
    assert relative(torch.cat([y1, y2], 1), whole) < 1e-12
    assert relative(last, final) < 1e-12


def test_the_scan_is_deterministic():
    results = []
    for _ in range(2):
        values = [v.requires_grad_() for v in inputs(3, 258, 0.3, dtype=torch.float32)]
        y = scan(ScanInputs(*values)).y_BLHP
        y.square().sum().backward()
        results.append([y, *(v.grad for v in values)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_bfloat16_inputs_under_autocast_are_scanned_in_float32():
    values = inputs(2, 130, 0.1, dtype=torch.float32)
    half = [v.bfloat16() if i in (0, 3, 4) else v for i, v in enumerate(values)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = scan(ScanInputs(*half)).y_BLHP
    assert y.dtype == torch.bfloat16
    assert relative(y, scan_ref(ScanInputs(*half)).y_BLHP) < 2**-8  # one rounding, at the end


def test_torch_func_grad_and_autograd_agree():
    values = inputs(1, 40, 0.1)

    def loss(x):
        return scan(ScanInputs(x, *values[1:])).y_BLHP.square().sum()

    want = torch.autograd.grad(loss(values[0].requires_grad_()), values[0])[0]
    got = torch.func.grad(loss)(values[0].detach())
    assert relative(got, want) < 1e-12


def test_chunks_are_short_multiples_of_four_with_little_to_fill():
    for length in range(97, 5000):
        size = chunk_length(length)
        assert size in range(40, 65, 4)
        filled = -(-length // size) * size
        assert filled < 1.09 * length
        if length > 1000:
            assert filled < 1.03 * length
    for grid in (16, 32, 64):  # L + class token + heading average
        assert chunk_length(grid**2 + 2) == 52
    assert {chunk_length(length, 32) for length in range(49, 5000)} <= set(range(20, 33, 4))
    assert {chunk_length(length, 16) for length in range(25, 5000)} == {16}
    for most in (64, 32, 16):  # one chunk
        assert chunk_length(3 * most // 2, most) == 3 * most // 2


def test_the_implementation_is_named_with_the_reason(monkeypatch):
    built = library() is not None
    assert backend("cpu").name == ("compiled" if built else "torch")
    monkeypatch.setattr(backends, "library", lambda: None)
    name, reason = backend("cpu")
    assert name == "torch"
    assert "cpu" in reason


def test_what_cannot_be_scanned_is_refused():
    values = inputs(1, 4, 0.1, dtype=torch.float32)
    with pytest.raises(ConfigError, match="0 tokens"):
        scan(ScanInputs(*inputs(1, 0, 0.1)))
    with pytest.raises(ConfigError, match="float16"):
        scan(ScanInputs(values[0].half(), *values[1:]))
    with pytest.raises(ConfigError, match="back from 2 to 1 at row 0, token 3"):
        scan(ScanInputs(*values, torch.tensor([[0, 0, 2, 1]])))
    with pytest.raises(ConfigError, match=r"\(1, 3\).*\(1, 4\)"):
        scan(ScanInputs(*values, torch.tensor([[0, 0, 2]])))
    with pytest.raises(ConfigError, match="integers"):
        scan(ScanInputs(*values, torch.zeros(1, 4)))


@pytest.mark.parametrize("shape", [(2, 9, 6), (1, 1, 6)])
def test_the_norm_is_torchs_own_and_passes_gradcheck(shape):
    g = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(s, generator=g, dtype=torch.float64).requires_grad_() for s in (shape, (6,)))
    assert relative(rms_norm(x, weight, 1e-5).detach(), F.rms_norm(x, (6,), weight, 1e-5).detach()) < 1e-12
    assert torch.autograd.gradcheck(lambda x, w: rms_norm(x, w, 1e-5), (x, weight))


@pytest.mark.parametrize("segmented", [False, True])
def test_mamba_ssms_kernel_is_given_one_group_and_its_result_is_returned(monkeypatch, segmented):
    """The kernel itself runs on CUDA only: in its place the reference, with its arguments."""

    def kernel(x, dt, A, B, C, chunk_size, D, initial_states, seq_idx, return_final_states):
        assert (B.shape[2], C.shape[2]) == (1, 1)
        assert seq_idx is None or seq_idx.dtype == torch.int32
        given = ScanInputs(x, dt, A, B.squeeze(2), C.squeeze(2), D, seq_idx, initial_states)
        return tuple(scan_ref(given)) if return_final_states else scan_ref(given).y_BLHP

    module = SimpleNamespace(mamba_chunk_scan_combined=kernel)
    monkeypatch.setattr(ssd_scan_cuda, "mamba_ssm", lambda: (module, "a stand-in"))
    values = ScanInputs(*inputs(2, 9, 0.1, dtype=torch.float32), segments(2, 9, 0) if segmented else None)
    y, state = ssd_scan_cuda.scan_cuda(values, return_state=True)
    assert torch.equal(y, scan_ref(values).y_BLHP)
    assert torch.equal(state, scan_ref(values).state_BHPN)
    alone, none = ssd_scan_cuda.scan_cuda(values, return_state=False)
    assert torch.equal(alone, y)
    assert none is None
