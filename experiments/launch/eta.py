"""The clock of a sweep: how long the runs that are left will take. No torch."""

import math

import numpy as np

from scaling import costs
from scaling.recipe import Recipe


class Clock:
    """Predicts what runs take from what others of the same backbone took: a start-up and a time per FLOP. Until there
    are two that tell these apart: a start-up beside what is planned. planned: by run_id [s]; nan: not known."""

    def __init__(self, planned: dict[str, float] | None = None) -> None:
        self.planned = planned or {}
        self.done: dict[str, list[tuple[float, float]]] = {}  # backbone -> FLOPs and seconds of its runs
        self.start_ups: list[float] = []  # of all runs, beside what was planned of them [s]

    def add(self, run: Recipe, seconds: float) -> None:
        self.done.setdefault(run.backbone, []).append((weight(run), seconds))
        if run.run_id in self.planned:
            self.start_ups.append(max(0.0, seconds - self.planned[run.run_id]))

    def eta(self, left: list[Recipe]) -> float:
        """Seconds for the runs that are left; nan while there is too little to go by."""
        return sum(self._seconds(run) for run in left)

    def _seconds(self, run: Recipe) -> float:
        """By least squares; by the plan where the runs are too near each other to tell start-up from speed."""
        x, y = np.array(self.done.get(run.backbone, [(0.0, 0.0)])).T
        if x.max() < 1.5 * x.min() or not x.all():
            start_up = float(np.median(self.start_ups)) if self.start_ups else math.nan
            return start_up + self.planned.get(run.run_id, math.nan)
        slope = max(0.0, float(np.cov(x, y)[0, 1] / np.var(x, ddof=1)))
        return max(0.0, float(y.mean() - slope * x.mean())) + slope * weight(run)


def weight(run: Recipe) -> float:
    """FLOPs of a run's training, up to the number of images where the recipe leaves that to the data."""
    return costs.recipe_training_flops(run, run.train_images or 1)
