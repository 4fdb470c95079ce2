"""Throughput model: seconds and memory per training image on an accelerator, with two parameters fitted to Table 6.

    seconds = training FLOPs / (rate x products) + PASSES x kept bytes / (memory rate x traffic) + calls / micro-batch

products and traffic are efficiencies: the fraction of a data sheet's rate that a training step reaches. Both are fitted
to Table 6 of arXiv 2502.03738 (hours of an ImageNet-1k epoch on one A100-80GB, DeiT-Base and Adventurer-Base, five
patch sizes) by least squares of log hours. products 0.351 corresponds to 110 of an A100's 312 TFLOPs/s. traffic, 0.812
at the minimum, is not identified: its 95 % interval extends beyond 1, the full rate (`share_intervals`), and depends on
PASSES. By it element-wise operations take an eighth of Adventurer's time and 1 to 11 % of DeiT's, within a factor of
two. Ten timings do not determine more: an efficiency of attention in place of traffic fits equally well, and a third
parameter has an interval that includes 0.

Another accelerator has other rates and the same efficiencies, an extrapolation that its own records correct
(analysis/planning/throughput_records.py).
"""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling.config.at_shape import images_of_step, model_shape
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.costs import IMAGENET_IMAGES, MemoryPolicy, activation_bytes, recipe_step_flops
from scaling.costs.hardware import CARDS, Card
from scaling.costs.training_memory import step_bytes
from scaling.model_specs import MODEL_SPECS

MIB = 2**20  # Table 6's MB, as in torch: with 1e6 bytes its values would be 5 to 9 % too small
PASSES = 3  # over stored activations: written in the forward pass, read in the backward pass, gradient written


class Efficiency(NamedTuple):
    """The fractions of an accelerator's rates that training reaches."""

    attention: float  # of the rate of matrix products, in models with attention [1]
    scan: float  # the same in models with a scan, scan and convolution included [1]
    traffic: float  # of the memory bandwidth [1]; inf: not limited by it
    attention_call: float = 0.0  # fixed time per block and step, in models with attention [s]
    scan_call: float = 0.0  # the same in models with a scan [s]


# Results of `calibrate`, constants so that a plan needs no scipy; a test compares them.
TABLE6 = Efficiency(attention=0.351, scan=0.351, traffic=0.812)
# One CPU core in float32: fitted to the ten runs of `make sweep` in docs/results/shapes.md, whose images/s it
# reproduces within 7 %. 1.3 and 2.8 ms per block are Python overhead: the time of an image of one token.
CORE = Efficiency(0.370, 0.194, math.inf, 1.33e-3, 2.77e-3)


class Residual(NamedTuple):
    """A value of Table 6 and the model's prediction."""

    model: str
    patch: int
    metric: str  # "epoch" [h] or "memory" [MiB/image]
    published: float
    predicted: float
    unseen: float  # predicted with this value held out of the fit

    @property
    def miss(self) -> float:
        """Relative error of the prediction [1]."""
        return self.predicted / self.published - 1


def efficiency_of(card: Card) -> Efficiency:
    return CORE if card.cores else TABLE6


def number_bytes(config: ExperimentConfig, card: Card) -> int:
    """Bytes per number: of bf16, which every GPU of the table supports, or of float32."""
    bf16 = config.precision == "bf16-mixed" or (config.precision == "auto" and not card.cores)
    return 2 if bf16 else 4


def image_bytes(
    config: ExperimentConfig, micro_batch_size: int, number: int, grad_checkpointing: bool = False, flash: bool = True
) -> float:
    """Memory per additional image in a step with this micro-batch [bytes]; 0: unknown."""
    policy = MemoryPolicy(grad_checkpointing, flash, number)
    both = [step_bytes(config, n, policy) for n in (0, micro_batch_size)]
    return (both[1] - both[0]) / micro_batch_size


def image_seconds(
    config: ExperimentConfig,
    card: Card,
    micro_batch_size: int,
    grad_checkpointing: bool = False,
    efficiency: Efficiency | None = None,
) -> float:
    """Seconds of training per image on one accelerator with this micro-batch; nan: unknown, for timm models.
    grad_checkpointing: with activation recomputation, that is, two forward passes."""
    e = efficiency or efficiency_of(card)
    work, traffic = _work(config, card)
    if not work:
        return math.nan
    spec = MODEL_SPECS[config.model.backbone]
    products, call = (e.scan, e.scan_call) if spec.has_scan else (e.attention, e.attention_call)
    calls = call * spec.depth / micro_batch_size
    return (work / products + traffic / e.traffic + calls) * (4 / 3 if grad_checkpointing else 1)


def _work(config: ExperimentConfig, card: Card) -> tuple[float, float]:
    """Seconds per image at the full rates: of matrix products, of memory traffic."""
    number = number_bytes(config, card)
    rate = card.bf16 if number == 2 else card.float32
    policy, shares = MemoryPolicy(number=number), images_of_step(config, model_shape(config))
    kept = sum(share * activation_bytes(config, policy, shape=shape) for shape, share in shares.items())
    return recipe_step_flops(config) / rate, PASSES * kept / card.traffic


def calibrate(leave_out: int = -1) -> Efficiency:
    """The efficiencies by least squares of the log hours of Table 6. leave_out: a held-out row of `_table6`."""
    from scipy.optimize import least_squares

    misses = _misses(leave_out)
    products, traffic = np.exp(least_squares(misses, np.log([0.4, 0.7])).x)
    return Efficiency(float(products), float(products), float(traffic))


@cache
def share_intervals(confidence: float = 0.95) -> dict[str, tuple[float, float]]:
    """Profile-likelihood interval of products and of traffic, for normal errors of log hours, not clipped at 1. An
    interval that reaches 1, the full rate, means that the efficiency is not identified."""
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


def _misses(leave_out: int = -1) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """log of predicted over published hours as a function of the logs of products and traffic."""
    hours = [(config, h) for row, (_, config, what, h) in enumerate(_table6()) if what == "epoch" and row != leave_out]
    seconds = np.array([h * 3600 / IMAGENET_IMAGES for _, h in hours])
    work = np.array([_work(config, CARDS["a100"]) for config, _ in hours])
    return lambda log_shares: np.log(work @ np.exp(-log_shares)) - np.log(seconds)


def residuals() -> list[Residual]:
    """Every value of Table 6, ten hours and five memories, with the model's. Memory is computed, not fitted."""
    found = []
    for row, (model, config, metric, value) in enumerate(_table6()):
        if metric == "memory":
            counted = image_bytes(config, config.optim.global_batch_size, number=2) / MIB
            found.append(Residual(model, config.model.patch_size, metric, value, counted, counted))
        else:
            both = (_epoch(config, e) for e in (TABLE6, calibrate(leave_out=row)))
            found.append(Residual(model, config.model.patch_size, metric, value, *both))
    return found


def _epoch(config: ExperimentConfig, efficiency: Efficiency) -> float:
    """Hours of an ImageNet-1k epoch on an A100."""
    return IMAGENET_IMAGES * image_seconds(config, CARDS["a100"], 1, efficiency=efficiency) / 3600


class Cell(NamedTuple):
    """A value of Table 6."""

    model: str
    config: ExperimentConfig
    metric: str  # "epoch" [h] or "memory" [MiB/image]
    value: float


def _table6() -> list[Cell]:
    """The values of Table 6. Its "ViT" is taken to be DeiT-Base."""
    from analysis.records.published import backbone_of, table6_cells

    plain = make_config(dataset="imagenet", img_size=224, patch_size=16, num_classes=1000, global_batch_size=1024)
    found = []
    for cell in table6_cells().to_dict("records"):
        backbone = backbone_of(cell["model"]) if cell["model"] != "ViT" else "deit_base"
        config = edit(plain, backbone=backbone, img_size=int(cell["input_px"]), patch_size=int(cell["patch"]))
        found.append(Cell(cell["model"], config, cell["metric"], float(cell["published"])))
    return found
