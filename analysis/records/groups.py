"""Groups: the points that one law may be fitted to, of one's own runs and of the paper.

Runs of a group differ in patch and seed and in nothing else (scaling/recipe.py). Groups that differ only in the share
of the test image that is cropped, or in the version of the data, are a trap: the released code crops 0.875 at patch 16
and 1.0 below, which no law of patch sizes is about. They are refused unless asked for.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.records.published import IMAGENET_CLASSES, figure1_cells, table2_cells, table3_cells, top1_cells
from analysis.records.run_set import FIELDS, TRAPS, above_zero, finished, labels
from scaling.errors import ConfigError

FEWEST_PATCHES = 3  # different patch sizes that a group needs for a law
SEEN = {"segmentation": "segments", "detection-bbox": "boxes", "detection-mask": "masks"}
MIXED = ("refuse", "together", "apart")
MADE = {"commit": "git_commit", "torch": "version_torch", "on": "machine_processor", "GPUs": "machine_gpus"}
KNOWN = ("task", "data", "backbone", "head", "image")
PLACES = ("data_root", "data_digest", "weights", "weights_digest")
FREE = ("patch", "seed", "task", "backbone", "data", "image", "start", *PLACES)  # told elsewhere


@dataclass(frozen=True)
class Group:
    """Points of one law. points: a row a run: patch [px], seed, y in `unit`, and the sizes that y may be a law of:
    tokens, flops_per_image [FLOPs], device_hours [h], parameters; nan where unknown."""

    name: str
    key: str
    source: str  # "own", a CSV file, or the paper's table or figure
    points: pd.DataFrame
    measure: str = "test loss"
    unit: str = "nats"
    ceiling: float = math.nan  # y of knowing nothing; nan where there is none
    about: dict[str, Any] = field(default_factory=dict)  # task, data, backbone, head, image
    held: dict[str, Any] = field(default_factory=dict)  # what else was held fixed: the recipe's other fields
    made: dict[str, str] = field(default_factory=dict)  # with what: commit, versions, machine
    dropped: tuple[str, ...] = ()  # runs of the group that are not among the points, and why

    @property
    def patches(self) -> int:
        """Different patch sizes [1]."""
        return int(self.points["patch"].nunique())


def own_groups(frame: pd.DataFrame, mixed: str = "refuse") -> tuple[list[Group], dict[str, str]]:
    """The groups of one's own runs that finished, and what was refused: name -> why.

    frame: as analysis.records.run_set.load gives it.  mixed: what to do with groups that differ in crop or data_version
    alone: "refuse" them, fit them "together" as one group, or "apart" as a group each."""
    if mixed not in MIXED:
        raise ConfigError(f"unknown --mixed {mixed!r}; there is: {', '.join(MIXED)}")
    runs = finished(frame)
    if runs.empty:
        return [], {}
    keys = runs["group"] if mixed == "apart" else runs["family"]
    names = labels(runs.assign(group=keys))
    groups, refused = [], {}
    for key, its in runs.groupby(keys, sort=False):
        name = names[str(key)]
        if mixed == "refuse" and its["group"].nunique() > 1:
            refused[name] = _why_refused(name, its)
        elif above_zero(its).empty:
            refused[name] = f"{name}: refused, its test losses are 0, which has no logarithm"
        else:
            groups.append(_own(str(key) if its["group"].nunique() > 1 else its["group"].iloc[0], name, its, frame))
    return groups, refused


def published_groups() -> list[Group]:
    """The paper's: the nine panels of Figure 1 [nats], and the errors [%] of Tables 1 to 4, a row of theirs a group."""
    table2 = table2_cells()
    linear = table2[(table2["decoder"] == "linear") & (table2["metric"] == "mIoU")]
    boxes = table3_cells().query("metric == 'box AP'")
    errors = {"Tables 1, 4": top1_cells(), "Table 2": linear, "Table 3": boxes}
    return [*_panels(), *(group for source, cells in errors.items() for group in _errors(source, cells))]


def _why_refused(name: str, runs: pd.DataFrame) -> str:
    """A line that says in what the runs differ, and what would do."""
    told = []
    for trap in TRAPS:
        if runs[trap].nunique() > 1:
            of = runs.groupby(trap)["patch"].unique()
            sizes = (f"{value:g} (patch {', '.join(map(str, sorted(its, reverse=True)))})" for value, its in of.items())
            told.append(f"{trap} {' and '.join(sizes)}")
    return (
        f"{name}: refused, its runs mix {'; '.join(told)}; --mixed together fits them as one, --mixed apart each alone"
    )


def _own(key: str, name: str, runs: pd.DataFrame, frame: pd.DataFrame) -> Group:
    first = runs.iloc[0]
    points = runs[["patch", "seed", "tokens", "flops_per_image", "parameters", "run_id"]].copy()
    devices = runs["machine_devices"] if "machine_devices" in runs else pd.Series(1.0, runs.index)
    points["device_hours"] = runs["wall_time"] * pd.to_numeric(devices, errors="coerce").fillna(1.0) / 3600
    points["y"] = runs["test_loss"]
    flat = points.loc[points["y"] <= 0, "run_id"]
    points = points.drop(flat.index)
    failed = frame[(frame["group"].isin(runs["group"].unique())) & (frame["status"] == "failed")]
    gone = [f"{run.run_id}: failed ({run.failure})" for run in failed.itertuples()]
    gone += [f"{run}: a test loss of 0, which has no logarithm" for run in flat]
    ours, of = set(runs["group"]), frame.attrs.get("groups", {})
    gone += [f"{run}: not finished" for run in frame.attrs.get("unfinished", []) if of.get(run) in ours]
    gone += [f"{run}: corrupt record" for run in frame.attrs.get("corrupt", {}) if of.get(run) in ours]
    return Group(
        name=name,
        key=key,
        source=str(frame.attrs.get("csv", "own")),
        points=points.reset_index(drop=True),
        ceiling=math.log(first["classes"]) if first["task"] != "detect" and first["classes"] > 1 else math.nan,
        about={column: first[column] for column in KNOWN},
        held={column: first[column] for column in FIELDS if column not in FREE and runs[column].nunique() == 1},
        made={
            name: _several(runs[column]) for name, column in MADE.items() if column in runs and "csv" not in frame.attrs
        },
        dropped=tuple(gone),
    )


def _panels() -> Iterator[Group]:
    for panel, its in figure1_cells().groupby("panel"):
        first = its.iloc[0]
        name = f"{panel} {_short(first['model']) or SEEN[first['task']]} {_where(first)}"
        ceiling = math.log(IMAGENET_CLASSES) if first["data"] == "imagenet" else math.nan
        yield _published("Figure 1", name, its, its["published"], "test loss", "nats", ceiling)


def _errors(source: str, cells: pd.DataFrame) -> Iterator[Group]:
    """100 less what is published, in percent."""
    for _, its in cells.groupby(["model", "data", "input_px", "metric"], sort=False):
        first = its.iloc[0]
        ceiling = 100 * (1 - 1 / IMAGENET_CLASSES) if first["metric"] == "top-1" else 100.0
        name, measure = f"{_short(first['model'])} {_where(first)}", f"{first['metric']} error"
        yield _published(source, name, its, 100 - its["published"], measure, "%", ceiling)


def _several(values: pd.Series) -> str:
    """All that a column holds, each once."""
    told = (", ".join(value) if isinstance(value, list) else str(value)[:60] for value in values.dropna())
    return " / ".join(dict.fromkeys(told)) or "none"


def _published(
    source: str, name: str, cells: pd.DataFrame, y: pd.Series, measure: str, unit: str, ceiling: float
) -> Group:
    points = pd.DataFrame({"patch": cells["patch"], "seed": 0, "y": y}).dropna().reset_index(drop=True)
    first = cells.iloc[0]
    about = {"data": first["data"], "backbone": first["model"], "image": first["input_px"]}
    return Group(name, f"{source}: {name}", source, points, measure, unit, ceiling, about)


def _short(model: str) -> str:
    """Adventurer-Base is Adventurer-B, as in the paper's Table 2."""
    family, _, size = model.partition("-")
    return f"{family}-{size[0]}" if size else family


def _where(cell: pd.Series) -> str:
    """The data, or of ImageNet the side of the image."""
    return f"{cell['input_px']:g}" if cell["data"] == "imagenet" else str(cell["data"])
