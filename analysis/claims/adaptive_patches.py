"""Estimates of claims on patches by content (study E8), from adaptive_shapes.csv and adaptive_cifar10.csv in
analysis/measured: a row per run, three seeds. Losses [nats] at equally many tokens, paired over seeds, each backbone,
score and number of tokens by itself."""

from collections.abc import Callable

import pandas as pd

from analysis.claims.measured import NAMES, measured
from analysis.claims.paired import paired
from analysis.claims.verdict import Estimate
from analysis.studies.adaptive import CONTENT, PLAIN, TURNED, WORDS

UNIFORM, CONTROL = WORDS[PLAIN], WORDS[TURNED]


def by_content(table: pd.DataFrame, against: str) -> list[Estimate]:
    """Loss with trees by content, variance and edges, less that of other patches, one of WORDS. table: of
    analysis/studies/adaptive.py, adaptive_table."""
    found = []
    for (backbone, tokens), its in table.groupby(["backbone", "tokens"], sort=False):
        losses = {name: one.set_index("seed")["test_loss"] for name, one in its.groupby("patches")}
        for score in (WORDS[name] for name in CONTENT):
            what = f"{NAMES[str(backbone)]}, {tokens} tokens: {score} less {against}"
            found.append(paired(what, losses[against], losses[score]))
    return found


def _of(data: str) -> dict[str, Callable[[], list[Estimate]]]:
    """data: the end of the file's name."""
    return {
        "content_over_uniform": lambda: by_content(measured(f"adaptive_{data}"), UNIFORM),
        "content_over_turned": lambda: by_content(measured(f"adaptive_{data}"), CONTROL),
    }


ESTIMATES, ON_CIFAR10 = _of("shapes"), _of("cifar10")
