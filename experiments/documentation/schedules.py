"""The schedules that docs/schedules.md shows: what the steps of short runs of DeiT-nano on images of 32 px have."""

import pandas as pd

from analysis.plots.schedules import schedule_figure
from analysis.plots.studies import Figure
from experiments.recipes import cifar10
from scaling.config.at_shape import step_batch_size, step_shape
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.costs.run_flops import course_of, cumulated_flops

STEPS = 200
SCHEDULES: dict[str, dict[str, object]] = {
    "16@0.3,8@0.3,4@0.4,\nequal tokens": {"patch_schedule": "16@0.3,8@0.3,4@0.4", "batch_in": "tokens"},
    "16..8..4,\nprogress in FLOPs": {"patch_schedule": "16..8..4", "progress_in": "flops"},
    "image 16@0.5,32@0.5\n": {"image_schedule": "16@0.5,32@0.5"},
    "crop 0.5@0.5,1@0.5,\n3 cycles": {"crop_schedule": "0.5@0.5,1@0.5", "cycles": 3},
}


def figure() -> Figure:
    """A column per schedule."""
    base = edit(cifar10.deit_nano(4), patch_embed="flexible")
    return schedule_figure({title: _steps(edit(base, **fields)) for title, fields in SCHEDULES.items()})


def _steps(config: ExperimentConfig) -> pd.DataFrame:
    """As schedule_figure takes them."""
    course, spent = course_of(config, STEPS), cumulated_flops(config, STEPS)
    shapes = [step_shape(config, step, course) for step in range(STEPS)]
    return pd.DataFrame(
        {
            "share": [step / STEPS for step in range(STEPS)],
            "patch": [shape.patch_size for shape in shapes],
            "image": [shape.img_size for shape in shapes],
            "images": [step_batch_size(config, shape) for shape in shapes],
            "spent": spent[1:] / spent[-1],
        }
    )
