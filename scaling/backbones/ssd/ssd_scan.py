"""The state-space-dual scan of Mamba-2: a chunked implementation in PyTorch, or mamba-ssm on CUDA.

Source: Mamba-2, arXiv 2405.21060, section 6 (the chunked algorithm). For every head h, with a_t = dt_t * A < 0,

    S_t = exp(a_t) * S_(t-1) + dt_t * x_t B_t^T        y_t = S_t C_t + D x_t

B batch, L tokens, H heads, P channels of a head, N state size, T tokens of a chunk, c chunks, b = B * c,
I = H * P. B_BLN and C_BLN are shared by all heads (one group). A state is (B, H, P, N).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.backbones.ssd.chunk_links import Link
from scaling.backbones.ssd.scan_inputs import ScanInputs, ScanResult, check_scan, work_dtype
from scaling.backbones.ssd.ssd_scan_cuda import mamba_ssm, scan_cuda
from scaling.model_specs import CHUNKS, chunk_length

# exp(+-reach) must stay clear of overflow and underflow after it has met the data: 1e26 of 1e38, 1e260 of 1e308.
REACH = {torch.float32: 60.0, torch.float64: 600.0}


def scan(inputs: ScanInputs, return_state: bool = False) -> ScanResult:
    """Output in the dtype of x, and with return_state the final state.

    Arithmetic is float32 also under autocast and for half precision inputs; float64 stays float64. Raises ConfigError.
    """
    x_BLHP = inputs.x_BLHP
    check_scan(x_BLHP, inputs.segment_ids)
    if x_BLHP.is_cuda and mamba_ssm()[0] is not None:
        return scan_cuda(inputs, return_state)
    with torch.autocast(x_BLHP.device.type, enabled=False):
        y_BLHP, final = chunked(inputs.to(work_dtype(x_BLHP.dtype)), return_state)
    return ScanResult(y_BLHP.to(x_BLHP.dtype), final if return_state else None)


def plan(dt_BLH: Tensor, A_H: Tensor) -> tuple[int, bool]:
    """Tokens of a chunk, and whether the decays of all heads factor there. Strong decays get shorter chunks; the
    strongest, long chunks without factoring."""
    for most in CHUNKS:
        size, factors_H = _factoring(dt_BLH, A_H, most)
        if factors_H.all():
            return size, True
    return chunk_length(dt_BLH.shape[1]), False


def plan_heads(dt_BLH: Tensor, A_H: Tensor) -> tuple[int, Tensor]:
    """Tokens of a chunk in which the decays of three heads in four factor at least, and which heads' do (H,): a few
    heads with strong decays, as there are in most models, must not make the chunks of all others short."""
    for most in CHUNKS:
        size, factors_H = _factoring(dt_BLH, A_H, most)
        if 4 * int(factors_H.sum()) >= 3 * len(A_H):
            break
    return size, factors_H


def _factoring(dt_BLH: Tensor, A_H: Tensor, most: int) -> tuple[int, Tensor]:
    """Tokens of a chunk, about `most`, and the heads whose decays factor in it: exp(s_i - s_j) = exp(s_i - mid) *
    exp(mid - s_j) needs both within REACH."""
    size = chunk_length(dt_BLH.shape[1], most)
    drop_BcTH = F.pad(-(dt_BLH * A_H).detach(), (0, 0, 0, -dt_BLH.shape[1] % size)).unflatten(1, (-1, size))
    return size, drop_BcTH[:, :, 1:].sum(2).amax((0, 1)) <= 2 * REACH[dt_BLH.dtype]


def chunked(inputs: ScanInputs, return_state: bool) -> ScanResult:
    """The chunked algorithm; inputs of one dtype, float32 or float64. The state is computed where there are several
    chunks or it is requested."""
    x, dt, A, B, C, D, segment_ids, initial_state = inputs
    batch, length, heads, channels = x.shape
    states = B.shape[-1]
    size, factored = plan(dt, A)
    count = -(-length // size)
    pad = count * size - length
    if pad:  # dt = 0 neither decays nor feeds the state
        x, B, C = (F.pad(t.flatten(2), (0, 0, 0, pad)) for t in (x, B, C))
        dt = F.pad(dt, (0, 0, 0, pad))
    x_bTI = x.reshape(batch * count, size, heads * channels)
    dt_bTH = dt.reshape(-1, size, heads)
    sum_bTH, base_b1H = decay_sums(dt_bTH, A)
    link = Link.of(B.reshape(-1, size, states), C.reshape(-1, size, states), segment_ids, count)

    # Factored around the middle of their range, all heads share one G and go through one bmm. The middle cancels,
    # so it needs no gradient. Not factored, inflow is measured at the chunk's end, where no factor exceeds 1.
    end_b1H = sum_bTH[:, -1:]
    base_b1H = base_b1H.detach() if factored else end_b1H
    W_bTI = scale_heads(x_bTI, dt_bTH * torch.exp(base_b1H - sum_bTH).to(x.dtype))
    before_bNI: Tensor | None = None
    final_BHPN: Tensor | None = None
    if count > 1 or initial_state is not None or return_state:
        inflow_bNI = torch.bmm(link.leave_bTN.transpose(1, 2), W_bTI)
        if factored:
            inflow_bNI = scale_heads(inflow_bNI, torch.exp(end_b1H - base_b1H).to(x.dtype))
        decay_b1H = link.passing(torch.exp(end_b1H).to(x.dtype))
        before_bNI, final_BHPN = _chain(inflow_bNI, decay_b1H, initial_state, count)

    if factored:
        y_bTI = torch.bmm(link.G_bTT, W_bTI)
        if before_bNI is not None:
            before_bNI = scale_heads(before_bNI, torch.exp(base_b1H).to(x.dtype))
            y_bTI = torch.baddbmm(y_bTI, link.enter_bTN, before_bNI)
        y_bTI = scale_heads(y_bTI, torch.exp(sum_bTH - base_b1H).to(x.dtype))
    else:
        y_bTI = _within_any_decay(link.G_bTT, sum_bTH, dt_bTH, x_bTI)
        if before_bNI is not None:
            read_bTI = torch.bmm(link.enter_bTN, before_bNI)
            y_bTI = y_bTI + scale_heads(read_bTI, torch.exp(sum_bTH).to(x.dtype))
    y_bTI = torch.addcmul(y_bTI, x_bTI, D.repeat_interleave(channels))
    y_BLHP = y_bTI.reshape(batch, count * size, heads, channels)
    return ScanResult(y_BLHP[:, :length] if pad else y_BLHP, final_BHPN)


def decay_sums(dt_bTH: Tensor, A_H: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of decay from a chunk's beginning to each of its tokens, and the middle of their range (b, 1, H);
    b may be several axes.

    In float64: H numbers a token cost nothing, and exp() of a difference of large sums stays exact."""
    wide = wide_dtype(dt_bTH)
    sum_bTH = (dt_bTH.to(wide) * A_H.to(wide)).cumsum(-2)
    return sum_bTH, (sum_bTH[..., :1, :] + sum_bTH[..., -1:, :]) / 2


def wide_dtype(x: Tensor) -> torch.dtype:
    """The dtype of sums over many tokens: float64, which Apple's GPUs do not have."""
    return torch.float32 if x.device.type == "mps" else torch.float64


def scale_heads(x_bTI: Tensor, scale_bTH: Tensor, out: Tensor | None = None) -> Tensor:
    """Multiply the channels of every head by that head's number; scale may be (b, 1, H)."""
    heads = scale_bTH.shape[-1]
    x_bTHP, scale_bTH1 = x_bTI.unflatten(-1, (heads, -1)), scale_bTH.unsqueeze(-1)
    if out is None:
        return (x_bTHP * scale_bTH1).flatten(-2)
    torch.mul(x_bTHP, scale_bTH1, out=out.unflatten(-1, (heads, -1)))
    return out


def _within_any_decay(G_bTT: Tensor, sum_bTH: Tensor, dt_bTH: Tensor, x_bTI: Tensor) -> Tensor:
    """A chunk's outputs from its own tokens when decays are too strong to factor: one T x T matrix per head."""
    size, heads = dt_bTH.shape[1:]
    sum_bHT = sum_bTH.transpose(1, 2)
    later = torch.ones(size, size, dtype=torch.bool, device=G_bTT.device).triu(1)
    gap_bHTT = (sum_bHT.unsqueeze(-1) - sum_bHT.unsqueeze(-2)).masked_fill(later, float("-inf"))
    M_bHTT = torch.exp(gap_bHTT.to(x_bTI.dtype)) * G_bTT.unsqueeze(1) * dt_bTH.transpose(1, 2).unsqueeze(2)
    x_bHTP = x_bTI.unflatten(-1, (heads, -1)).transpose(1, 2)
    return torch.matmul(M_bHTT, x_bHTP).transpose(1, 2).flatten(-2)


def _chain(inflow_bNI: Tensor, decay_b1H: Tensor, start_BHPN: Tensor | None, count: int) -> tuple[Tensor, Tensor]:
    """Carry the state from chunk to chunk: the state before every chunk, and after the last (B, H, P, N)."""
    inflow = inflow_bNI.unflatten(0, (-1, count)).unbind(1)
    decay = decay_b1H.unflatten(0, (-1, count)).unbind(1)
    state_BNI = torch.zeros_like(inflow[0])
    if start_BHPN is not None:
        state_BNI = start_BHPN.permute(0, 3, 1, 2).flatten(2)
    before = []
    for flow_BNI, decay_B1H in zip(inflow, decay, strict=True):
        before.append(state_BNI)
        state_BNI = flow_BNI + scale_heads(state_BNI, decay_B1H)
    final_BHPN = state_BNI.unflatten(2, (decay_b1H.shape[-1], -1)).permute(0, 2, 3, 1)
    return torch.stack(before, 1).flatten(0, 1), final_BHPN.contiguous()
