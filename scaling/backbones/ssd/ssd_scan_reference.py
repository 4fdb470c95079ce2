"""The definition of the state-space-dual scan, one token at a time: what ssd_scan.py is tested against.

Letters as in ssd_scan.py.
"""

import torch

from scaling.backbones.ssd.scan_inputs import ScanInputs, ScanResult


def scan_ref(inputs: ScanInputs) -> ScanResult:
    """Output and final state, in float64. Slow."""
    x, dt, A, B, C, D, segment_ids, initial_state = inputs.to(torch.float64)
    batch, length, heads, channels = x.shape
    state = x.new_zeros(batch, heads, channels, B.shape[-1]) if initial_state is None else initial_state
    y = []
    for t in range(length):
        if segment_ids is not None and t > 0:
            same = segment_ids[:, t] == segment_ids[:, t - 1]
            state = torch.where(same[:, None, None, None], state, torch.zeros_like(state))
        decay = torch.exp(dt[:, t] * A)
        inflow = torch.einsum("bh,bhp,bn->bhpn", dt[:, t], x[:, t], B[:, t])
        state = decay[:, :, None, None] * state + inflow
        y.append(torch.einsum("bhpn,bn->bhp", state, C[:, t]) + D[:, None] * x[:, t])
    return ScanResult(torch.stack(y, 1), state)
