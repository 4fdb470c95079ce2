"""The Triton kernels of mamba-ssm, as this project calls them, against the definition of the scan and of the mixer."""

import importlib.util
import json

import pytest
import torch

from scaling.backbones.ssd import ssd_scan_cuda
from scaling.backbones.ssd.backend import backend
from scaling.backbones.ssd.mamba2_mixer import mix, mix_ref
from scaling.backbones.ssd.mixer_tiling import Weights
from scaling.backbones.ssd.ssd_scan_cuda import _convolved

TOLERANCE = {"mixer, float16": 2e-2}  # in units of the largest value
FLOAT32 = 1e-5


@pytest.mark.skipif(importlib.util.find_spec("mamba_ssm") is None, reason="mamba-ssm is installed on Linux only")
def test_in_tritons_interpreter_outputs_and_gradients_are_those_of_the_reference(call_afresh):
    """Segments, an initial state, the last state, more than one chunk; the mixer with torch's convolution and in one
    call; float32 and half precision."""
    done = call_afresh("tests/backbones/interpreted_kernels.py")
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout)
    assert len(errors) == 7
    for case, found in errors.items():
        assert max(found) < TOLERANCE.get(case, FLOAT32), case


@pytest.mark.gpu
@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-2), (torch.bfloat16, 5e-2)])  # dots are in TF32
def test_so_are_they_on_a_gpu(segmented, dtype, tolerance):
    assert backend("cuda").name == "mamba-ssm", backend("cuda").reason
    draw = torch.Generator().manual_seed(0)
    heads, inner, states, taps, length = 4, 4 * 64, 64, 4, 600
    conv = inner + 2 * states
    shapes = ((2, length, inner + conv + heads), (conv, 1, taps), (conv,), (heads,), (heads,), (inner,))
    x, kernel, bias, dt_bias, D, norm = (torch.randn(shape, generator=draw) for shape in shapes)
    w = Weights(kernel / 2, bias / 10, dt_bias, -1 - torch.rand(heads, generator=draw), D, 1 + norm / 10)
    ids = (torch.rand(2, length, generator=draw) < 0.01).cumsum(1) if segmented else None
    right = mix_ref(x, w, 1e-5, ids)
    found = mix(x.to("cuda", dtype), Weights(*(t.cuda() for t in w)), 1e-5, None if ids is None else ids.cuda())
    assert found.dtype == dtype
    assert (found.cpu().double() - right).abs().max() < tolerance * right.abs().max()


@pytest.mark.parametrize("length", [1, 2, 4, 9])
@pytest.mark.parametrize("segmented", [False, True])
def test_torchs_convolution_is_a_sum_over_the_past_of_a_tokens_segment(length, segmented):
    draw = torch.Generator().manual_seed(length)
    x_BLC, conv_C1K, bias_C = (
        torch.randn(s, generator=draw, dtype=torch.float64) for s in ((2, length, 3), (3, 1, 4), (3,))
    )
    ids = (torch.rand(2, length, generator=draw) < 0.4).cumsum(1) if segmented else None
    found = _convolved(x_BLC, conv_C1K, bias_C, ids)
    for b in range(2):
        for t in range(length):
            past = [s for s in range(max(0, t - 3), t + 1) if ids is None or ids[b, s] == ids[b, t]]
            right = bias_C + sum(x_BLC[b, s] * conv_C1K[:, 0, 3 - (t - s)] for s in past)
            torch.testing.assert_close(found[b, t], right, rtol=0, atol=1e-12)


def test_the_package_is_found_without_running_its_init(tmp_path, monkeypatch):
    kernels = tmp_path / "mamba_ssm" / "ops" / "triton"
    kernels.mkdir(parents=True)
    for folder in (kernels, kernels.parent):
        (folder / "__init__.py").touch()
    (tmp_path / "mamba_ssm" / "__init__.py").write_text("raise ImportError('no module that nvcc compiled')")
    (kernels / "ssd_combined.py").write_text("causal_conv1d_fn = None")
    for name in [name for name in ssd_scan_cuda.sys.modules if name.split(".")[0] == "mamba_ssm"]:
        monkeypatch.delitem(ssd_scan_cuda.sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    module, reason = ssd_scan_cuda.mamba_ssm.__wrapped__()
    for name in [name for name in ssd_scan_cuda.sys.modules if name.split(".")[0] == "mamba_ssm"]:
        monkeypatch.delitem(ssd_scan_cuda.sys.modules, name)
    assert module is not None, reason
    assert reason == f"mamba_ssm is at {kernels / 'ssd_combined.py'}, with torch's convolution"
