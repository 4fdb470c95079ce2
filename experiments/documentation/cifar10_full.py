"""Tables and figures of the long runs on CIFAR-10 in docs/results/cifar10.md, from cifar10_full.csv,
cifar10_full_curves.csv and cifar10_lengths.csv in analysis/measured."""

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
    """L(p, D) of each backbone, fitted to curves within runs and their ends at patch sizes of several seeds; and the
    points of all patch sizes."""
    found = {}
    for name in BACKBONES:
        its = _points("cifar10_full_curves", name, ["patch", "seed"])
        its = its[its["share"] >= FROM_SHARE].reset_index(drop=True)
        found[name] = fit_patch_images(_of_several_seeds(its), draws=DRAWS), its
    return found


@functools.cache
def surfaces_of_ends() -> dict[str, PatchImagesLaw]:
    """L(p, D) of each backbone, fitted to the ends of runs of several lengths, at the same patch sizes."""
    of_runs = {name: _points("cifar10_lengths", name, ["patch", "seed", "images"]) for name in BACKBONES}
    return {name: fit_patch_images(_of_several_seeds(its), draws=DRAWS) for name, its in of_runs.items()}


def _points(name: str, backbone: str, keys: list[str]) -> pd.DataFrame:
    """Losses of one backbone as fit_patch_images takes them. keys: columns that together name a run."""
    every = numbers(name).rename(columns={"test_loss": "y"})
    its = every[every["backbone"] == backbone].reset_index(drop=True)
    return its.assign(run_id=its[keys].astype(str).agg("-".join, axis=1))


def _of_several_seeds(points: pd.DataFrame) -> pd.DataFrame:
    return points[points.groupby("patch")["seed"].transform("nunique") > 1].reset_index(drop=True)


def shares() -> list[str]:
    """L(p, D): what more images would remove of L - E, by patch size, from curves and from the ends of runs."""
    laws_of = {"curves": {name: law for name, (law, _) in surfaces().items()}, "ends": surfaces_of_ends()}
    patches = sorted(laws_of["curves"][BACKBONES[0]].shares, reverse=True)
    rows = []
    for name in BACKBONES:
        for what, its in laws_of.items():
            law = its[name]
            cells = [f"{law.law.r2:.2f}", _with_interval(law, "a", ".2f"), _with_interval(law, "b", ".2f")]
            rows.append([name, what, *cells, *(_share(law, patch) for patch in patches)])
    shares_of = [f"share, {patch:g} px [%]" for patch in patches]
    return table(["backbone", "fitted to", "R2", "beta (images)", "alpha (patch)", *shares_of], rows, left=(0, 1))


def _with_interval(law: PatchImagesLaw, name: str, digits: str) -> str:
    low, high = law.interval(name) or (float("nan"), float("nan"))
    return f"{law.law.parameters[name]:{digits}} [{low:{digits}}, {high:{digits}}]"


def _share(law: PatchImagesLaw, patch: float) -> str:
    low, high = law.interval(f"share {patch:g}") or (float("nan"), float("nan"))
    return f"{100 * law.shares[patch]:.0f} [{100 * low:.0f}, {100 * high:.0f}]"
