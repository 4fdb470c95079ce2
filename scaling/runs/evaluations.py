"""Evaluations of a run, one row each: RunRecord.evaluations. No torch."""

import math
from collections.abc import Mapping
from typing import TypedDict

from scaling.config.experiment import ExperimentConfig


class Evaluation(TypedDict):
    """A row."""

    patch_size: int  # [px]
    img_size: int  # [px]
    weights: str  # "raw", or "ema": their exponential moving average
    split: str  # "val": the test images
    test_loss: float  # [nats]
    metrics: dict[str, float]  # by the names of RunRecord.metrics


FIELDS: dict[str, type | tuple[type, ...]] = {
    "patch_size": int,
    "img_size": int,
    "weights": str,
    "split": str,
    "test_loss": (int, float),
    "metrics": dict,
}
WEIGHTS = ("raw", "ema")  # kinds of weights, as in EvaluationConfig.eval_weights
# How names of metrics of the test images begin: a record has others beside them, of training and of held-out images.
METRICS = (
    *("top1", "top5", "miou", "mean_accuracy", "pixel_accuracy", "iou_"),
    *("box_ap", "mask_ap", "test_", "skipped_test_later"),
)


def evaluation(patch_size: int, img_size: int, weights: str, results: Mapping[str, float]) -> Evaluation:
    """A row of one evaluation. results: test_loss and metrics as a task computes them."""
    metrics = {name: value for name, value in results.items() if name != "test_loss"}
    return {
        "patch_size": patch_size,
        "img_size": img_size,
        "weights": weights,
        "split": "val",
        "test_loss": results["test_loss"],
        "metrics": metrics,
    }


def of_old_record(config: ExperimentConfig, test_loss: float, metrics: Mapping[str, float]) -> list[Evaluation]:
    """The row of a finished run's record from before there were rows."""
    both = ("_raw", "_averaged") if "test_loss_raw" in metrics else ()  # of a run that kept an average of its weights
    results = {name: x for name, x in metrics.items() if name.startswith(METRICS) and not name.endswith(both)}
    return [
        evaluation(
            config.model.patch_size,
            config.model.img_size,
            config.evaluation.eval_weights,
            {"test_loss": test_loss, **results},
        )
    ]


def check_evaluations(rows: object) -> None:
    """Raise ValueError unless rows are evaluations."""
    if not isinstance(rows, list):
        raise ValueError(f"evaluations is {rows!r}, not a list")
    for row in rows:
        wrong = [name for name, kind in FIELDS.items() if not isinstance(row.get(name), kind)]
        if wrong or row["weights"] not in WEIGHTS:
            raise ValueError(f"an evaluation has no usable {', '.join(wrong) or 'weights'}")
        if not all(math.isfinite(value) for value in (row["test_loss"], *row["metrics"].values())):
            raise ValueError("an evaluation holds a number that is not finite")
