"""Tables and figures of the long runs on CIFAR-10 in docs/results/cifar10.md, from cifar10_full.csv and
cifar10_full_curves.csv in analysis/measured."""

import functools

import pandas as pd

from analysis.fitting.undertraining import PatchImagesLaw, fit_patch_images
from analysis.records.csv_import import load_csv
from analysis.records.groups import own_groups
from analysis.report.axes_report import FROM_SHARE
from analysis.report.law_table import fit_groups
from analysis.report.law_table import lines as law_lines
from experiments.documentation.data import MEASURED, fenced, numbers, table
from experiments.documentation.law_tables import LAWS

DRAWS = 500  # of the bootstrap
BACKBONES = ("deit_nano", "adventurer_nano")


def runs() -> pd.DataFrame:
    """A row per run."""
    return load_csv(MEASURED / "cifar10_full.csv").frame


def means() -> pd.DataFrame:
    """Mean and standard deviation of the test loss [nats], one row per backbone and patch size."""
    its = runs().groupby(["backbone", "patch"])["test_loss"]
    return its.agg(seeds="size", mean="mean", sd="std").reset_index()


def laws() -> list[str]:
    return fenced(law_lines(fit_groups(own_groups(load_csv(MEASURED / "cifar10_full.csv"))[0], LAWS)))


@functools.cache
def surfaces() -> dict[str, tuple[PatchImagesLaw, pd.DataFrame]]:
    """L(p, D) of each backbone and the points that it is fitted to: curves within runs and their ends."""
    found = {}
    every = numbers("cifar10_full_curves").rename(columns={"test_loss": "y"})
    for name in BACKBONES:
        its = every[(every["backbone"] == name) & (every["share"] >= FROM_SHARE)].reset_index(drop=True)
        its = its.assign(run_id=its["patch"].astype(str) + "-" + its["seed"].astype(str))
        found[name] = fit_patch_images(its, draws=DRAWS), its
    return found


def shares() -> list[str]:
    """L(p, D): what more images would remove of L - E, by patch size."""
    patches = sorted(next(iter(surfaces().values()))[0].shares, reverse=True)
    rows = []
    for name, (law, _) in surfaces().items():
        cells = [f"{law.law.r2:.2f}", _with_interval(law, "a", ".2f"), _with_interval(law, "b", ".2f")]
        cells += [_share(law, patch) for patch in patches]
        rows.append([name, *cells])
    head = ["backbone", "R2", "beta (images)", "alpha (patch)", *(f"share, {patch:g} px [%]" for patch in patches)]
    return table(head, rows)


def _with_interval(law: PatchImagesLaw, name: str, digits: str) -> str:
    low, high = law.interval(name) or (float("nan"), float("nan"))
    return f"{law.law.parameters[name]:{digits}} [{low:{digits}}, {high:{digits}}]"


def _share(law: PatchImagesLaw, patch: float) -> str:
    low, high = law.interval(f"share {patch:g}") or (float("nan"), float("nan"))
    return f"{100 * law.shares[patch]:.0f} [{100 * low:.0f}, {100 * high:.0f}]"
