"""Estimates of claims on fixed patch sizes, from analysis/measured: differences of test loss [nats], paired by seed,
with the 95 % interval of Student's t (analysis/records/seed_noise.py)."""

import csv
import itertools
import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.claims.verdict import Estimate
from analysis.records.published import load_published
from analysis.records.seed_noise import critical_t, difference

FOLDER = Path(__file__).parents[1] / "measured"
DATA = {"shapes": "shapes", "cifar10": "CIFAR-10"}
NAMES = {"deit_nano": "DeiT-nano", "adventurer_nano": "Adventurer-nano"}


@cache
def measured(name: str) -> pd.DataFrame:
    """A CSV file of analysis/measured."""
    return pd.read_csv(FOLDER / f"{name}.csv", thousands=",")


def of_difference(what: str, first: pd.Series, second: pd.Series, scale: float = 1.0) -> Estimate:
    """Second minus first, each by seed. scale: of the units, 100 for percent."""
    found = difference(first, second)
    return Estimate(what, scale * found.mean, scale * found.low, scale * found.high)


def of_ratio(what: str, first: pd.Series, second: pd.Series) -> Estimate:
    """Second over first, each by seed: the geometric mean, with its interval."""
    found = of_difference(what, np.log(first), np.log(second))
    return Estimate(what, *(math.exp(end) for end in (found.value, found.low, found.high)))


def of_values(what: str, values: pd.Series) -> Estimate:
    """The mean of one value per seed."""
    return of_difference(what, pd.Series(0.0, values.index), values)


def of_summary(what: str, mean: float, sd: float, seeds: int) -> Estimate:
    """The mean of differences whose standard deviation between seeds is known."""
    half = float(critical_t(seeds - 1)) * sd / math.sqrt(seeds)
    return Estimate(what, mean, mean - half, mean + half)


def halvings(runs: pd.DataFrame, data: str) -> list[Estimate]:
    """Change of the loss at each halving of the patch size [nats]. runs: backbone, patch, seed, test_loss."""
    found = []
    for backbone, losses in _losses(runs):
        patches = sorted(losses.columns, reverse=True)
        for coarse, fine in itertools.pairwise(patches):
            what = f"{data}, {NAMES[backbone]}, {coarse} to {fine} px"
            found.append(of_difference(what, losses[coarse].dropna(), losses[fine].dropna()))
    return found


def at_8_over_16(runs: pd.DataFrame, data: str) -> list[Estimate]:
    """Loss at 8 px less that at 16 px [nats]."""
    return [of_difference(f"{data}, {NAMES[name]}, 16 to 8 px", its[16], its[8]) for name, its in _losses(runs)]


def _losses(runs: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each backbone and its losses, a row per seed and a column per patch size."""
    for backbone, its in runs.groupby("backbone", sort=False):
        yield str(backbone), its.pivot_table(index="seed", columns="patch", values="test_loss")


def shapes() -> pd.DataFrame:
    """Five seeds of both backbones, one thread per run."""
    runs = measured("thread_settings")
    return runs[runs["threads"] == 1]


def predicted_patch_1() -> list[Estimate]:
    """Loss at 1 px by the power law of 16, 8, 4 and 2 px of the same seed, over the measured one, less 1 [%]."""
    found = []
    for backbone, losses in _losses(shapes()):
        patches = np.array([16, 8, 4, 2])
        slope, level = np.polyfit(np.log(patches), np.log(losses[patches].to_numpy()).T, 1)
        assert slope.shape == level.shape == (len(losses),)  # the law at 1 px is exp(level)
        off = pd.Series(100 * (np.exp(level) / losses[1].to_numpy() - 1), losses.index)
        found.append(of_values(f"shapes, {NAMES[backbone]}, 1 px predicted from 16 to 2 px", off))
    return found


def extrapolated_positions() -> list[Estimate]:
    """Test loss with sine-cosine positions continued beyond those trained, less that with positions interpolated
    between them, on images larger than the training crop [nats]."""
    found = []
    with (FOLDER / "position_encoding.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            loss, sd = re.match(r"([+-][\d.]+) \(([\d.]+)\)", row["pixels - place"]).groups()  # type: ignore[union-attr]
            what = row["runs"].replace("the same", "Adventurer-nano").replace("adventurer_nano", "Adventurer-nano")
            found.append(of_summary(what, float(loss), float(sd), int(row["seeds"])))
    return found


def segmentation(column: str, coarse: int, fine: int) -> list[Estimate]:
    """Change of a column of seg_shapes.csv from one patch size to another, two means of three seeds each that are not
    paired (Welch)."""
    at = measured("seg_shapes").set_index("patch [px]")[column]
    (first, first_sd), (second, second_sd) = (map(float, at[patch].split(" ± ")) for patch in (coarse, fine))
    parts = first_sd**2 / 3, second_sd**2 / 3
    df = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 2)
    mean, half = second - first, float(critical_t(df)) * math.sqrt(sum(parts))
    what = f"shapes, segmentation, Adventurer-nano, {coarse} to {fine} px"
    return [Estimate(what, mean, mean - half, mean + half)]


def detection() -> list[Estimate]:
    """Box AP at 8 px less that at 16 px [points], one seed and so without an interval."""
    at = measured("det_shapes").set_index("patch [px]")["box AP [%]"]
    what = "shapes (version 1), detection, Adventurer-nano, 16 to 8 px"
    return [Estimate(what, float(at[8] - at[16]), math.nan, math.nan)]


def packed_padding() -> list[Estimate]:
    """Padding of rows by the plan of the paper, sizes U(64, 256) at 16 px [%]; a mean of 50 batches
    whose spread is not shipped."""
    of = measured("padding").set_index(["sizes", "plan"])["512 tokens"]
    what = "U(64, 256), 16 px, first-fit, batches of 64 images, rows of 512 tokens"
    return [Estimate(what, float(of["U(64, 256), 16 px", "first-fit"]), math.nan, math.nan)]


def checkpointed_time() -> list[Estimate]:
    """Time of a step with gradient checkpointing over one without [1]; medians whose spread is not shipped."""
    row = measured("speed_options").set_index("option").loc["gradient checkpointing"]
    return [Estimate(f"{name}: checkpointed over not", float(row[name]), math.nan, math.nan) for name in row.index[:-1]]


def published_8_over_16() -> list[Estimate]:
    """Top-1 at 8 px less that at 16 px on ImageNet-1k, Table 1 of arXiv 2502.03738, single runs [points]."""
    rows = load_published("table1_imagenet_patch").dropna(subset=["p16", "p8"]).to_dict("records")
    return [
        Estimate(f"{row['model']}, {row['input_px']} px", round(row["p8"] - row["p16"], 1), math.nan, math.nan)
        for row in rows
    ]


def packed_time() -> list[Estimate]:
    """Time of a step of packed images over that of squares with as many tokens, sizes 16 to 32 px [1]; medians of 15
    turns whose spread is not shipped."""
    of = measured("packed_steps")
    its = of[of["image sizes [px]"] == "16 to 32"]
    return [
        Estimate(f"{NAMES[name]}, sizes 16 to 32 px: packed over squares", float(ratio), math.nan, math.nan)
        for name, ratio in zip(its["model"], its["packed over squares"], strict=True)
    ]


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "halvings_shapes": lambda: halvings(shapes(), "shapes"),
    "halvings_cifar10": lambda: halvings(measured("cifar10_full").query("patch > 1"), "CIFAR-10"),
    "at_8_over_16": lambda: [
        *at_8_over_16(shapes(), "shapes"),
        *at_8_over_16(measured("cifar10_full"), "CIFAR-10"),
    ],
    "predicted_patch_1": predicted_patch_1,
    "extrapolated_positions": extrapolated_positions,
    "segmentation_8": lambda: segmentation("mIoU [%]", 16, 8),
    "detection": detection,
    "published_8_over_16": published_8_over_16,
    "checkpointed_time": checkpointed_time,
    "packed_padding": packed_padding,
    "packed_time": packed_time,
}
