"""Products of B and C between the tokens of chunks, masked by segments. Letters as in ssd_scan.py."""

from typing import NamedTuple

import torch
from torch import Tensor


class Link(NamedTuple):
    """Which token reads from which, decays aside. Equal for all heads, so segments cost H times less here than in the
    decays."""

    G_bTT: Tensor  # C_i . B_j for j <= i of one segment, else 0
    enter_bTN: Tensor  # C of tokens of the segment that the state before the chunk belongs to, else 0
    leave_bTN: Tensor  # B of tokens of the segment that the chunk ends in, else 0
    # None without segments:
    keep_b11: Tensor | None = None  # 1 where the chunk ends in the segment of the state before it, else 0
    apart_bTT: Tensor | None = None  # pairs of two segments
    foreign_bT1: Tensor | None = None  # tokens that do not enter
    gone_bT1: Tensor | None = None  # tokens that do not leave

    @classmethod
    def of(cls, B_bTN: Tensor, C_bTN: Tensor, ids_BL: Tensor | None, count: int) -> "Link":
        """count: chunks per image."""
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
        """Factor of a state from chunk to chunk."""
        return decay_b1H if self.keep_b11 is None else decay_b1H * self.keep_b11

    # Gradients, masked in place.

    def only_linked_(self, dG_bTT: Tensor) -> Tensor:
        dG_bTT.tril_()
        return dG_bTT if self.apart_bTT is None else dG_bTT.masked_fill_(self.apart_bTT, 0.0)

    def only_entering_(self, dC_bTN: Tensor) -> Tensor:
        return dC_bTN if self.foreign_bT1 is None else dC_bTN.masked_fill_(self.foreign_bT1, 0.0)

    def only_leaving_(self, dB_bTN: Tensor) -> Tensor:
        return dB_bTN if self.gone_bT1 is None else dB_bTN.masked_fill_(self.gone_bT1, 0.0)
