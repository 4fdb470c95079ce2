"""Phases of a run: the stretches of its schedule, with the steps, images and FLOPs that each is expected to have.

FLOP convention as in scaling/costs/__init__.py. A run without a schedule is one phase.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from scaling.config.at_shape import step_batch_size
from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import Course, PatchSchedule, StepShape
from scaling.costs.run_flops import course_of

LEAST = 1e-9  # share of a phase's steps below which a shape is a rounding of its bounds


class Phase(NamedTuple):
    """A stretch of a run. Of a step that two stretches meet in, the one with its middle counts it."""

    first_step: int  # from 0
    steps: int
    shares: Mapping[StepShape, float]  # of its steps that have each shape, expected
    images: float  # expected
    flops: float  # of training, expected [FLOPs]; 0: unknown


def phases_of(config: ExperimentConfig, total_steps: int) -> list[Phase]:
    """The phases of a run of so many steps, in order. Those without a step are left out."""
    course = course_of(config, total_steps)
    found, begin = [], 0
    for end, shares in _spans(config, course):
        last = max(begin, math.ceil(end * total_steps - 0.5))
        if last > begin:
            of_shape = {shape: (last - begin) * share for shape, share in shares.items() if share > LEAST}
            images = {shape: steps * step_batch_size(config, shape) for shape, steps in of_shape.items()}
            flops = math.fsum(count * course.flops[shape] for shape, count in images.items()) if course.flops else 0.0
            found.append(Phase(begin, last - begin, shares, math.fsum(images.values()), flops))
        begin = last
    return found


def _spans(config: ExperimentConfig, course: Course) -> list[tuple[float, Mapping[StepShape, float]]]:
    """Where each phase ends, as a share of the steps [1], and the shares of its shapes."""
    shapes = config.step_shapes
    if isinstance(shapes, PatchSchedule):
        return shapes.phases(course.model, course.flops)
    return [(1.0, shapes.shares(course.model, course.flops))]
