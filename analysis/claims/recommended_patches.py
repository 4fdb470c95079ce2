"""Estimates of claims that recommend a patch size (study helper): within a budget, by task and by application, and
for little memory. Losses are of shapes, five seeds, and of CIFAR-10, five passes, three seeds (thread_settings.csv,
cifar10_full.csv and cifar10_full_curves.csv in analysis/measured); other scores are of single runs, which have no
interval (nuclei.csv, and Tables 1 to 3 of arXiv 2502.03738)."""

import math
from collections.abc import Callable

import pandas as pd

from analysis.claims.applications import applications
from analysis.claims.measured import ESTIMATES as OF_PATCH_SIZES
from analysis.claims.measured import NAMES, measured
from analysis.claims.paired import paired
from analysis.claims.verdict import Estimate
from analysis.records.published import table1_cells, table2_cells, table3_cells

COARSE, FINE = 8, 2  # patches [px] whose runs are the two budgets
SIDE, MODEL = 224, "Adventurer-Base"  # of the published numbers by task


def within_budgets(runs: pd.DataFrame, curves: pd.DataFrame) -> list[Estimate]:
    """Within the FLOPs of a whole run at COARSE, the lowest loss at FINE, at any point of its runs, less that at
    COARSE; within those of a whole run at FINE the reverse [nats]. runs: backbone, patch, flops_per_image. curves:
    backbone, patch, seed, images, test_loss."""
    found = []
    for backbone, its in curves.groupby("backbone", sort=False):
        flops_per_image = runs[runs["backbone"] == backbone].groupby("patch")["flops_per_image"].first()
        flops = its["images"] * its["patch"].map(flops_per_image)
        for budget, other in ((COARSE, FINE), (FINE, COARSE)):
            affordable = its[flops <= flops[its["patch"] == budget].max()]
            losses = affordable.groupby(["patch", "seed"])["test_loss"].min()
            what = f"{NAMES[str(backbone)]}, FLOPs of five passes at {budget} px: {other} less {budget} px"
            found.append(paired(what, losses[budget], losses[other]))
    return found


def doublings_by_task() -> list[Estimate]:
    """How many doublings the best published patch of Adventurer-Base for classification is from that of another task,
    of the patches that both have [1]."""
    classify = _by_patch(table1_cells().query("input_px == @SIDE"))
    miou = _by_patch(table2_cells().query("decoder == 'linear' and metric == 'mIoU'"))
    box_ap = _by_patch(table3_cells().query("metric == 'box AP'"))
    found = []
    for task, scores in (("segmentation", miou), ("detection", box_ap)):
        both = classify.index.intersection(scores.index)
        apart = abs(math.log2(classify[both].idxmax() / scores[both].idxmax()))
        found.append(Estimate(f"published, {MODEL}: classification and {task}", apart, math.nan, math.nan))
    return found


def _by_patch(cells: pd.DataFrame) -> pd.Series:
    """The scores of MODEL."""
    return cells[cells["model"] == MODEL].set_index("patch")["published"]


def below_best_patch() -> list[Estimate]:
    """The best score of a measured patch less the best of those recommended by the table by application [points]: of
    ImageNet (top-1) and of medical images (box AP of nuclei)."""
    found = []
    for (model, side), its in table1_cells().groupby(["model", "input_px"], sort=False):
        found.append(_below_best(f"ImageNet, {model}, {side} px", its.set_index("patch")["published"], "imagenet"))
    nuclei = measured("nuclei").set_index("patch [px]")["box AP [%]"]
    return [*found, _below_best("nuclei, Adventurer-nano", nuclei, "medical")]


def _below_best(what: str, scores: pd.Series, application: str) -> Estimate:
    """scores: by patch [px]."""
    recommended = list(applications()[application].patches)
    best = f"best at {scores.idxmax()} px, recommended {' or '.join(map(str, recommended))} px"
    lower = round(float(scores.max() - scores[recommended].max()), 1)
    return Estimate(f"{what}: {best}", lower, math.nan, math.nan)


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "within_budgets": lambda: within_budgets(measured("cifar10_full"), measured("cifar10_full_curves")),
    "doublings_by_task": doublings_by_task,
    "below_best_patch": below_best_patch,
    "finer_patch": OF_PATCH_SIZES["halvings_shapes"],
}

ON_CIFAR10: dict[str, Callable[[], list[Estimate]]] = {"finer_patch": OF_PATCH_SIZES["halvings_cifar10"]}
