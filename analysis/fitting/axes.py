"""Axes: the variables that a law of loss may have, with letter, unit and axis label, each defined once."""

from typing import NamedTuple


class Axis(NamedTuple):
    """A variable of a law."""

    letter: str  # in formulas
    unit: str
    title: str  # in titles of figures
    label: str  # of a figure's axis


AXES = {  # by column of a frame of runs or of a group's points
    "patch": Axis("p", "px", "patch size", "patch size [px], log scale"),
    "tokens": Axis("T", "tokens", "tokens", "tokens per image, log scale"),
    "flops_per_image": Axis("C", "FLOPs", "FLOPs per image", "FLOPs per image (forward pass), log scale"),
    "training_flops": Axis("C", "FLOPs", "training FLOPs", "training FLOPs, log scale"),
    "device_hours": Axis("H", "h", "device-hours", "device-hours of training, log scale"),
}
