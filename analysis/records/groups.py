"""Groups: the points that one law may be fitted to, of own runs and of the paper.

Runs of a group differ in patch and seed and in nothing else. Groups that differ only in the crop of test images or in
the version of the data are refused unless asked for: the released code crops 0.875 at patch 16 and 1.0 below, a
confounder of patch size.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from analysis.records.error_models import reading_error, table_error
from analysis.records.group_labels import labels
from analysis.records.published import IMAGENET_CLASSES, figure1_cells, table2_cells, table3_cells, top1_cells
from analysis.records.run_frame import FIELDS, TRAPS, above_zero, finished
from analysis.records.run_set import RunSet
from analysis.records.shared_weights import are_shared, by_patch
from scaling.errors import ConfigError

FEWEST_PATCHES = 3  # distinct patch sizes that a law needs
SEEN = {"segmentation": "segments", "detection-bbox": "boxes", "detection-mask": "masks"}
MIXED = ("refuse", "together", "apart")
MADE = {"commit": "git_commit", "torch": "version_torch", "on": "machine_processor", "GPUs": "machine_gpus"}
KNOWN = ("task", "data", "backbone", "head", "image")
PLACES = ("data_root", "data_digest", "weights", "weights_digest")
FREE = ("patch", "seed", "task", "backbone", "data", "image", "start", *PLACES)  # not among the fixed settings


@dataclass(frozen=True)
class Group:
    """Points of one law. points: a row per run, or per patch size that a run learned: patch [px], seed, y in `unit`,
    and further variables of analysis/fitting/axes.py; nan where unknown. Where it is known also sigma, the standard
    error of y over y [1]. Of published numbers number_error, the standard error in `unit` of reading, rounding or
    counting (error_models.py): it lacks the unknown spread between runs, so it weighs no law."""

    name: str
    key: str
    source: str  # "own", a CSV file, or the paper's table or figure
    points: pd.DataFrame
    measure: str = "test loss"
    unit: str = "nats"
    ceiling: float = math.nan  # y of an uninformed prediction; nan where there is none
    about: dict[str, str | float] = field(default_factory=dict)  # task, data, backbone, head, image
    held: dict[str, object] = field(default_factory=dict)  # the recipe's other fields, equal in all runs
    made: dict[str, str] = field(default_factory=dict)  # commit, versions, machine
    dropped: tuple[str, ...] = ()  # runs of the group that are not among the points, with reasons

    @property
    def patches(self) -> int:
        """Number of distinct patch sizes [1]."""
        return int(self.points["patch"].nunique())

    @property
    def shared(self) -> bool:
        """Whether some run gave several points, whose errors are then not independent."""
        return are_shared(self.points)

    @property
    def sigma(self) -> "pd.Series[float] | None":
        """The relative standard error of each point [1], as the fits take it; None where it is not known."""
        return self.points.get("sigma")


def own_groups(runs: RunSet, mixed: str = "refuse") -> tuple[list[Group], dict[str, str]]:
    """The groups of own runs that finished, and the refused ones: name -> reason.

    mixed: how to treat groups that differ in crop or data_version alone: "refuse" them, fit them "together" as one
    group, or "apart" as a group each.  Raises ConfigError for another value."""
    if mixed not in MIXED:
        raise ConfigError(f"unknown --mixed {mixed!r}; choose from: {', '.join(MIXED)}")
    done = finished(by_patch(runs))
    if done.empty:
        return [], {}
    keys = done["group"] if mixed == "apart" else done["family"]
    names = labels(done.assign(group=keys))
    groups, refused = [], {}
    for key, its in done.groupby(keys, sort=False):
        name = names[str(key)]
        if mixed == "refuse" and its["group"].nunique() > 1:
            refused[name] = _why_refused(name, its)
        elif above_zero(its).empty:
            refused[name] = f"{name}: refused, its test losses are 0 and have no logarithm"
        else:
            groups.append(_own(str(key) if its["group"].nunique() > 1 else its["group"].iloc[0], name, its, runs))
    return groups, refused


def published_groups() -> list[Group]:
    """The paper's groups: the nine panels of Figure 1 [nats], and each row of Tables 1 to 4 as errors [%]."""
    table2 = table2_cells()
    linear = table2[(table2["decoder"] == "linear") & (table2["metric"] == "mIoU")]
    boxes = table3_cells().query("metric == 'box AP'")
    errors = {"Tables 1, 4": top1_cells(), "Table 2": linear, "Table 3": boxes}
    return [*_panels(), *(group for source, cells in errors.items() for group in _errors(source, cells))]


def _why_refused(name: str, runs: pd.DataFrame) -> str:
    """One line with the differences of the runs, and how to proceed."""
    differences = []
    for trap in TRAPS:
        if runs[trap].nunique() > 1:
            of = runs.groupby(trap)["patch"].unique()
            sizes = (f"{value:g} (patch {', '.join(map(str, sorted(its, reverse=True)))})" for value, its in of.items())
            differences.append(f"{trap} {' and '.join(sizes)}")
    mixed = "; ".join(differences)
    return (
        f"{name}: refused, its runs mix {mixed}; fit them as one group (--mixed together) or separately (--mixed apart)"
    )


def _own(key: str, name: str, its: pd.DataFrame, runs: RunSet) -> Group:
    """The group of some finished rows of runs."""
    first = its.iloc[0]
    points = its[["patch", "seed", "tokens", "flops_per_image", "parameters", "run_id"]].copy()
    devices = its["machine_devices"] if "machine_devices" in its else pd.Series(1.0, its.index)
    points["device_hours"] = its["wall_time"] * pd.to_numeric(devices, errors="coerce").fillna(1.0) / 3600
    points["y"] = its["test_loss"]
    if "standard_error" in its:
        points["sigma"] = its["standard_error"] / its["test_loss"]
    return Group(
        name=name,
        key=key,
        source=runs.source,
        points=points[points["y"] > 0].reset_index(drop=True),
        ceiling=math.log(first["classes"]) if first["task"] != "detect" and first["classes"] > 1 else math.nan,
        about={column: first[column] for column in KNOWN},
        held={column: first[column] for column in FIELDS if column not in FREE and its[column].nunique() == 1},
        made={} if runs.from_csv else {name: _several(its[column]) for name, column in MADE.items() if column in its},
        dropped=tuple(_dropped(its, runs)),
    )


def _dropped(its: pd.DataFrame, runs: RunSet) -> Iterator[str]:
    """The runs of the groups in its that are not points of a law, with reasons."""
    groups = set(its["group"])
    failed = runs.frame[runs.frame["group"].isin(groups) & (runs.frame["status"] == "failed")]
    for run in failed.itertuples():
        yield f"{run.run_id}: failed ({run.failure})"
    for run_id in its.loc[its["test_loss"] <= 0, "run_id"]:
        yield f"{run_id}: a test loss of 0, which has no logarithm"
    yield from (f"{one.folder}: not finished" for one in runs.unfinished if one.group in groups)
    yield from (f"{one.folder}: corrupt record" for one in runs.corrupt if one.group in groups)


def _panels() -> Iterator[Group]:
    for panel, its in figure1_cells().groupby("panel"):
        first = its.iloc[0]
        name = f"{panel} {_short(first['model']) or SEEN[first['task']]} {_where(first)}"
        ceiling = math.log(IMAGENET_CLASSES) if first["data"] == "imagenet" else math.nan
        error = reading_error(its["published"], its["axis_l_inf"])
        yield _published("Figure 1", name, its, its["published"], error, "test loss", "nats", ceiling)


def _errors(source: str, cells: pd.DataFrame) -> Iterator[Group]:
    """100 minus the published accuracy [%]."""
    for _, its in cells.groupby(["model", "data", "input_px", "metric"], sort=False):
        first = its.iloc[0]
        ceiling = 100 * (1 - 1 / IMAGENET_CLASSES) if first["metric"] == "top-1" else 100.0
        name, measure = f"{_short(first['model'])} {_where(first)}", f"{first['metric']} error"
        error = table_error(its["published"], first["metric"])
        yield _published(source, name, its, 100 - its["published"], error, measure, "%", ceiling)


def _several(values: pd.Series) -> str:
    """The distinct values of a column."""
    texts = (", ".join(value) if isinstance(value, list) else str(value)[:60] for value in values.dropna())
    return " / ".join(dict.fromkeys(texts)) or "none"


def _published(
    source: str,
    name: str,
    cells: pd.DataFrame,
    y: pd.Series,
    error: pd.Series,
    measure: str,
    unit: str,
    ceiling: float,
) -> Group:
    points = pd.DataFrame({"patch": cells["patch"], "seed": 0, "y": y, "number_error": error})
    points = points.dropna().reset_index(drop=True)
    first = cells.iloc[0]
    about = {"data": first["data"], "backbone": first["model"], "image": first["input_px"]}
    return Group(name, f"{source}: {name}", source, points, measure, unit, ceiling, about)


def _short(model: str) -> str:
    """Adventurer-Base is Adventurer-B, as in the paper's Table 2."""
    family, _, size = model.partition("-")
    return f"{family}-{size[0]}" if size else family


def _where(cell: pd.Series) -> str:
    """The data set, or for ImageNet the image size."""
    return f"{cell['input_px']:g}" if cell["data"] == "imagenet" else str(cell["data"])
