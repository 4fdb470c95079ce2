"""Time that the remaining runs of a sweep will take. No torch."""

import math

import numpy as np

from scaling import costs
from scaling.config.experiment import ExperimentConfig
from scaling.runs.teacher import teacher_flops


class Clock:
    """Predicts the time of a run from finished ones of its backbone: a start-up and a time per FLOP. Until two of them
    differ enough for that: the median start-up plus the planned time. planned: by run_id [s]; nan: not known."""

    def __init__(self, planned: dict[str, float] | None = None) -> None:
        self.planned = planned or {}
        self.done: dict[str, list[tuple[float, float]]] = {}  # backbone -> FLOPs and seconds of its runs
        self.start_ups: list[float] = []  # time of each run above its planned time [s]

    def add(self, run: ExperimentConfig, seconds: float) -> None:
        self.done.setdefault(run.model.backbone, []).append((weight(run), seconds))
        if run.run_id in self.planned:
            self.start_ups.append(max(0.0, seconds - self.planned[run.run_id]))

    def eta(self, left: list[ExperimentConfig]) -> float:
        """Estimated time of the remaining runs [s]; nan while too little is known."""
        return sum(self._seconds(run) for run in left)

    def _seconds(self, run: ExperimentConfig) -> float:
        """By least squares; by the plan where FLOPs of the finished runs are too similar for that [s]."""
        x, y = np.array(self.done.get(run.model.backbone, [(0.0, 0.0)])).T  # 0 FLOPs: a run of no epochs
        if not x.max() or x.max() < 1.5 * x.min():
            start_up = float(np.median(self.start_ups)) if self.start_ups else math.nan
            return start_up + self.planned.get(run.run_id, math.nan)
        slope = max(0.0, float(np.cov(x, y)[0, 1] / np.var(x, ddof=1)))
        return max(0.0, float(y.mean() - slope * x.mean())) + slope * weight(run)


def weight(run: ExperimentConfig) -> float:
    """FLOPs of a run's training, with those of a teacher that are known; per training image where the recipe leaves
    their number to the data."""
    own, step, taught = (
        costs.recipe_training_flops(run, run.data.num_train or 1),
        costs.recipe_step_flops(run),
        teacher_flops(run),
    )
    return own if math.isnan(taught) or not step else own * (1 + taught / step)
