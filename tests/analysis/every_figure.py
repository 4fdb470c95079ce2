"""Every figure that docs, sweeps and fit_laws draw, by name: from shipped data where there are some, else from made
ones of the same columns."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.fitting.laws import fit
from analysis.paper.figures import figure2, figure3, figure4
from analysis.paper.tables import figure2 as table2
from analysis.paper.tables import figure3 as table3
from analysis.paper.tables import figure4 as table4
from analysis.plots import costs
from analysis.plots.embeddings import embedding_figure
from analysis.plots.exponents import exponent_figure
from analysis.plots.finetuning import finetuning_figure
from analysis.plots.frontier import frontier_figure
from analysis.plots.isoflop import isoflop_figure
from analysis.plots.laws import law_figure
from analysis.plots.representations import map_figure, matrix_figure, same_layer_figure, tsne_figure
from analysis.plots.sharpness import sharpness_figure
from analysis.plots.token_drop import drop_figure
from analysis.plots.tokens import tokens_figure
from analysis.plots.transfer import transfer_figure
from analysis.records.run_frame import EMBEDDING
from analysis.similarity.measured import measured_pairs, of_one_seed
from analysis.similarity.similarities import Similarities
from experiments.documentation.data import shapes
from experiments.documentation.figures import FIGURES

BACKBONES, PATCHES, SEEDS = ("deit_nano", "adventurer_nano"), (16, 8, 4, 2), (0, 1, 2)
PAGE_ONLY = ("design", "shapes")  # pictures of the docs that no program draws at another width


def losses(**axes: tuple[object, ...]) -> pd.DataFrame:
    """A row per combination, with a test loss that falls with the patch size and by 2 % from one to the next of each of
    the other values."""
    frame = pd.DataFrame(list(product(*axes.values())), columns=list(axes))
    ranks = sum(frame[name].map(list(values).index) for name, values in axes.items() if name != "patch")
    patch = frame.get("patch", 8)
    return frame.assign(test_loss=(0.1 + 0.04 * patch) * (1 + 0.02 * ranks))


def several_frontiers() -> Figure:
    """Six backbones, so that the legend names them."""
    names = ("deit_pico", "deit_nano", "deit_micro", "adventurer_pico", "adventurer_nano", "adventurer_micro")
    frame = losses(backbone=names, patch=PATCHES)
    frame["flops_per_image"] = 1e9 / frame["patch"] ** 2 * (1 + frame["backbone"].map(names.index))
    frame["group"] = frame["backbone"]
    return frontier_figure(frame.assign(status="finished", task="classify", data="shapes", image=16, seed=0))


def two_tasks() -> Figure:
    """Laws of two data sets, a panel each."""
    frame = losses(data=("shapes", "cifar10"), backbone=BACKBONES, seed=SEEDS, patch=PATCHES)
    frame["group"] = frame["data"] + frame["backbone"]
    return law_figure(frame.assign(status="finished", task="classify", image=16))


def tokens() -> Figure:
    panels = {}
    for backbone, its in shapes().groupby("backbone"):
        points = its.assign(y=its["test_loss"])[["patch", "tokens", "y"]]
        panels[str(backbone)] = ([fit(points["tokens"], points["y"], form) for form in ("power", "shifted")], points)
    return tokens_figure(panels)


def isoflop() -> Figure:
    curves = {}
    for family in ("DeiT", "Adventurer"):
        table = losses(budget=(1e14, 4e14, 1.6e15, 6.4e15), patch=PATCHES).rename(columns={"test_loss": "predicted"})
        table = table.assign(low=0.95 * table["predicted"], high=1.05 * table["predicted"])
        best = table[table["patch"] == 4].assign(finest=2, coarsest=8)
        points = table.assign(y=1.03 * table["predicted"], training_flops=1.1 * table["budget"])
        curves[f"{family} on shapes 16 px"] = (points, table, best)
    return isoflop_figure(curves)


def embeddings() -> Figure:
    kinds = ("conv", "overlapping 2", "stem", "hierarchical", "adaptive")
    frame = losses(backbone=BACKBONES, embedding=kinds, equal=("images", "FLOPs"), seed=SEEDS, patch=PATCHES)
    frame = frame.rename(columns={"embedding": EMBEDDING}).assign(training_flops=1e13 / frame["patch"] ** 2)
    return embedding_figure(frame, slopes(EMBEDDING, kinds), "Patch embeddings: laws and cost (shapes, 16 px)")


def slopes(of: str, values: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(list(product(BACKBONES, values)), columns=["backbone", of])
    return frame.assign(alpha=0.5 + 0.03 * np.arange(len(frame)), sd=0.02, seeds=3)


def exponents() -> Figure:
    kinds = ("learned", "sincos", "rope_axial", "rope_mixed", "relative")
    frame = losses(backbone=BACKBONES, positions=kinds, seed=SEEDS, patch=PATCHES)
    return exponent_figure(frame, slopes("positions", kinds), "positions", "Laws by position encoding (shapes, 16 px)")


def token_drop() -> Figure:
    kinds = ("none", "constant 0.25", "constant 0.5", "beta 0.5", "resolution", "schedule 0.5..0")
    of = {"backbone": BACKBONES, "sizes": ("16", "8 to 16"), "dropped": kinds, "images": (4096, 8192), "seed": SEEDS}
    runs = losses(**of)
    runs["flops"] = 1e9 * runs["images"] / (1 + runs["dropped"].map(kinds.index))
    along = losses(**of, share=tuple(np.linspace(0.1, 1, 10)))
    along = along.rename(columns={"test_loss": "train_loss"})
    return drop_figure(runs, along, "Training on a part of the tokens (shapes, 16 px)")


def transfer() -> Figure:
    encodings, rules = ("learned", "sincos", "rope_axial"), ("trained there", "stretched", "extended")
    found = losses(backbone=BACKBONES, encoding=encodings, rule=rules, image=(8, 16, 32), steps=(0, 100), seed=SEEDS)
    found = found.assign(side=found["image"] / 16)
    return transfer_figure(found, rules[0], "Models at other grids than trained at (shapes)")


def finetuning() -> Figure:
    of = {"backbone": BACKBONES, "encoding": ("learned", "sincos"), "rule": ("trained there", "moved")}
    found = losses(**of, kernel=("pi", "area"), steps=(0, 10, 100, 1000), seed=SEEDS, patch=(8, 4))
    return finetuning_figure(found, "trained there", "Finetuning at another patch size (shapes, 16 px)")


def sharpness() -> Figure:
    tops = pd.DataFrame({"patch": [16, 8, 4, 2], "eigenvalue": [12.8, 11.7, 20.1, 33.0]})
    lines = losses(patch=PATCHES, distance=tuple(np.linspace(-1, 1, 21))).rename(columns={"test_loss": "loss"})
    return sharpness_figure(tops, lines)


def similar() -> list[Similarities]:
    pairs = measured_pairs()
    ours = (pairs["backbone"] == "deit_nano") & (pairs["models"] == "flexible") & (pairs["coarsest"] == 16)
    return of_one_seed(pairs[ours], 0)


OTHERS: dict[str, Callable[[], Figure]] = {
    "figure2": lambda: figure2(table2().frame),
    "figure3": lambda: figure3(table3().frame),
    "figure4": lambda: figure4(table4().frame),
    "law_tokens": lambda: law_figure(shapes(), x="tokens"),
    "law_flops": lambda: law_figure(shapes(), x="flops_per_image"),
    "frontier_seconds": lambda: frontier_figure(shapes(), cost="wall_time"),
    "frontier_several": several_frontiers,
    "frontier_published": lambda: frontier_figure(
        table3().frame[["model", "patch", "input_px", "published", "flops"]], cost="flops", metric="published"
    ),
    "law_two_tasks": two_tasks,
    "tokens_law": tokens,
    "isoflop": isoflop,
    "embeddings": embeddings,
    "exponents": exponents,
    "token_drop": token_drop,
    "transfer": transfer,
    "finetuning": finetuning,
    "sharpness": sharpness,
    "matrix": lambda: matrix_figure(similar()),
    "same_layer": lambda: same_layer_figure(similar()),
    "map": lambda: map_figure(similar()),
    "tsne": lambda: tsne_figure(similar()),
    "costs_parts": costs.parts_figure,
}
EVERY = {name.removesuffix(".png"): make for name, make in FIGURES.items()} | OTHERS
