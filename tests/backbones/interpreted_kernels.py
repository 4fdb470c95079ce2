"""mamba-ssm's Triton kernels by Triton's interpreter, on the CPU. Triton reads TRITON_INTERPRET when it is imported, so
this is a program of its own: test_mamba_ssm_kernels.py starts it and reads the largest errors, one JSON object.

The kernels ask for a GPU in three places: for the number of its multiprocessors, to make it the current one, and to
choose the fastest of several configurations by timing them. Stand-ins are made for these; arithmetic is that of the
kernels.
"""

import contextlib
import json
import os
import types

os.environ["TRITON_INTERPRET"] = "1"

import torch
import torch.nn.functional as F
from triton.runtime.autotuner import Autotuner

from scaling.backbones.ssd import ssd_scan_cuda
from scaling.backbones.ssd.mamba2_mixer import mix_ref
from scaling.backbones.ssd.mixer_tiling import Weights
from scaling.backbones.ssd.scan_inputs import ScanInputs
from scaling.backbones.ssd.ssd_scan_reference import scan_ref

BATCH, LENGTH, HEADS, CHANNELS, STATES, TAPS, EPS = 1, 40, 2, 16, 16, 4, 1e-5
SEGMENTS = torch.tensor([[0] * 17 + [1] * 2 + [2] * 21])


def first_configuration(self, *args, **kwargs):
    """Autotuner.run without a trial: the smallest configuration."""
    chosen = min(self.configs, key=lambda one: sum(v for k, v in one.kwargs.items() if k.startswith("BLOCK")))
    self.best_config = chosen  # mamba-ssm reads it
    kwargs.pop("warmup", None)
    if chosen.pre_hook:
        chosen.pre_hook({**dict(zip(self.arg_names, args, strict=False)), **kwargs, **chosen.all_kwargs()})
    return self.fn.run(*args, **kwargs, **chosen.all_kwargs(), warmup=False)


def without_a_gpu() -> None:
    Autotuner.run = first_configuration
    torch.cuda.get_device_properties = lambda device: types.SimpleNamespace(multi_processor_count=2)
    torch.cuda.device = lambda index: contextlib.nullcontext()


def errors(of, reference, inputs, dtype=torch.float32):
    """Largest errors of the output and of the gradient of each input, in units of the largest value."""
    found = []
    for function, kind in ((of, dtype), (reference, torch.float64)):
        leaves = [x.to(kind).requires_grad_() for x in inputs]
        y = function(*leaves)
        weight = torch.linspace(-1, 1, y.shape[1], dtype=torch.float64).view(1, -1, *[1] * (y.dim() - 2))
        found.append([y, *torch.autograd.grad((y.double() * weight).sum(), leaves)])
    return [relative(got, want) for got, want in zip(*found, strict=True)]


def relative(got, want):
    return float((got - want).detach().abs().max() / want.detach().abs().max())


def scan_inputs():
    draw = torch.Generator().manual_seed(0)
    x, B, C = (
        torch.randn(s, generator=draw) for s in ((BATCH, LENGTH, HEADS, CHANNELS), *[(BATCH, LENGTH, STATES)] * 2)
    )
    dt = 0.5 * torch.rand(BATCH, LENGTH, HEADS, generator=draw)
    A = -torch.rand(HEADS, generator=draw) - 0.2
    state = torch.randn(BATCH, HEADS, CHANNELS, STATES, generator=draw)
    return [x, dt, A, B, C, torch.randn(HEADS, generator=draw)], state


def scan_errors(ids, with_state, dtype=torch.float32):
    values, state = scan_inputs()

    def output(scan):
        def of(*inputs):
            return scan(ScanInputs(*inputs[:6], ids, inputs[6] if with_state else None))

        return of

    return errors(
        output(lambda given: ssd_scan_cuda.scan_cuda(given, return_state=False).y_BLHP),
        output(lambda given: scan_ref(given).y_BLHP),
        [*values, state] if with_state else values,
        dtype,
    )


def last_state_error():
    values, state = scan_inputs()
    given = ScanInputs(*values, None, state)
    found, wanted = ssd_scan_cuda.scan_cuda(given, return_state=True), scan_ref(given.to(torch.float64))
    return [relative(found.state_BHPN, wanted.state_BHPN)]


def mixer_errors(ids, dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)
    inner, conv = HEADS * CHANNELS, HEADS * CHANNELS + 2 * STATES
    x, kernel, bias, dt_bias, D = (
        torch.randn(s, generator=draw)
        for s in ((BATCH, LENGTH, inner + conv + HEADS), (conv, 1, TAPS), (conv,), (HEADS,), (HEADS,))
    )
    A, norm = -torch.rand(HEADS, generator=draw) - 0.2, 1 + torch.rand(inner, generator=draw) / 10
    return errors(
        lambda x, *w: ssd_scan_cuda.mamba_ssm_mix(x, *w, EPS, ids),
        lambda x, *w: mix_ref(x, Weights(*w), EPS, ids),
        [x, kernel / 2, bias / 10, dt_bias, A, D, norm],
        dtype,
    )


def convolved(x_BCL, weight_CK, bias_C, seq_idx):
    """SiLU of the convolution in a form that shares nothing with the code under test."""
    taps, length = weight_CK.shape[1], x_BCL.shape[2]
    found = []
    for t in range(length):
        total = bias_C.expand(len(x_BCL), -1)
        for back in range(min(taps, t + 1)):
            same = 1.0 if seq_idx is None else (seq_idx[:, t] == seq_idx[:, t - back]).unsqueeze(1)
            total = total + x_BCL[:, :, t - back] * same * weight_CK[:, taps - 1 - back]
        found.append(F.silu(total))
    return torch.stack(found, 2)


def conv_forward(x_BCL, weight_CK, bias_C, seq_idx, initial, final, silu):
    """causal_conv1d's function of this name, as mamba-ssm calls it."""
    assert initial is None
    assert final is None
    assert silu is True
    return convolved(x_BCL, weight_CK, bias_C, seq_idx)


def conv_backward(x_BCL, weight_CK, bias_C, gradient_BCL, seq_idx, initial, final, gradient_x, state, silu):
    with torch.enable_grad():
        leaves = [t.detach().requires_grad_() for t in (x_BCL, weight_CK, bias_C)]
        found = torch.autograd.grad(convolved(*leaves, seq_idx), leaves, gradient_BCL)
    gradient_x.copy_(found[0])
    return gradient_x, found[1], found[2]


def main() -> None:
    without_a_gpu()
    ssd_scan_cuda.CUDA_CHUNK = 32  # more than one in LENGTH tokens
    kernels, reason = ssd_scan_cuda.mamba_ssm()
    assert kernels is not None, reason
    kernels.causal_conv1d_fn = None  # whether or not it is installed
    found = {
        "scan in segments": scan_errors(SEGMENTS, with_state=False),
        "scan from a state": scan_errors(None, with_state=True),
        "last state": last_state_error(),
        "mixer": mixer_errors(None),
        "mixer in segments": mixer_errors(SEGMENTS),
        "mixer, float16": mixer_errors(SEGMENTS, torch.float16),
    }
    kernels.causal_conv1d_fn = kernels.causal_conv1d_fwd_function = conv_forward
    kernels.causal_conv1d_bwd_function = conv_backward
    found["mixer in one call"] = mixer_errors(SEGMENTS)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
