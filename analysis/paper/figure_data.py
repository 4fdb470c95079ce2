"""Figure data: the numbers of Figures 1 to 4 of arXiv 2502.03738, with own runs. Nothing is drawn here.

Tables as in analysis/paper/tables.py, with further columns that a figure needs.
"""

import numpy as np
import pandas as pd

from analysis.paper.comparison import (
    in_order,
    join,
    join_with_published,
    means_of,
    own_runs,
    own_top1,
    series_labels,
    unextended,
)
from analysis.paper.layout import TOP1, PaperTable, TableSpec, after_patch
from analysis.records import published
from analysis.records.published import CROP, DECODERS, IMAGENET_CLASSES, backbone_of
from scaling.costs import flops

GAP = "UperNet - linear"
IMAGENET = {"data": "imagenet"}


def figure1(runs: pd.DataFrame | None = None) -> PaperTable:
    """Test loss [nats] by patch size, panels a to i. Keys: panel, task, model, data, input_px; metric: "test loss", in
    panel e "box loss", in f "mask loss"; axis_l_inf [nats] is the L_inf of the panel's axis.

    Panels d, e and f name no model: own runs there are separate rows, whatever their backbone. Only runs that replicate
    the paper's setting are included. Whether the paper defines the loss of segmentation (here: mean over labelled
    pixels) and detection (here: scaling/tasks/detection.py) in the same way is likely but unknown."""
    cells, keys = published.figure1_cells(), ["panel", "task", "model", "data", "input_px"]
    panels = cells.drop_duplicates("panel")
    dense = {"d": own_runs(runs, "segment"), "e": own_runs(runs, "detect", "image")}
    dense = {panel: own[own["model"] != own["backbone"]] for panel, own in dense.items()}
    named = unextended(runs).drop(columns="task").merge(panels[["panel", "task", "model", "input_px"]])
    found = [
        join_with_published(cells[~cells["panel"].isin([*"def"])], named, keys, {"test_loss": ("test loss", "nats")})
    ]
    for panel, column in (("d", "test_loss"), ("e", "test_box_loss"), ("f", "test_mask_loss")):
        its = cells[cells["panel"] == panel]
        own = dense["d" if panel == "d" else "e"].assign(panel=panel, task=its["task"].iloc[0])
        found.append(join_with_published(its, own, keys, {column: (its["metric"].iloc[0], "nats")}))
    frame = pd.concat(found, ignore_index=True).sort_values("panel", kind="stable", ignore_index=True)
    frame = after_patch(frame, axis_l_inf=frame["panel"].map(panels.set_index("panel")["axis_l_inf"]))
    decimals = dict.fromkeys(cells["metric"], 4)
    usual = {**IMAGENET, "task": "classification"}
    return PaperTable(
        frame,
        TableSpec(
            name="figure1", title="test loss [nats] by patch size", rows=tuple(keys), usual=usual, decimals=decimals
        ),
    )


def figure2(runs: pd.DataFrame | None = None) -> PaperTable:
    """The vanishing decoder: Table 2's mIoU [%] and, as decoder GAP and metric "gap" [points], UperNet minus linear at
    each patch size. Keys: model, decoder, data, input_px. The noise of a gap is the root sum of squares of its two
    numbers' noise."""
    cells, keys = published.table2_cells(), ["model", "decoder", "data", "input_px"]
    cells = cells[cells["metric"] == "mIoU"]
    own = own_runs(runs, "segment", "head", "head_channels")
    means = means_of(own.assign(decoder=own["head"].map(DECODERS)), keys, {"miou": ("mIoU", "%")})
    cells = pd.concat([cells, _gaps(cells, "published")], ignore_index=True)
    if len(gaps := _gaps(means, "own")):
        means = pd.concat([means, gaps], ignore_index=True)
    frame = join(cells, means, keys)
    usual = {"data": "ade20k", "input_px": CROP}
    title = "gain of UperNet over a linear head, ADE20K mIoU [%]"
    return PaperTable(
        frame, TableSpec(name="figure2", title=title, rows=("model", "data", "input_px", "decoder"), usual=usual)
    )


def figure3(runs: pd.DataFrame | None = None) -> PaperTable:
    """Larger model or smaller patch: Table 4's top-1 [%] with the FLOPs of an image's forward pass, by the convention
    of scaling/costs. Keys: input_px, model, data; flops [FLOPs] is a further fact. Own classification runs as in Table
    4."""
    cells, keys = published.table4_cells(), ["input_px", "model", "data"]
    own = own_top1(runs, cells, published.table1_cells())
    frame = join_with_published(cells, own, keys, TOP1)
    recorded = own.groupby(["group", "patch"])["flops_per_image"].first().to_dict()
    costs = [
        recorded.get((group, patch)) or float(flops(backbone_of(model), image, patch, IMAGENET_CLASSES))
        for group, model, image, patch in frame[["group", "model", "input_px", "patch"]].to_numpy().tolist()
    ]
    title = "top-1 [%] by model and patch size, with FLOPs per image"
    spec = TableSpec(name="figure3", title=title, rows=tuple(keys), usual=IMAGENET, along=("flops",))
    return PaperTable(after_patch(frame, flops=costs), spec)


def figure4(runs: pd.DataFrame | None = None) -> PaperTable:
    """Larger images at equal numbers of tokens: top-1 [%] of Tables 1 and 4, and of own runs, by image size at constant
    image / patch. Keys: model, data, tokens [tokens], input_px [px]; patch [px] follows from them.

    Only numbers of tokens that a model has at two image sizes or more are included. A pretraining of Adventurer alone,
    as in experiments/studies/catalogue.py, is compared with the published number at 64 px, where the paper has no
    further stages, and is a row under the name of its backbone at larger sizes."""
    cells, of = published.top1_cells(), ["model", "data"]
    own = own_runs(runs, "classify", "image")
    own = own[own["extend"] == 0]
    own = own.assign(strand=series_labels(own, of), series=own["group"])  # a line of the figure has several image sizes
    lines = cells.merge(own[[*of, "strand"]].drop_duplicates(), on=of, how="left").fillna({"strand": ""})
    frame = join_with_published(lines, own, [*of, "strand", "input_px"], TOP1)
    frame = frame.assign(label=frame["strand"], tokens=(frame["input_px"] // frame["patch"]) ** 2)
    rows = [*of, "tokens"]
    frame = frame[frame.groupby(rows)["input_px"].transform("nunique") > 1]
    some = frame.groupby([*rows, "label"])["own"].transform("count") > 0
    frame = frame.assign(label=frame["label"].where(some, ""))
    frame = frame[some | ~frame.duplicated([*rows, "input_px"])]
    front = [*rows, "label", "input_px", "patch"]
    frame = frame[[*front, *(name for name in frame if name not in (*front, "strand"))]]
    frame = in_order(frame.assign(last=-frame["input_px"]), cells, [*rows, "label"], "last").drop(columns="last")
    title = "top-1 [%] by image size at equal numbers of tokens"
    return PaperTable(
        frame,
        TableSpec(name="figure4", title=title, rows=tuple(rows), across="input_px", usual=IMAGENET, along=("patch",)),
    )


def _gaps(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """Rows like those of table, UperNet's value minus the linear head's, where both are there."""
    at = [name for name in ("model", "data", "input_px", "patch", "series") if name in table]
    plain = table[table["decoder"] == DECODERS["linear"]]
    both = table[table["decoder"] == DECODERS["upernet"]].merge(plain, on=at, suffixes=("", "_linear"))
    gaps = both.assign(decoder=GAP, metric="gap", unit="points")
    gaps[value] = both[value] - both[f"{value}_linear"]
    if "noise" in table:
        gaps["noise"] = np.hypot(both["noise"].astype(float), both["noise_linear"].astype(float))
        gaps["seeds"] = both[["seeds", "seeds_linear"]].min(axis=1)
    return gaps[list(table.columns)]
