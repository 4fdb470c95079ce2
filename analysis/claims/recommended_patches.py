"""Estimates of claims that recommend a patch size (study helper): within a budget, by task and by application, and
for little memory. Losses are of shapes, five seeds, and of CIFAR-10, five passes, three seeds (thread_settings.csv,
cifar10_full.csv and cifar10_full_curves.csv in analysis/measured); other scores are of single runs, which have no
interval (nuclei.csv, and Tables 1 to 3 of arXiv 2502.03738)."""

import math
from collections.abc import Callable

import pandas as pd

from analysis.claims.measured import NAMES, halvings, measured, shapes
from analysis.claims.paired import paired
from analysis.claims.verdict import Estimate
from analysis.records.published import load_published

COARSE, FINE = 8, 2  # patches [px] whose runs are the two budgets
IMAGE_NET, MEDICAL = (16,), (8, 4)  # patches by application in source text B [px]
SIDE, MODEL = 224, "Base"  # of the published numbers by task


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
    top1 = load_published("table1_imagenet_patch").set_index(["model", "input_px"])
    classify = top1.loc[(f"Adventurer-{MODEL}", SIDE)].filter(regex=r"^p\d+$").dropna()
    classify.index = [int(name[1:]) for name in classify.index]
    dense = f"Adventurer-{MODEL[0]}"
    miou = load_published("table2_ade20k").query("model == @dense and decoder == 'None'").set_index("patch")["miou"]
    box_ap = load_published("table3_coco").query("model == @dense").set_index("patch")["ap_box"]
    found = []
    for task, scores in (("segmentation", miou), ("detection", box_ap)):
        both = classify.index.intersection(scores.index)
        apart = abs(math.log2(classify[both].idxmax() / scores[both].idxmax()))
        found.append(Estimate(f"published, {dense}: classification and {task}", apart, math.nan, math.nan))
    return found


def below_best_patch() -> list[Estimate]:
    """The best score of a measured patch less the best of those recommended [points]: of ImageNet (top-1) and of
    medical images (box AP of nuclei)."""
    top1 = load_published("table1_imagenet_patch").set_index(["model", "input_px"]).filter(regex=r"^p\d+$")
    found = []
    for (model, side), scores in top1.rename(columns=lambda name: int(name[1:])).iterrows():
        if scores.notna()[list(IMAGE_NET)].all() and scores.count() > len(IMAGE_NET):
            found.append(_below_best(f"ImageNet, {model}, {side} px", scores.dropna(), IMAGE_NET))
    nuclei = measured("nuclei").set_index("patch [px]")["box AP [%]"]
    return [*found, _below_best("nuclei, Adventurer-nano", nuclei, MEDICAL)]


def _below_best(what: str, scores: pd.Series, recommended: tuple[int, ...]) -> Estimate:
    best = f"best at {scores.idxmax()} px, recommended {' or '.join(map(str, recommended))} px"
    lower = round(float(scores.max() - scores[list(recommended)].max()), 1)
    return Estimate(f"{what}: {best}", lower, math.nan, math.nan)


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "within_budgets": lambda: within_budgets(measured("cifar10_full"), measured("cifar10_full_curves")),
    "doublings_by_task": doublings_by_task,
    "below_best_patch": below_best_patch,
    "finer_patch": lambda: halvings(shapes(), "shapes"),
}

ON_CIFAR10: dict[str, Callable[[], list[Estimate]]] = {
    "finer_patch": lambda: halvings(measured("cifar10_full").query("patch > 1"), "CIFAR-10"),  # 1 px has one seed
}
