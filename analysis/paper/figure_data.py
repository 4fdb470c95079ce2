"""Figure numbers: what Figures 1 to 4 of arXiv 2502.03738 show, with one's own runs beside it. Nothing is drawn here.

Frames as in analysis/paper/tables.py, with what a figure needs besides.
"""

import numpy as np
import pandas as pd

from analysis.paper.comparison import beside, in_order, joined, means_of, own_runs, own_top1, told_apart, unextended
from analysis.paper.layout import TOP1, after_patch, described
from analysis.records import published
from analysis.records.published import CROP, DECODERS, IMAGENET_CLASSES, backbone_of
from scaling.costs import flops

GAP = "UperNet - linear"
IMAGENET = {"data": "imagenet"}


def figure1(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Test loss [nats] by patch size, panels a to i. Keys: panel, task, model, data, input_px; metric: "test loss", in
    panel e "box loss", in f "mask loss"; axis_l_inf [nats], the L_inf of the panel's axis, goes with the panel.

    Panels d, e and f name no model: one's own runs there are rows of their own, whatever their backbone. Only runs that
    did what the paper did are here. That paper and harness mean the same by the loss of a segmentation (ours: mean
    over labelled pixels) or a detection (ours: see scaling/tasks/detection.py) is likely and not known."""
    cells, keys = published.figure1_cells(), ["panel", "task", "model", "data", "input_px"]
    panels = cells.drop_duplicates("panel")
    dense = {"d": own_runs(runs, "segment"), "e": own_runs(runs, "detect", "image")}
    dense = {panel: own[own["model"] != own["backbone"]] for panel, own in dense.items()}  # did what the paper did
    named = unextended(runs).drop(columns="task").merge(panels[["panel", "task", "model", "input_px"]])
    found = [beside(cells[~cells["panel"].isin([*"def"])], named, keys, {"test_loss": ("test loss", "nats")})]
    for panel, column in (("d", "test_loss"), ("e", "test_box_loss"), ("f", "test_mask_loss")):
        its = cells[cells["panel"] == panel]
        own = dense["d" if panel == "d" else "e"].assign(panel=panel, task=its["task"].iloc[0])
        found.append(beside(its, own, keys, {column: (its["metric"].iloc[0], "nats")}))
    frame = pd.concat(found, ignore_index=True).sort_values("panel", kind="stable", ignore_index=True)
    frame = after_patch(frame, axis_l_inf=frame["panel"].map(panels.set_index("panel")["axis_l_inf"]))
    decimals = dict.fromkeys(cells["metric"], 4)
    usual = {**IMAGENET, "task": "classification"}
    return described(frame, "figure1", "test loss [nats] by patch size", keys, usual=usual, decimals=decimals)


def figure2(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """The vanishing decoder: Table 2's mIoU [%] and, as decoder GAP and metric "gap" [points], UperNet minus linear at
    each patch size. Keys: model, decoder, data, input_px. A gap's noise is its two numbers', added in squares."""
    cells, keys = published.table2_cells(), ["model", "decoder", "data", "input_px"]
    cells = cells[cells["metric"] == "mIoU"]
    own = own_runs(runs, "segment", "head", "head_channels")
    means = means_of(own.assign(decoder=own["head"].map(DECODERS)), keys, {"miou": ("mIoU", "%")})
    cells = pd.concat([cells, _gaps(cells, "published")], ignore_index=True)
    if len(gaps := _gaps(means, "own")):
        means = pd.concat([means, gaps], ignore_index=True)
    frame = joined(cells, means, keys)
    usual = {"data": "ade20k", "input_px": CROP}
    title = "what UperNet gains over a linear head, ADE20K mIoU [%]"
    return described(frame, "figure2", title, ["model", "data", "input_px", "decoder"], usual=usual)


def figure3(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Grow the model or shrink the patch: Table 4's top-1 [%] with the FLOPs of an image's forward pass, by the
    convention of scaling/costs.py. Keys: input_px, model, data; flops [FLOPs] goes with patch. One's own runs of
    classification are here as in Table 4."""
    cells, keys = published.table4_cells(), ["input_px", "model", "data"]
    own = own_top1(runs, cells, published.table1_cells())
    frame = beside(cells, own, keys, TOP1)
    recorded = own.groupby(["group", "patch"])["flops_per_image"].first().to_dict()
    costs = [
        recorded.get((group, patch)) or float(flops(backbone_of(model), image, patch, IMAGENET_CLASSES))
        for group, model, image, patch in frame[["group", "model", "input_px", "patch"]].to_numpy().tolist()
    ]
    title = "top-1 [%] by model and patch size, with FLOPs of an image"
    return described(after_patch(frame, flops=costs), "figure3", title, keys, usual=IMAGENET, along=["flops"])


def figure4(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """A larger image at as many tokens: top-1 [%] of Tables 1 and 4, and of one's own runs, by the side of the image
    where image over patch is held. Keys: model, data, tokens [tokens], input_px [px]; patch [px] follows from them.

    Only what can be compared is here: numbers of tokens that a model has at two sides or more, published or one's own.
    A pretraining of Adventurer alone, as experiments/studies.py has it for this figure, stands beside the published
    number at 64 px, where the paper did nothing else, and under the name of its backbone at larger sides."""
    cells, of = published.top1_cells(), ["model", "data"]
    own = own_runs(runs, "classify", "image")
    own = own[own["extend"] == 0]
    own = own.assign(strand=told_apart(own, of), series=own["group"])  # a line of the figure has many image sizes
    lines = cells.merge(own[[*of, "strand"]].drop_duplicates(), on=of, how="left").fillna({"strand": ""})
    frame = beside(lines, own, [*of, "strand", "input_px"], TOP1)
    frame = frame.assign(label=frame["strand"], tokens=(frame["input_px"] // frame["patch"]) ** 2)
    rows = [*of, "tokens"]
    frame = frame[frame.groupby(rows)["input_px"].transform("nunique") > 1]
    some = frame.groupby([*rows, "label"])["own"].transform("count") > 0
    frame = frame.assign(label=frame["label"].where(some, ""))
    frame = frame[some | ~frame.duplicated([*rows, "input_px"])]
    front = [*rows, "label", "input_px", "patch"]
    frame = frame[[*front, *(name for name in frame if name not in (*front, "strand"))]]
    frame = in_order(frame.assign(last=-frame["input_px"]), cells, [*rows, "label"], "last").drop(columns="last")
    title = "top-1 [%] by side of the image at as many tokens"
    return described(frame, "figure4", title, rows, across="input_px", usual=IMAGENET, along=["patch"])


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
