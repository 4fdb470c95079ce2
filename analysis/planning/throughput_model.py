"""Cost model: seconds and memory of a training image on a card, from arithmetic and two numbers fitted to Table 6.

    seconds = training FLOPs / (rate x products) + PASSES x kept bytes / (memory rate x traffic) + calls / micro-batch

products and traffic are efficiencies: the share of a data sheet's rate that a training step reaches. Table 6 of arXiv
2502.03738 (hours of an ImageNet-1k epoch on one A100-80GB, DeiT-Base and Adventurer-Base, five patch sizes) fixes both,
by least squares of log hours. products 0.351 are 110 of an A100's 312 TFLOPs/s. traffic, 0.812 at the least squares,
is not identified: its 95 % interval reaches beyond 1, the whole rate (`share_intervals`), and depends on what PASSES
is. It says that element-wise work takes an eighth of Adventurer's time and 1 to 11 % of DeiT's, within a factor of two.
Ten hours do not tell more: an efficiency of attention's own in place of traffic fits as well, and a third number is
less sure than it is large.

Another card is this one with other rates: an extrapolation, which its own records correct
(analysis/planning/throughput_records.py).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from scaling.costs import IMAGENET_IMAGES, MemoryPolicy, activation_bytes, recipe_step_flops
from scaling.costs.hardware import CARDS, Card
from scaling.costs.training_memory import step_bytes
from scaling.model_specs import MODEL_SPECS
from scaling.recipe import Recipe

MIB = 2**20  # what Table 6 calls a MB, as torch's users do: of 1e6 bytes, its figures would be 5 to 9 % too small
PASSES = 3  # over what a step keeps: written in the forward pass, read in the backward one, a gradient for it written


class Efficiency(NamedTuple):
    """What training reaches of a card's rates."""

    attention: float  # share of the rate of products, in models with attention [1]
    scan: float  # the same in models with a scan, scan and convolution included [1]
    traffic: float  # share of the rate of its memory [1]; inf: nothing waits for that
    attention_call: float = 0.0  # per block and step, however small, in models with attention [s]
    scan_call: float = 0.0  # the same in models with a scan [s]


# As `calibrate` finds them, kept here so that a plan needs no scipy; a test holds them to it.
TABLE6 = Efficiency(attention=0.351, scan=0.351, traffic=0.812)
# One core of a CPU in float32: fitted to the ten runs of `make sweep` in docs/results.md (2026-11-21), whose images/s
# it gives within 7 %. 1.3 and 2.8 ms are Python's calls for a block: what an image of one token takes.
CORE = Efficiency(0.370, 0.194, math.inf, 1.33e-3, 2.77e-3)


class Residual(NamedTuple):
    """A figure of Table 6 beside what the model says."""

    model: str
    patch: int
    metric: str  # "epoch" [h] or "memory" [MiB/image]
    published: float
    predicted: float
    unseen: float  # predicted where this figure is left out of the fit

    @property
    def miss(self) -> float:
        """Predicted over published, less 1."""
        return self.predicted / self.published - 1


def efficiency_of(card: Card) -> Efficiency:
    return CORE if card.cores else TABLE6


def number_bytes(recipe: Recipe, card: Card) -> int:
    """Bytes a number: of bf16, which every GPU of the table has, or of float32."""
    bf16 = recipe.precision == "bf16-mixed" or (recipe.precision == "auto" and not card.cores)
    return 2 if bf16 else 4


def image_bytes(recipe: Recipe, micro_batch: int, number: int, recompute: bool = False, flash: bool = True) -> float:
    """Memory that one more image in a step takes, of micro_batch images at a time [bytes]; 0: not known."""
    policy = MemoryPolicy(recompute, flash, number)
    both = [step_bytes(recipe, n, policy) for n in (0, micro_batch)]
    return (both[1] - both[0]) / micro_batch


def image_seconds(
    recipe: Recipe, card: Card, micro_batch: int, recompute: bool = False, efficiency: Efficiency | None = None
) -> float:
    """Seconds that one card trains one image in, where it takes micro_batch at a time; nan: not known, for timm's.
    recompute: the forward pass twice."""
    e = efficiency or efficiency_of(card)
    work, traffic = _work(recipe, card)
    if not work:
        return math.nan
    spec = MODEL_SPECS[recipe.backbone]
    products, call = (e.scan, e.scan_call) if spec.has_scan else (e.attention, e.attention_call)
    calls = call * spec.depth / micro_batch
    return (work / products + traffic / e.traffic + calls) * (4 / 3 if recompute else 1)


def _work(recipe: Recipe, card: Card) -> tuple[float, float]:
    """Seconds of an image at the card's full rates: of products, of memory traffic."""
    number = number_bytes(recipe, card)
    rate = card.bf16 if number == 2 else card.float32
    kept = activation_bytes(recipe, MemoryPolicy(number=number))
    return recipe_step_flops(recipe) / rate, PASSES * kept / card.traffic


def calibrate(leave_out: int = -1) -> Efficiency:
    """The efficiencies by least squares of the log hours of Table 6. leave_out: a row of `_table6`."""
    from scipy.optimize import least_squares

    misses = _misses(leave_out)
    products, traffic = np.exp(least_squares(misses, np.log([0.4, 0.7])).x)
    return Efficiency(float(products), float(products), float(traffic))


@cache
def share_intervals(confidence: float = 0.95) -> dict[str, tuple[float, float]]:
    """Profile-likelihood interval of products and of traffic, for normal errors of log hours; as fitted, not cut off at
    1. One that reaches 1, the whole rate, says that the share is not identified."""
    from scipy.optimize import brentq, least_squares, minimize_scalar
    from scipy.special import stdtrit

    misses = _misses()
    best = least_squares(misses, np.log([0.4, 0.7]))
    df = best.fun.size - 2
    most = 2 * best.cost * (1 + float(stdtrit(df, (1 + confidence) / 2)) ** 2 / df)
    found = {}
    for which, name in enumerate(("products", "traffic")):

        def above(at: float, which: int = which) -> float:
            def squares(other: float) -> float:
                return float(np.sum(misses(np.array([at, other] if which == 0 else [other, at])) ** 2))

            centre = best.x[1 - which]
            return float(minimize_scalar(squares, bounds=(centre - 2, centre + 3), method="bounded").fun) - most

        ends = [brentq(above, best.x[which], best.x[which] + side * 2.5) for side in (-1, 1)]
        found[name] = (math.exp(ends[0]), math.exp(ends[1]))
    return found


def _misses(leave_out: int = -1) -> Callable[[Any], Any]:
    """log of predicted over published hours, by the logs of products and traffic."""
    hours = [(recipe, h) for row, (_, recipe, what, h) in enumerate(_table6()) if what == "epoch" and row != leave_out]
    seconds = np.array([h * 3600 / IMAGENET_IMAGES for _, h in hours])
    work = np.array([_work(recipe, CARDS["a100"]) for recipe, _ in hours])
    return lambda log_shares: np.log(work @ np.exp(-log_shares)) - np.log(seconds)


def residuals() -> list[Residual]:
    """Every figure of Table 6, its ten hours and five memories, beside the model's. Memory is counted, not fitted."""
    found = []
    for row, (model, recipe, metric, value) in enumerate(_table6()):
        if metric == "memory":
            counted = image_bytes(recipe, recipe.batch, number=2) / MIB
            found.append(Residual(model, recipe.patch, metric, value, counted, counted))
        else:
            both = (_epoch(recipe, e) for e in (TABLE6, calibrate(leave_out=row)))
            found.append(Residual(model, recipe.patch, metric, value, *both))
    return found


def _epoch(recipe: Recipe, efficiency: Efficiency) -> float:
    """Hours of an epoch of ImageNet-1k on an A100."""
    return IMAGENET_IMAGES * image_seconds(recipe, CARDS["a100"], 1, efficiency=efficiency) / 3600


def _table6() -> list[tuple[str, Recipe, str, float]]:
    """Its cells: model, recipe, metric, value. Its "ViT" is taken for DeiT-Base."""
    from analysis.records.published import backbone_of, table6_cells

    plain = Recipe(data="imagenet", image=224, patch=16, classes=1000, batch=1024)
    found = []
    for cell in table6_cells().to_dict("records"):
        backbone = backbone_of(cell["model"]) if cell["model"] != "ViT" else "deit_base"
        recipe = replace(plain, backbone=backbone, image=int(cell["input_px"]), patch=int(cell["patch"]))
        found.append((cell["model"], recipe, cell["metric"], float(cell["published"])))
    return found
