"""A Mamba-2 mixer, forward and backward, against other implementations with the same weights.

Peers: transformers' Mamba2Mixer (chunks of 64, and its default of 256), ssd_minimal of the package mamba-ssm between
plain torch's projections, convolution and norm, and this project's own reference, a token at a time. The first two come
with the extra `bench`; of mamba-ssm only one file is read, so it need not be compiled:
MAMBA_SKIP_CUDA_BUILD=TRUE pip install --no-deps --no-build-isolation mamba-ssm
"""

import importlib.util
import logging
import statistics
import sys
import types
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor

from experiments.benchmarks.timing import interleaved, peak_of
from scaling.backbones.adventurer_block import EPS, Mixer
from scaling.backbones.ssd.mamba2_mixer import mix_ref
from scaling.backbones.ssd.mixer_tiling import Weights
from scaling.costs.hardware import usable_cores
from scaling.model_specs import CONV_TAPS

WIDTH, HEAD, STATES = 256, 64, 64
SHAPES = ((16, 257), (4, 1025), (1, 4097), (1, 16385))  # images and tokens
LENGTHS = (1025, 4097, 16385, 50177)
REFERENCE_TOKENS = 1025  # the reference is not asked for more: it takes a second per thousand
Contender = Callable[[Tensor], Tensor]


class Contenders(NamedTuple):
    """Functions with the same weights, hence the same outputs."""

    ours: Contender
    peers: dict[str, Contender]  # the installed ones, by name
    reference: Contender


def against_peers() -> Table:
    """Median seconds of all contenders in turn, the fastest public one over ours, and memory above what was held."""
    ours, peers, reference = make_contenders()
    table = Table("threads", "images x tokens", "contender", "ms", "over ours", "peak [MB]", title="mixer, width 256")
    for threads in sorted({1, usable_cores()}):
        torch.set_num_threads(threads)
        for batch, length in SHAPES:
            x_BLD = torch.randn(batch, length, WIDTH)
            taken = {"this project": ours, **peers}
            check_equal(taken, x_BLD)
            calls = steps(taken, x_BLD)
            seconds = interleaved(calls, 5 if length < 10_000 else 3)
            if length <= REFERENCE_TOKENS:
                seconds["a token at a time"] = interleaved(steps({"": reference}, x_BLD), 1)[""]
            for name, took in seconds.items():
                memory = f"{_memory(calls[name]):.0f}" if name in calls else ""
                ratio = f"{took / seconds['this project']:.2f}"
                table.add_row(str(threads), f"{batch} x {length:,}", name, f"{1000 * took:.0f}", ratio, memory)
            table.add_section()
    return table


def _memory(call: Callable[[], object]) -> float:
    """Median of five peaks, which differ by 5 % from call to call [MB]."""
    return statistics.median(peak_of(call) for _ in range(5)) / 2**20


def by_length() -> Table:
    """Time per token of one sequence from 1,025 to 50,177 tokens."""
    ours = make_contenders().ours
    table = Table("threads", "tokens", "us/token", "over the first", title="mixer, time per token")
    for threads in sorted({1, usable_cores()}):
        torch.set_num_threads(threads)
        inputs = {length: torch.randn(1, length, WIDTH) for length in LENGTHS}
        rates: dict[int, list[float]] = {length: [] for length in LENGTHS}
        for turn in range(4):  # the first warms up
            for length, x_BLD in inputs.items():
                took = interleaved(steps({"": ours}, x_BLD), max(1, 8192 // length), warm=int(turn == 0))[""]
                if turn:
                    rates[length].append(1e6 * took / length)
        medians = {length: statistics.median(found) for length, found in rates.items()}
        for length, rate in medians.items():
            table.add_row(str(threads), f"{length:,}", f"{rate:.1f}", f"{rate / medians[LENGTHS[0]]:.2f}")
        table.add_section()
    return table


def steps(contenders: dict[str, Contender], x_BLD: Tensor) -> dict[str, Callable[[], None]]:
    """A forward and a backward pass of each."""

    def step(contender: Contender) -> Callable[[], None]:
        leaf_BLD = x_BLD.clone().requires_grad_()

        def call() -> None:
            leaf_BLD.grad = None
            contender(leaf_BLD).sum().backward()

        return call

    return {name: step(contender) for name, contender in contenders.items()}


def check_equal(contenders: dict[str, Contender], x_BLD: Tensor) -> None:
    """Raise AssertionError unless all give the same: a comparison of speed is one of equals."""
    with torch.no_grad():
        first, *others = (contender(x_BLD) for contender in contenders.values())
    for name, other in zip(list(contenders)[1:], others, strict=True):
        assert torch.allclose(first, other, atol=1e-4), name


def make_contenders() -> Contenders:
    """Ours, the peers that are installed, and the reference, with weights drawn from a fixed seed."""
    torch.manual_seed(0)
    mixer = Mixer(WIDTH, HEAD, STATES)
    with torch.no_grad():
        mixer.A_log.uniform_(1, 16).log_()
        mixer.dt_bias.uniform_(-6.9, -2.3)  # softplus: about 0.001 to 0.1
    peers: dict[str, Contender] = {}
    for chunk, name in ((64, "transformers, chunks of 64"), (256, "transformers, its default")):
        with suppress(ImportError):
            peers[name] = _transformers(mixer, chunk)
    with suppress(ImportError, OSError):
        peers["ssd_minimal of mamba-ssm"] = _ssd_minimal(mixer)
    return Contenders(mixer, peers, lambda x_BLD: _reference(mixer, x_BLD))


def _weights(mixer: Mixer) -> Weights:
    assert mixer.conv1d.bias is not None
    A_H = -torch.exp(mixer.A_log)
    return Weights(mixer.conv1d.weight, mixer.conv1d.bias, mixer.dt_bias, A_H, mixer.D, mixer.norm.weight)


def _reference(mixer: Mixer, x_BLD: Tensor) -> Tensor:
    return mixer.out_proj(mix_ref(mixer.in_proj(x_BLD), _weights(mixer), EPS).to(x_BLD.dtype))


def _transformers(mixer: Mixer, chunk: int) -> Contender:
    logging.getLogger("transformers").setLevel(logging.ERROR)  # it warns at length that it has no kernels
    from transformers import Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    heads = 2 * WIDTH // HEAD
    config = Mamba2Config(
        hidden_size=WIDTH, expand=2, state_size=STATES, conv_kernel=CONV_TAPS, head_dim=HEAD, num_heads=heads,
        n_groups=1, chunk_size=chunk, layer_norm_epsilon=EPS,
    )  # fmt: skip
    peer = Mamba2Mixer(config, 0)
    peer.load_state_dict(mixer.state_dict())
    return peer


def _ssd_minimal(mixer: Mixer) -> Contender:
    ssd, size = _ssd_minimal_function(), 64

    def padded(t: Tensor) -> Tensor:
        return F.pad(t, (0, 0) * (t.ndim - 2) + (0, -t.shape[1] % size))

    def peer(x_BLD: Tensor) -> Tensor:
        w = _weights(mixer)
        z_BLI, xBC_BLC, dt_BLH = mixer.in_proj(x_BLD).split(w.splits, -1)
        h_BCL = F.conv1d(
            F.pad(xBC_BLC.transpose(1, 2), (CONV_TAPS - 1, 0)), w.conv_C1K, w.conv_bias_C, groups=sum(w.parts)
        )
        x_BLI, B_BLN, C_BLN = F.silu(h_BCL.transpose(1, 2)).split(w.parts, -1)
        x_BLHP, dt_BLH = x_BLI.unflatten(-1, (len(w.A_H), -1)), F.softplus(dt_BLH + w.dt_bias_H)
        B_BLHN, C_BLHN = (padded(t).unsqueeze(2).expand(-1, -1, len(w.A_H), -1) for t in (B_BLN, C_BLN))
        y_BLHP, _ = ssd(padded(x_BLHP * dt_BLH.unsqueeze(-1)), padded(dt_BLH * w.A_H), B_BLHN, C_BLHN, size)
        y_BLI = (y_BLHP[:, : x_BLD.shape[1]] + x_BLHP * w.D_H.unsqueeze(-1)).flatten(2)
        return mixer.out_proj(F.rms_norm(y_BLI * F.silu(z_BLI), w.norm_I.shape, w.norm_I, EPS))

    return peer


def _ssd_minimal_function() -> Callable[..., tuple[Tensor, Tensor]]:
    """From the package's own file, which imports kernels that it does not use: they are replaced while it is read."""
    found = importlib.util.find_spec("mamba_ssm")
    if found is None or not found.submodule_search_locations:
        raise ImportError("mamba_ssm is not installed")
    path = Path(found.submodule_search_locations[0]) / "modules" / "ssd_minimal.py"
    spec = importlib.util.spec_from_file_location("ssd_minimal", path)
    assert spec is not None
    assert spec.loader is not None
    module, kernels = importlib.util.module_from_spec(spec), "mamba_ssm.ops.triton.ssd_combined"
    stubs = {name: types.ModuleType(name) for name in ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.triton", kernels)}
    stubs[kernels].mamba_chunk_scan_combined = None  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in stubs}
    sys.modules.update(stubs)
    try:
        spec.loader.exec_module(module)
    finally:
        for name, old in before.items():
            sys.modules.pop(name)
            if old is not None:
                sys.modules[name] = old
    return module.ssd_minimal_discrete
