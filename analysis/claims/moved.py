"""Models at other grids than their own, as the claims of the study E2 take them: losses by rule, side and steps from
transfer_shapes.csv and transfer_cifar10.csv in analysis/measured, a row per run, three seeds."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from analysis.claims.measured import NAMES, measured
from analysis.studies.transfer import DIRECT

LARGER, OTHERS = (2.0, 3.0), (0.5, 2.0, 3.0)  # sides of the grid, in those of the first training


class Moved(NamedTuple):
    """The runs of one backbone with one encoding."""

    backbone: str
    encoding: str
    runs: pd.DataFrame  # of analysis/studies/transfer.py, transfers

    @property
    def rules(self) -> list[str]:
        """Of the encoding, the default first."""
        its = self.runs[(self.runs["rule"] != DIRECT) & (self.runs["side"] != 1)]
        return [str(rule) for rule in its["rule"].unique()]

    def losses(self, rule: str, side: float, steps: int = 0) -> pd.Series:
        """Test losses by seed [nats]."""
        runs = self.runs
        its = runs[(runs["rule"] == rule) & (runs["side"] == side) & (runs["steps"] == steps)]
        return its.groupby("seed")["test_loss"].first()

    def over_direct(self, rule: str, side: float) -> pd.Series:
        """Losses at once less those of the model trained there, by seed [nats]."""
        return (self.losses(rule, side) - self.losses(DIRECT, side)).dropna()

    def over_own(self, side: float) -> pd.Series:
        """Losses at once by the first rule less those at the own side, by seed [nats]."""
        return (self.losses(self.rules[0], side) - self.losses(DIRECT, 1)).dropna()

    def name(self, rule: str = "") -> str:
        """rule: "": the first."""
        return f"{NAMES[self.backbone]}, {self.encoding} ({rule or self.rules[0]})"

    def at(self, side: float, rule: str = "") -> str:
        """The name, and the side."""
        return f"{self.name(rule)}, {side:g} times the side"


def each(found: pd.DataFrame) -> Iterator[Moved]:
    """found: of analysis/studies/transfer.py, transfers."""
    for (backbone, encoding), runs in found.groupby(["backbone", "encoding"], sort=False):
        yield Moved(str(backbone), str(encoding), runs)


def moved(data: str) -> pd.DataFrame:
    """The measured ones. data: the end of the file's name."""
    return measured(f"transfer_{data}")
