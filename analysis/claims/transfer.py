"""Estimates of claims on models that are brought to another grid (study E2): their loss against that of models trained
there, at once (k = 0 steps) and after finetuning. Paired over seeds, each backbone, encoding and side by itself. Where
a claim names no rule of an encoding, its first one is taken, the default."""

from collections.abc import Callable, Sequence

import pandas as pd

from analysis.claims.moved import OTHERS, each, moved
from analysis.claims.paired import mean_of, paired
from analysis.claims.verdict import Estimate
from analysis.studies.transfer import DIRECT

FINETUNED = 100  # steps
INTERPOLATED = ("interpolate", "bicubic")


def interpolated_over_direct(found: pd.DataFrame) -> list[Estimate]:
    """Loss by interpolated positions less that of the model trained there [nats]."""
    return [
        mean_of(one.at(side, rule), one.over_direct(rule, side))
        for one in each(found)
        for rule in one.rules
        if rule in INTERPOLATED
        for side in OTHERS
    ]


def first_rule_over_direct(found: pd.DataFrame, sides: Sequence[float] = OTHERS) -> list[Estimate]:
    """Loss by the first rule of every encoding less that of the model trained there [nats]."""
    return [mean_of(one.at(side), one.over_direct(one.rules[0], side)) for one in each(found) for side in sides]


def bicubic_over_direct(found: pd.DataFrame, side: float) -> list[Estimate]:
    """The same of learned positions, whose first rule is bicubic, at one side."""
    return first_rule_over_direct(found[found["encoding"] == "learned"], [side])


def rises_away(found: pd.DataFrame) -> list[Estimate]:
    """How far the loss over that of the model trained there rises away from the own side, where it is 0 [nats]: from 1
    to 0.5 and to 2 times the side, and from 2 to 3 times."""
    estimates = []
    for one in each(found):
        half, twice, thrice = (one.over_direct(one.rules[0], side) for side in OTHERS)
        estimates += [
            mean_of(f"{one.name()}, from 1 to 0.5 times the side", half),
            mean_of(f"{one.name()}, from 1 to 2 times the side", twice),
            paired(f"{one.name()}, from 2 to 3 times the side", twice, thrice),
        ]
    return estimates


def quality_less_formula(found: pd.DataFrame) -> list[Estimate]:
    """Loss of the model trained there over that of the transferred one, less exp(-abs(ln side)) [1]."""
    estimates = []
    for one in each(found):
        for side in OTHERS:
            quality = (one.losses(DIRECT, side) / one.losses(one.rules[0], side)).dropna()
            estimates.append(mean_of(one.at(side), quality - min(side, 1 / side)))
    return estimates


def finetuned_over_best(found: pd.DataFrame) -> list[Estimate]:
    """Loss after 100 steps of finetuning by the first rule of the encoding less that at once by the best of all its
    rules in the same seed [nats]."""
    estimates = []
    for one in each(found):
        for side in OTHERS:
            at_once = pd.concat([one.losses(rule, side) for rule in one.rules], axis=1).min(axis=1)
            estimates.append(paired(one.at(side), at_once, one.losses(one.rules[0], side, FINETUNED)))
    return estimates


def _of(data: str) -> dict[str, Callable[[], list[Estimate]]]:
    """data: the end of the file's name."""
    return {
        "interpolated_over_direct": lambda: interpolated_over_direct(moved(data)),
        "transferred_over_direct": lambda: first_rule_over_direct(moved(data)),
        "bicubic_at_twice": lambda: bicubic_over_direct(moved(data), 2),
        "bicubic_at_thrice": lambda: bicubic_over_direct(moved(data), 3),
        "rises_away_from_own_side": lambda: rises_away(moved(data)),
        "quality_less_formula": lambda: quality_less_formula(moved(data)),
        "finetuned_over_best_at_once": lambda: finetuned_over_best(moved(data)),
    }


ESTIMATES, ON_CIFAR10 = _of("shapes"), _of("cifar10")
