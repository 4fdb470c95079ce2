"""Estimates of claims on finetuning at another patch size (study E2k), from patch_transfer_shapes.csv and
patch_transfer_cifar10.csv in analysis/measured: a row per run, three seeds. The kernel is resized by its
pseudo-inverse; paired over seeds, each backbone, encoding and patch size by itself."""

from collections.abc import Callable, Sequence

import pandas as pd

from analysis.claims.measured import NAMES, measured
from analysis.claims.paired import geometric_mean_of, paired
from analysis.claims.verdict import Estimate
from analysis.studies.finetuning import LEARNED, PSEUDO_INVERSE, gaps
from analysis.studies.transfer import DIRECT

BRIEF, LONGEST = 300, 1000  # steps
AT_ONCE = 0


def falls(found: pd.DataFrame) -> list[Estimate]:
    """Loss at once less that after 300 steps, with learned positions [nats]."""
    its = found[found["encoding"] == LEARNED]
    return [paired(what, _losses(runs, BRIEF), _losses(runs, AT_ONCE)) for what, runs in _models(its)]


def longest_over_direct(found: pd.DataFrame) -> list[Estimate]:
    """Loss after 1,000 steps less that of the model trained there [nats]."""
    return [paired(what, _losses(runs, AT_ONCE, DIRECT), _losses(runs, LONGEST)) for what, runs in _models(found)]


def steps_to_share(found: pd.DataFrame) -> list[Estimate]:
    """Steps to 90 % of the fall, a geometric mean over seeds; nan where a seed's loss has not fallen."""
    return [geometric_mean_of(what, _steps(runs)) for what, runs in _models(found)]


def steps_over_learned(found: pd.DataFrame, encodings: Sequence[str]) -> list[Estimate]:
    """Steps to 90 % of the fall at the smaller patch, with each of these encodings that a backbone has, over those with
    learned positions: a geometric mean over seeds [x]."""
    its = found[found["patch"] == found["patch"].min()]
    estimates = []
    for _, of_backbone in its.groupby("backbone", sort=False):
        learned = _steps(of_backbone[of_backbone["encoding"] == LEARNED])
        for what, runs in _models(of_backbone[of_backbone["encoding"].isin(encodings)]):
            ratio = _steps(runs) / learned
            estimates.append(geometric_mean_of(f"{what}, over {LEARNED}", ratio))
    return estimates


def _models(found: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Name and runs of each backbone, encoding and patch size."""
    models = []
    for (backbone, kind, patch), runs in found.groupby(["backbone", "encoding", "patch"], sort=False):
        first = round((runs["side"] * runs["patch"]).iloc[0])  # the patch size of the first training [px]
        models.append((f"{NAMES[str(backbone)]}, {kind}, {first} to {patch} px", runs))
    return models


def _losses(runs: pd.DataFrame, steps: int, rule: str = "") -> pd.Series:
    """By seed [nats]. rule: DIRECT, or any other."""
    its = runs[(runs["steps"] == steps) & ((runs["rule"] == DIRECT) == (rule == DIRECT))]
    its = its if rule == DIRECT else its[its["kernel"] == PSEUDO_INVERSE]
    return its.groupby("seed")["test_loss"].first()


def _steps(runs: pd.DataFrame) -> pd.Series:
    """Steps to 90 % of the fall by seed."""
    return gaps(runs[runs["kernel"] == PSEUDO_INVERSE]).set_index("seed")["steps"]


def _of(data: str) -> dict[str, Callable[[], list[Estimate]]]:
    """data: the end of the file's name."""
    runs = f"patch_transfer_{data}"
    return {
        "learned_falls_in_finetuning": lambda: falls(measured(runs)),
        "steps_to_90_percent": lambda: steps_to_share(measured(runs)),
        "finetuned_over_direct": lambda: longest_over_direct(measured(runs)),
        "rope_steps_over_learned": lambda: steps_over_learned(measured(runs), ["rope", "rope_scan"]),
        "relative_steps_over_learned": lambda: steps_over_learned(measured(runs), ["relative"]),
    }


ESTIMATES, ON_CIFAR10 = _of("shapes"), _of("cifar10")
