"""Panels: the runs of a figure by task and data set, whose losses are not comparable, and the titles of their axes."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import style
from scaling.config.edit import make_config


def panels_of(runs: pd.DataFrame, needed: str) -> dict[str, pd.DataFrame]:
    """The runs by task and data set, by the title of their panel. It omits the default task, unless there are several
    in the figure, and the image size where there are several, which are then in the names of the series."""
    if runs.empty:
        raise ValueError(f"no run that finished has {needed}")
    if "data" not in runs:
        return {"": runs}
    runs = runs if "task" in runs else runs.assign(task=make_config().task.kind)
    panels: dict[str, pd.DataFrame] = {}
    for (task, data), its in runs.groupby(["task", "data"], sort=False):
        words = [str(task)] if runs["task"].nunique() > 1 or task != make_config().task.kind else []
        images = its["image"].dropna().unique()
        panels[" ".join([*words, str(data), *(f"{image} px" for image in images if len(images) == 1)])] = its
    return panels


def set_titles(figure: Figure, spots: list[Axes], panels: dict[str, pd.DataFrame], title: str) -> None:
    """The title of a figure, which is that of its panel where there is only one. panels: of panels_of."""
    for axes, what in zip(spots, panels, strict=True):
        style.panel_title(axes, what if len(panels) > 1 else ": ".join(filter(None, (title, what))))
    if len(panels) > 1:
        style.heading(figure, title)
