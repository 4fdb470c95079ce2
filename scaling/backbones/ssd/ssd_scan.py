"""The state-space-dual scan of Mamba-2: a slow reference twin, a fast road in plain torch, mamba-ssm on CUDA.

Source: Mamba-2, arXiv 2405.21060, section 6 (the chunked algorithm). For every head h, with a_t = dt_t * A < 0,

    S_t = exp(a_t) * S_(t-1) + dt_t * x_t B_t^T        y_t = S_t C_t + D x_t

B batch, L tokens, H heads, P channels of a head, N state size, T tokens of a chunk, c chunks, b = B * c,
I = H * P. B_BLN and C_BLN are shared by all heads (one group). A state is (B, H, P, N).
"""

import functools
import importlib
import os
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.errors import ConfigError
from scaling.model_specs import CHUNKS, chunk_length

CUDA_CHUNK = 256  # tokens of a chunk in mamba-ssm's kernels, as the released models were trained
# exp(+-reach) must stay clear of overflow and underflow after it has met the data: 1e26 of 1e38, 1e260 of 1e308.
REACH = {torch.float32: 60.0, torch.float64: 600.0}


def scan_ref(
    x_BLHP: Tensor,
    dt_BLH: Tensor,
    A_H: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    D_H: Tensor,
    segment_ids: Tensor | None = None,
    initial_state: Tensor | None = None,
    return_state: bool = False,
) -> Any:
    """The definition, one token at a time in float64. Slow; what `scan` is tested against."""
    x, dt, A, B, C, D = (t.double() for t in (x_BLHP, dt_BLH, A_H, B_BLN, C_BLN, D_H))
    batch, length, heads, channels = x.shape
    state = x.new_zeros(batch, heads, channels, B.shape[-1]) if initial_state is None else initial_state.double()
    y = []
    for t in range(length):
        if segment_ids is not None and t > 0:
            same = segment_ids[:, t] == segment_ids[:, t - 1]
            state = torch.where(same[:, None, None, None], state, torch.zeros_like(state))
        decay = torch.exp(dt[:, t] * A)
        inflow = torch.einsum("bh,bhp,bn->bhpn", dt[:, t], x[:, t], B[:, t])
        state = decay[:, :, None, None] * state + inflow
        y.append(torch.einsum("bhpn,bn->bhp", state, C[:, t]) + D[:, None] * x[:, t])
    y_BLHP = torch.stack(y, 1)
    return (y_BLHP, state) if return_state else y_BLHP


def scan(
    x_BLHP: Tensor,
    dt_BLH: Tensor,
    A_H: Tensor,
    B_BLN: Tensor,
    C_BLN: Tensor,
    D_H: Tensor,
    segment_ids: Tensor | None = None,
    initial_state: Tensor | None = None,
    return_state: bool = False,
) -> Any:
    """The fast road: y_BLHP in the dtype of x, or (y_BLHP, final state BHPN) with return_state.

    dt is positive (after softplus), A negative. segment_ids (B, L), integers that never decrease: the state starts
    anew where the id changes. initial_state is what the first token's segment starts from. Arithmetic is float32
    also under autocast and for half precision inputs; float64 stays float64.
    """
    check_scan(x_BLHP, segment_ids)
    if x_BLHP.is_cuda and mamba_ssm()[0] is not None:
        return _scan_mamba_ssm(x_BLHP, dt_BLH, A_H, B_BLN, C_BLN, D_H, segment_ids, initial_state, return_state)
    work = work_dtype(x_BLHP.dtype)
    with torch.autocast(x_BLHP.device.type, enabled=False):
        x, dt, A, B, C, D = (t.to(work) for t in (x_BLHP, dt_BLH, A_H, B_BLN, C_BLN, D_H))
        state = None if initial_state is None else initial_state.to(work)
        y_BLHP, final = chunked(x, dt, A, B, C, D, segment_ids, state, return_state)
    y_BLHP = y_BLHP.to(x_BLHP.dtype)
    return (y_BLHP, final) if return_state else y_BLHP


class Backend(NamedTuple):
    """The implementation that `scan` uses, and the reason."""

    name: str  # "mamba-ssm" or "torch"
    reason: str


def backend(device: str = "cuda") -> Backend:
    """The road of `scan` for tensors on this kind of device ("cpu", "cuda"), and why."""
    if device != "cuda":
        return Backend("torch", f"mamba-ssm's kernels run on CUDA only, not on {device}")
    if not torch.cuda.is_available():
        return Backend("torch", "torch sees no CUDA device")
    module, why = mamba_ssm()
    return Backend("torch" if module is None else "mamba-ssm", why)


@functools.cache
def mamba_ssm() -> tuple[Any, str]:
    """mamba-ssm's module of state-space-dual kernels, or None; and why. SCALING_SCAN=torch does without them."""
    if os.environ.get("SCALING_SCAN", "") == "torch":
        return None, "SCALING_SCAN=torch asks for it"
    try:
        module = importlib.import_module("mamba_ssm.ops.triton.ssd_combined")
    except Exception as error:  # a build for another torch fails in many ways, none of which should stop a run
        return None, f"mamba_ssm cannot be imported ({type(error).__name__}: {error})"
    return module, f"mamba_ssm is at {module.__file__}"


def _scan_mamba_ssm(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    segment_ids: Tensor | None,
    initial_state: Tensor | None,
    return_state: bool,
) -> Any:
    return mamba_ssm()[0].mamba_chunk_scan_combined(
        x,
        dt.float(),
        A.float(),
        B.unsqueeze(2).to(x.dtype),
        C.unsqueeze(2).to(x.dtype),
        chunk_size=CUDA_CHUNK,
        D=D.float(),
        initial_states=initial_state,
        seq_idx=_seq_idx(segment_ids),
        return_final_states=return_state,
    )


def mamba_ssm_mix(
    zxBCdt_BLX: Tensor,
    conv_C1K: Tensor,
    conv_bias_C: Tensor,
    dt_bias_H: Tensor,
    A_H: Tensor,
    D_H: Tensor,
    norm_I: Tensor,
    eps: float,
    segment_ids: Tensor | None,
) -> Tensor:
    """mix.mix as one call of mamba-ssm's, which takes (z, x, B, C, dt) side by side."""
    return mamba_ssm()[0].mamba_split_conv1d_scan_combined(
        zxBCdt_BLX,
        conv_C1K.squeeze(1),
        conv_bias_C,
        dt_bias_H.float(),
        A_H.float(),
        D_H.float(),
        chunk_size=CUDA_CHUNK,
        seq_idx=_seq_idx(segment_ids),
        activation="silu",
        rmsnorm_weight=norm_I,
        rmsnorm_eps=eps,
        headdim=norm_I.shape[0] // A_H.shape[0],
        ngroups=1,
        norm_before_gate=False,
    )


def _seq_idx(segment_ids: Tensor | None) -> Tensor | None:
    return None if segment_ids is None else segment_ids.to(torch.int32).contiguous()


def work_dtype(dtype: torch.dtype) -> torch.dtype:
    """What is computed in: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def check_scan(x_BLHP: Tensor, segment_ids: Tensor | None) -> None:
    """Raise ConfigError for what no road takes. x may have its heads side by side (B, L, I)."""
    batch, length = x_BLHP.shape[:2]
    if length == 0:
        raise ConfigError("a scan over 0 tokens has no result; give it 1 or more")
    if x_BLHP.dtype == torch.float16 and x_BLHP.device.type == "cpu":
        raise ConfigError("the scan takes no float16 on the CPU; use bfloat16 or float32")
    if segment_ids is not None:
        check_segments(segment_ids, batch, length)


def check_segments(segment_ids: Tensor, batch: int, length: int) -> None:
    """Raise ConfigError unless segment_ids is (batch, length) integers that never decrease along a row."""
    if tuple(segment_ids.shape) != (batch, length):
        raise ConfigError(f"segment_ids is {tuple(segment_ids.shape)}, the tokens are ({batch}, {length})")
    if segment_ids.is_floating_point():
        raise ConfigError(f"segment_ids is {segment_ids.dtype}; give integers")
    back = (segment_ids[:, 1:] < segment_ids[:, :-1]).nonzero()
    if len(back):
        row, at = (int(i) for i in back[0])
        raise ConfigError(
            f"segment_ids goes back from {int(segment_ids[row, at])} to {int(segment_ids[row, at + 1])} at row {row}, "
            f"token {at + 1}; ids never decrease along a row"
        )


def plan(dt_BLH: Tensor, A_H: Tensor) -> tuple[int, bool]:
    """Tokens of a chunk, and whether the decays of all heads factor there. Strong decays get shorter chunks; the
    strongest, long chunks without factoring."""
    for best in CHUNKS:
        size, factors_H = _factoring(dt_BLH, A_H, best)
        if factors_H.all():
            return size, True
    return chunk_length(dt_BLH.shape[1]), False


def plan_heads(dt_BLH: Tensor, A_H: Tensor) -> tuple[int, Tensor]:
    """Tokens of a chunk in which the decays of three heads in four factor at least, and which heads' do (H,): a few
    heads that forget fast, as there are in most models, must not make all others' chunks short."""
    for best in CHUNKS:
        size, factors_H = _factoring(dt_BLH, A_H, best)
        if 4 * int(factors_H.sum()) >= 3 * len(A_H):
            break
    return size, factors_H


def _factoring(dt_BLH: Tensor, A_H: Tensor, best: int) -> tuple[int, Tensor]:
    """Tokens of a chunk near `best`, and the heads whose decays factor in it: exp(s_i - s_j) = exp(s_i - mid) *
    exp(mid - s_j) needs both within REACH."""
    size = chunk_length(dt_BLH.shape[1], best)
    drop_BcTH = F.pad(-(dt_BLH * A_H).detach(), (0, 0, 0, -dt_BLH.shape[1] % size)).unflatten(1, (-1, size))
    return size, drop_BcTH[:, :, 1:].sum(2).amax((0, 1)) <= 2 * REACH[dt_BLH.dtype]


def chunked(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    segment_ids: Tensor | None,
    initial_state: Tensor | None,
    return_state: bool,
) -> tuple[Tensor, Tensor | None]:
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
    y_BLHP = y_bTI.view(batch, count * size, heads, channels)
    return (y_BLHP[:, :length] if pad else y_BLHP), final_BHPN


def decay_sums(dt_bTH: Tensor, A_H: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of decay from a chunk's beginning to each of its tokens, and the middle of their range (b, 1, H);
    b may be several axes.

    In float64: H numbers a token cost nothing, and exp() of a difference of large sums stays exact."""
    wide = wide_dtype(dt_bTH)
    sum_bTH = (dt_bTH.to(wide) * A_H.to(wide)).cumsum(-2)
    return sum_bTH, (sum_bTH[..., :1, :] + sum_bTH[..., -1:, :]) / 2


def wide_dtype(x: Tensor) -> torch.dtype:
    """For sums over many tokens: float64, which Apple's GPUs do not have."""
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


class Link(NamedTuple):
    """Who hears whom, decays aside; the same for all heads, so that segments cost H times less here than there."""

    G_bTT: Tensor  # C_i . B_j for j <= i of one segment, else 0
    enter_bTN: Tensor  # C of tokens of the segment that the state before the chunk belongs to, else 0
    leave_bTN: Tensor  # B of tokens of the segment that the chunk ends in, else 0
    # All None where there are no segments:
    keep_b11: Tensor | None = None  # 1 where the chunk ends in the segment that it took over, else 0
    apart_bTT: Tensor | None = None  # pairs of two segments
    foreign_bT1: Tensor | None = None  # tokens that do not enter
    gone_bT1: Tensor | None = None  # tokens that do not leave

    @classmethod
    def of(cls, B_bTN: Tensor, C_bTN: Tensor, ids_BL: Tensor | None, count: int) -> "Link":
        """count: chunks of an image."""
        G_bTT = torch.bmm(C_bTN, B_bTN.transpose(1, 2)).tril()
        if ids_BL is None:
            return cls(G_bTT, C_bTN, B_bTN)
        size = B_bTN.shape[1]
        # Padding repeats the last id, so that the final state is the last segment's.
        pad_BL = ids_BL[:, -1:].expand(-1, count * size - ids_BL.shape[1])
        ids_BcT = torch.cat([ids_BL, pad_BL], 1).unflatten(1, (count, size))
        last_Bc1 = ids_BcT[:, :, -1:]
        came_Bc1 = torch.cat([ids_BcT[:, :1, :1], last_Bc1[:, :-1]], 1)
        apart_bTT = (ids_BcT.unsqueeze(-1) != ids_BcT.unsqueeze(-2)).flatten(0, 1)
        foreign_bT1 = (ids_BcT != came_Bc1).flatten(0, 1).unsqueeze(-1)
        gone_bT1 = (ids_BcT != last_Bc1).flatten(0, 1).unsqueeze(-1)
        return cls(
            G_bTT.masked_fill(apart_bTT, 0.0),
            C_bTN.masked_fill(foreign_bT1, 0.0),
            B_bTN.masked_fill(gone_bT1, 0.0),
            (last_Bc1 == came_Bc1).flatten(0, 1).unsqueeze(-1).to(B_bTN.dtype),
            apart_bTT,
            foreign_bT1,
            gone_bT1,
        )

    def passing(self, decay_b1H: Tensor) -> Tensor:
        """What a state is multiplied with from chunk to chunk."""
        return decay_b1H if self.keep_b11 is None else decay_b1H * self.keep_b11

    # What a gradient must pass on its way back, in place.

    def only_linked_(self, dG_bTT: Tensor) -> Tensor:
        dG_bTT.tril_()
        return dG_bTT if self.apart_bTT is None else dG_bTT.masked_fill_(self.apart_bTT, 0.0)

    def only_entering_(self, dC_bTN: Tensor) -> Tensor:
        return dC_bTN if self.foreign_bT1 is None else dC_bTN.masked_fill_(self.foreign_bT1, 0.0)

    def only_leaving_(self, dB_bTN: Tensor) -> Tensor:
        return dB_bTN if self.gone_bT1 is None else dB_bTN.masked_fill_(self.gone_bT1, 0.0)
