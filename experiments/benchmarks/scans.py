"""Implementations of Adventurer's mixer between its projections (convolution, scan, gate, norm) by length, on a GPU or
a CPU: which is fastest where.

Contenders: mamba-ssm's kernels with torch's convolution and, where it is installed, with causal-conv1d; this project's
in PyTorch, and the same steps in torch.compile; flash-linear-attention's simple gated linear attention, which is the
same recurrence (q = C, k = B, v = dt x, decay dt A). Each is compared with the definition before it is timed; one that
fails has its reason in the table. Rows are kept in results/scans.csv. Letters as in
scaling/backbones/ssd/mamba2_mixer.py.
"""

import importlib
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import cast

import pandas as pd
import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor

from analysis.report.output import write_files
from experiments.benchmarks.models import where as this_machine
from experiments.benchmarks.timing import interleaved, peak_of, progress
from scaling.backbones.ssd import ssd_scan_cuda
from scaling.backbones.ssd.mamba2_mixer import mix_ref
from scaling.backbones.ssd.mixer_operator import mixer
from scaling.backbones.ssd.mixer_tiling import Weights
from scaling.backbones.ssd.scan_inputs import ScanInputs
from scaling.backbones.ssd.ssd_scan import chunked
from scaling.errors import first_line
from scaling.model_specs import CONV_TAPS, EXPAND, MODEL_SPECS

# backbone, tokens of an image (class token and average included), tokens of all images, dtype
PLANS = {
    "cuda": ("adventurer_base", (198, 786, 3138, 12546, 50178), 100_352, torch.bfloat16),
    "cpu": ("adventurer_tiny", (198, 786, 3138), 3138, torch.float32),
}
EPS = 1e-5
CHECKED = 300  # tokens of the comparison with the definition, which takes a token at a time
TOLERANCE = {"cuda": 2e-2, "cpu": 1e-4}  # of the largest value; products on a GPU are in TF32
TURNS = 5
RESULTS = Path("results")
Mix = Callable[[Tensor, Weights], Tensor]
COLUMNS = ["tokens", "images", "contender", "milliseconds", "megabytes", "failed"]


def scans() -> Table:
    """The table, printed and kept."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    backbone, lengths, total, dtype = PLANS[device]
    wrong = {name: incorrect(contender, backbone, device) for name, contender in contenders(device).items()}
    rows = []
    for tokens in progress(lengths, "scans"):
        images = max(1, total // tokens)
        rows += measured(backbone, images, tokens, device, dtype, wrong)
    frame = pd.DataFrame(rows, columns=COLUMNS).assign(measured=time.strftime("%Y-%m-%d"), machine=this_machine())
    write_files(RESULTS, {"scans.csv": frame.to_csv(index=False).encode()})
    return shown(frame, f"mixer of {backbone}, forward and backward, {str(dtype).removeprefix('torch.')} on {device}")


def measured(
    backbone: str, images: int, tokens: int, device: str, dtype: torch.dtype, wrong: dict[str, str]
) -> list[dict[str, object]]:
    """A row per contender: COLUMNS. wrong: reasons not to measure one; "": none."""
    weights = drawn_weights(backbone, device)
    calls: dict[str, Callable[[], None]] = {}
    failed = dict(wrong)
    for name, contender in contenders(device).items():
        call = _step(contender, weights, images, tokens, dtype)
        failed[name] = failed[name] or _reason(call)
        if not failed[name]:
            calls[name] = call
    seconds = interleaved(calls, TURNS, cuda=device == "cuda")
    memory = {name: peak_of(call, cuda=device == "cuda") / 2**20 for name, call in calls.items()}
    return [
        {
            "tokens": tokens,
            "images": images,
            "contender": name,
            "milliseconds": 1000 * seconds.get(name, float("nan")),
            "megabytes": memory.get(name, float("nan")),
            "failed": why,
        }
        for name, why in failed.items()
    ]


def contenders(device: str) -> dict[str, Mix]:
    """Those that this device and its packages have."""
    found: dict[str, Mix] = {
        "this project, PyTorch": lambda x, w: cast(Tensor, mixer(x, *w, EPS, None)),
        "compiled": torch.compile(plain, dynamic=False),
    }
    module = ssd_scan_cuda.mamba_ssm()[0]
    if device == "cuda" and module is not None:
        found["mamba-ssm, torch's convolution"] = lambda x, w: _mamba_ssm(module, None, x, w)
        if (fused := module.causal_conv1d_fn) is not None:
            found["mamba-ssm, causal-conv1d"] = lambda x, w: _mamba_ssm(module, fused, x, w)
    if device == "cuda" and importlib.util.find_spec("fla") is not None:
        found["flash-linear-attention"] = lambda x, w: around(x, w, gated_linear_attention)
    return found


def plain(zxBCdt_BLX: Tensor, w: Weights) -> Tensor:
    """The mixer of operations that torch.compile can join."""
    return around(zxBCdt_BLX, w, lambda inputs: chunked(inputs.to(torch.float32), False).y_BLHP.to(zxBCdt_BLX.dtype))


def around(zxBCdt_BLX: Tensor, w: Weights, scan: Callable[[ScanInputs], Tensor]) -> Tensor:
    """Torch's convolution, a scan, gate and norm."""
    z_BLI, xBC_BLC, dt_BLH = zxBCdt_BLX.split(w.splits, -1)
    xBC_BLC = F.silu(ssd_scan_cuda._convolved(xBC_BLC, w.conv_C1K, w.conv_bias_C, None))
    x_BLI, B_BLN, C_BLN = xBC_BLC.split(w.parts, -1)
    dt_BLH = F.softplus(dt_BLH.float() + w.dt_bias_H)
    y_BLHP = scan(ScanInputs(x_BLI.unflatten(-1, (len(w.A_H), -1)), dt_BLH, w.A_H, B_BLN, C_BLN, w.D_H))
    gated_BLI = y_BLHP.flatten(2) * F.silu(z_BLI)
    return F.rms_norm(gated_BLI, w.norm_I.shape, w.norm_I.to(gated_BLI.dtype), EPS)


def gated_linear_attention(inputs: ScanInputs) -> Tensor:
    """The scan by fla.ops.simple_gla (the package flash-linear-attention): y_BLHP. Its S_t = exp(g_t) S_(t-1) +
    k_t v_t^T and o_t = q_t S_t are those of ssd_scan.py with q = C, k = B, v = dt x, g = dt A; D x is added."""
    x_BLHP, dt_BLH, A_H, B_BLN, C_BLN, D_H, *_ = inputs
    chunk_simple_gla = importlib.import_module("fla.ops.simple_gla").chunk_simple_gla
    heads = len(A_H)
    C_BLHN, B_BLHN = (t.unsqueeze(2).expand(-1, -1, heads, -1).contiguous() for t in (C_BLN, B_BLN))
    v_BLHP = (x_BLHP * dt_BLH.unsqueeze(-1)).to(x_BLHP.dtype)
    y_BLHP, _ = chunk_simple_gla(C_BLHN, B_BLHN, v_BLHP, g=dt_BLH * A_H, scale=1.0)
    return y_BLHP + x_BLHP * D_H.to(x_BLHP.dtype).unsqueeze(-1)


def _mamba_ssm(module: ModuleType, convolution: object, zxBCdt_BLX: Tensor, w: Weights) -> Tensor:
    """mamba-ssm with or without causal-conv1d, whatever is installed."""
    before = vars(module)["causal_conv1d_fn"]
    vars(module)["causal_conv1d_fn"] = convolution
    try:
        return ssd_scan_cuda.mamba_ssm_mix(zxBCdt_BLX, *w, EPS, None)
    finally:
        vars(module)["causal_conv1d_fn"] = before


def drawn_weights(backbone: str, device: str) -> Weights:
    """Of one block, as Mamba-2 draws them, from a fixed seed."""
    spec, draw = MODEL_SPECS[backbone], torch.Generator().manual_seed(0)
    inner = EXPAND * spec.width
    heads, channels = inner // spec.head_dim, inner + 2 * spec.state
    found = Weights(
        torch.rand(channels, 1, CONV_TAPS, generator=draw) - 0.5,
        torch.zeros(channels),
        torch.rand(heads, generator=draw) * 4.6 - 6.9,  # softplus: about 0.001 to 0.1
        -1 - 15 * torch.rand(heads, generator=draw),
        torch.ones(heads),
        torch.ones(inner),
    )
    return Weights(*(t.to(device).requires_grad_() for t in found))


def incorrect(contender: Mix, backbone: str, device: str) -> str:
    """Why a contender differs from the definition; "" where it does not."""
    w = drawn_weights(backbone, device)
    x_BLX = torch.randn(1, CHECKED, sum(w.splits), generator=torch.Generator().manual_seed(1))
    try:
        with torch.no_grad():
            found = contender(x_BLX.to(device), w).double().cpu()
    except Exception as e:  # a package for another torch or another card fails in many ways
        return f"{type(e).__name__}: {first_line(e, 100)}"
    right = mix_ref(x_BLX, Weights(*(t.detach().cpu() for t in w)), EPS)
    off = float((found - right).abs().max() / right.abs().max())
    return "" if off < TOLERANCE[device] else f"differs from the definition by {off:.1g} of its largest value"


def _step(contender: Mix, w: Weights, images: int, tokens: int, dtype: torch.dtype) -> Callable[[], None]:
    """A forward and a backward pass."""
    device = w.A_H.device
    x_BLX = torch.randn(images, tokens, sum(w.splits), device=device, dtype=dtype).requires_grad_()

    def call() -> None:
        contender(x_BLX, w).sum().backward()
        x_BLX.grad = None

    return call


def _reason(call: Callable[[], None]) -> str:
    """Why a call fails; "" where it does not."""
    try:
        call()
    except Exception as e:
        return f"{type(e).__name__}: {first_line(e, 100)}"
    return ""


def shown(frame: pd.DataFrame, title: str) -> Table:
    """The rows as a table; the fastest of each length is marked."""
    table = Table("tokens x images", "contender", "ms", "us/token", "MB", title=title)
    best = frame.groupby("tokens")["milliseconds"].min()
    for row in frame.to_dict("records"):
        tokens, images, took = int(row["tokens"]), int(row["images"]), float(row["milliseconds"])
        where, name = f"{tokens:,} x {images}", str(row["contender"])
        if row["failed"]:
            table.add_row(where, name, f"- {row['failed']}", "", "")
            continue
        mark = " fastest" if took == best[tokens] else f" {took / best[tokens]:.2f} x"
        table.add_row(
            where, name, f"{took:.2f}{mark}", f"{1000 * took / tokens / images:.3f}", f"{row['megabytes']:.0f}"
        )
    return table
