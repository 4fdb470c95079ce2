"""Instruments: callbacks that read training, change nothing in it, and fill columns of curve.csv (docs/stability.md).

What costs more than a hundredth of a step is read at every EVERY-th step alone. Values over a window are those of the
last WINDOW steps that were read.
"""

import math
from collections.abc import Mapping, Sequence

import lightning as L

EVERY = 32  # steps
WINDOW = 32  # steps that were read


class Instrument(L.Callback):
    """One concern. It stands before CurveLogger, which asks for its cells."""

    columns: tuple[str, ...] = ()  # once training has begun

    def cells(self, trainer: L.Trainer) -> dict[str, float]:
        """Of the row that is due, by column: what was read since the row before. What was not read, or cannot be
        known, is left out. All devices have to call it."""
        raise NotImplementedError

    def summary(self, rows: Sequence[Mapping[str, float]], steps: Sequence[int]) -> dict[str, float]:
        """One number per column from the cells of several rows, and how many steps each row has: their mean, weighted
        by steps. Cells that are not finite are left out: a record has none."""
        found = {}
        for column in self.columns:
            pairs = [(row[column], n) for row, n in zip(rows, steps, strict=True) if column in row]
            pairs = [(value, n) for value, n in pairs if math.isfinite(value) and n]
            if pairs:
                found[column] = sum(value * n for value, n in pairs) / sum(n for _, n in pairs)
        return found


def is_read(steps: int) -> bool:
    """Whether the step that follows so many is one of every EVERY, the first one among them."""
    return steps % EVERY == 0
