"""Paper tables: Tables 1 to 7 of arXiv 2502.03738, with one's own runs and their difference beside the paper's numbers.

Every function takes runs as analysis.records.run_set.load gives them, or None for the published numbers alone, and
returns the tidy frame that analysis.paper.comparison.beside describes: keys, label, patch, metric, unit, published,
own, seeds, difference, noise, mark, group. Its attrs are those of analysis/paper/layout.py, by which
analysis/report/text_tables.py prints it. The numbers of the figures are in analysis/paper/figure_data.py, and here
under the same names.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.paper.comparison import beside, own_runs, own_top1, printed_in, unextended
from analysis.paper.figure_data import figure1, figure2, figure3, figure4
from analysis.paper.layout import TOP1, after_patch, described
from analysis.records import published
from analysis.records.published import AP_METRICS, CARD, DECODERS, IMAGENET_CLASSES, backbone_of, model_of
from analysis.records.run_set import FIELDS
from scaling.costs import IMAGENET_IMAGES, parameters, position_parameters, recipe_parameters
from scaling.recipe import Recipe

BARE = "less positions"  # what parameters without the table of learned positions are called
CARD_WORDS = ("A100", "80GB")  # of the name that torch gives to Table 6's card, such as NVIDIA A100-SXM4-80GB


def all_tables(runs: pd.DataFrame | None = None) -> dict[str, pd.DataFrame]:
    """Tables 1 to 7 and the numbers of Figures 1 to 4, by name: "table1" ... "figure4"."""
    made = (table1, table2, table3, table4, table5, table6, table7, figure1, figure2, figure3, figure4)
    return {table.__name__: table(runs) for table in made}


def table1(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """ImageNet-1k top-1 [%] of the Base models by image and patch size. Keys: model, input_px, data.

    One's own runs of classification that Table 4 does not print are here too, on any data."""
    cells, keys = published.table1_cells(), ["model", "input_px", "data"]
    frame = beside(cells, own_top1(runs, cells, published.table4_cells()), keys, TOP1)
    return described(frame, "table1", "ImageNet-1k top-1 [%] by patch size", keys, usual={"data": "imagenet"})


def table2(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """ADE20K mIoU [%] by decoder and patch size, and parameters [M], head included; one's own also without the table of
    learned positions, which grows with the crop and is no part of a decoder. Keys: model, decoder ("linear" is the
    paper's None), data, input_px (the crop) [px]. One's own runs of segmentation on any data are here."""
    own = own_runs(runs, "segment")
    positions = pd.Series([_positions(run) for run in own.to_dict("records")], own.index, dtype=float)
    own = own.assign(decoder=own["head"].map(DECODERS), parameters=own["parameters"] / 1e6)
    own = own.assign(bare=own["parameters"] - positions / 1e6)
    keys = ["model", "decoder", "data", "input_px"]
    metrics = {"miou": ("mIoU", "%"), "parameters": ("parameters", "M"), "bare": (BARE, "M")}
    frame = beside(published.table2_cells(), own, keys, metrics)
    title = "ADE20K mIoU [%] and parameters [M] by patch size"
    usual = {"data": "ade20k", "input_px": published.CROP}
    decimals = {"parameters": 0}
    return described(frame, "table2", title, keys, usual=usual, decimals=decimals, remarks=_parameter_remarks())


def _positions(run: dict[Any, Any]) -> int:
    """Learned positions of a run of one's own [1]."""
    return position_parameters(Recipe.from_dict({name: run[name] for name in FIELDS}))


def _parameter_remarks() -> list[str]:
    """Why one's own parameters are others than the paper's, in numbers of Adventurer-Base on the paper's crops."""
    linear = Recipe(
        task="segment", data="ade20k", backbone="adventurer_base", image=published.CROP, patch=16, classes=150
    )
    sizes = {patch: replace(linear, patch=patch) for patch in (16, 8, 4, 2)}
    table = ", ".join(f"{position_parameters(run) / 1e6:.1f}" for run in sizes.values())
    heads = {patch: recipe_parameters(replace(run, head="upernet")) for patch, run in sizes.items()}
    more = ", ".join(f"{(heads[patch] - recipe_parameters(run)) / 1e6:.1f}" for patch, run in sizes.items())
    of = f"in {model_of(linear.backbone)} at patch {', '.join(map(str, sizes))}"
    return [
        f"parameters: the table of learned positions of a {linear.image} px crop is {table} M {of}; {BARE}: less it",
        f"UperNet: as wide as head_channels says ({linear.head_channels} unless asked for; the paper prints no width), "
        f"with more doublings in front the coarser the patch: {more} M more than linear {of}",
    ]


def table3(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """COCO average precision [%] of boxes and masks, of all and at IoU 0.5 and 0.75, by patch size. Keys: model, data,
    input_px (the short side) [px]. One's own runs of detection on any data are here."""
    metrics = {column: (metric, "%") for metric, column in AP_METRICS.values()}
    keys = ["model", "data", "input_px"]
    # At patch 64 positions are made for 256 px, not 224, and so is the chain before: for the table it is one series.
    frame = beside(published.table3_cells(), own_runs(runs, "detect", "image"), keys, metrics)
    usual = {"data": "coco", "input_px": published.SHORT_SIDE}
    return described(frame, "table3", "COCO box and mask AP [%] by patch size", keys, usual=usual)


def table4(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """ImageNet-1k top-1 [%] of Adventurer by model and patch size. Keys: input_px, model, data.

    One's own runs of classification that Table 1 does not print are here too, on any data."""
    cells, keys = published.table4_cells(), ["input_px", "model", "data"]
    frame = beside(cells, own_top1(runs, cells, published.table1_cells()), keys, TOP1)
    return described(frame, "table4", "ImageNet-1k top-1 [%] by model and patch size", keys, usual={"data": "imagenet"})


def table5(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Longer sequences by extending (embedded at a coarser patch, the tokens interpolated) and by scaling (finer
    patches), top-1 [%]. Keys: model, input_px, way, data; length [tokens] goes with patch.

    One's own runs on any data are here where some were extended. At the patch that is extended from, both ways are one
    run, which is in both rows."""
    cells, keys = published.table5_cells(), ["model", "input_px", "way", "data"]
    own = own_runs(runs, "classify", "extend")
    scaled, extended = own[own["extend"] == 0], own[own["extend"] > 0]
    begun = extended[["series", "extend"]].drop_duplicates()
    printed = printed_in(scaled, cells)
    alone = scaled.loc[printed & ~scaled["series"].isin(begun["series"]), ["series"]].drop_duplicates()
    begun = pd.concat([begun, alone.assign(extend=16)])
    from_patch = begun.rename(columns={"extend": "patch"})
    base = scaled.merge(from_patch.astype({"patch": scaled["patch"].dtype}), on=["series", "patch"])
    ways = [
        scaled[printed | scaled["series"].isin(begun["series"])].assign(way="by scaling"),
        _extending(extended, extended["extend"]),
        _extending(base, base["patch"]),
    ]
    frame = beside(cells, pd.concat(ways, ignore_index=True), keys, TOP1)
    frame = after_patch(frame, length=(frame["input_px"] // frame["patch"]) ** 2)
    title = "longer sequences, ImageNet-1k top-1 [%]"
    return described(frame, "table5", title, keys, usual={"data": "imagenet"}, along=["length"])


def table6(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """What a patch size costs at 224 px: memory of an image [MB] and time of an ImageNet-1k epoch [h]. Keys: model,
    machine, data; length [tokens] goes with patch.

    One's own hours are those of 1,281,167 images at the images per second of a run's training, whatever its settings
    and stage; one's own memory is the peak of a device over the images that it takes at a time, so the weights and
    their moments are in it: it says more the more images there are, and nothing of a record that has not their number.
    Hours on another card are no replication: runs on anything but one A100-80GB are rows of their own, under the name
    of their machine. The paper does not say of which ViT its memory is: no run of one's own stands beside it."""
    cells, keys = published.table6_cells(), ["model", "machine", "data"]
    own = unextended(runs)
    own = own[(own["input_px"] == 224) & (own["images_per_second"] > 0)]
    hours = IMAGENET_IMAGES / own["images_per_second"].astype(float) / 3600
    at_a_time = pd.to_numeric(own.get("machine_micro_batch", pd.Series(np.nan, own.index)))
    memory = own["peak_memory"].astype(float) / at_a_time / 1e6
    machines = [machine_name(run) for run in own.to_dict("records")]
    models = [model_of(backbone) or backbone for backbone in own["backbone"]]  # a pretraining costs what it costs
    own = own.assign(epoch=hours, memory=memory, machine=machines, model=models)
    frame = beside(cells, own, keys, {"memory": ("memory", "MB/image"), "epoch": ("epoch", "h")})
    frame = after_patch(frame, length=(224 // frame["patch"]) ** 2)
    decimals, usual = {"memory": 0, "epoch": 2}, {"data": "imagenet"}
    title = "cost at 224 px: memory [MB/image], ImageNet-1k epoch [h]"
    return described(frame, "table6", title, keys, usual=usual, decimals=decimals)


def machine_name(run: dict[Any, Any]) -> str:
    """What a run was trained on, by its record: graphics cards, else processor and cores. Table 6's card is called as
    there. Where an older record does not say how many of a machine's cards it used, all of them are named."""
    cards = run.get("machine_gpus")
    if isinstance(cards, list) and cards:
        name = CARD if all(word in cards[0] for word in CARD_WORDS) else str(cards[0])
        devices = run.get("machine_devices")
        used = len(cards) if devices is None or pd.isna(devices) else int(devices)
        return name if used == 1 else f"{used} x {name}"
    processor, cores = run.get("machine_processor"), run.get("machine_cores")
    if not isinstance(processor, str):
        return "unknown machine"
    return processor if cores is None or pd.isna(cores) else f"{processor}, {int(cores)} cores"


def table7(runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """The models and their parameters at patch 16, 224 px and 1000 classes [M]; one's own are by the arithmetic of
    scaling.costs, and no run is asked. Keys: model; embed_dim, mlp_dim and blocks [1] go with it. The noise is 1: the
    paper prints whole millions, some rounded and some cut."""
    cells = published.table7_cells()
    counted = [parameters(backbone_of(model), 224, 16, IMAGENET_CLASSES) / 1e6 for model in cells["model"]]
    own = cells.assign(parameters=counted, series=cells["model"], group="")
    frame = beside(cells, own, ["model"], {"parameters": ("parameters", "M")}).assign(seeds=0)
    facts = ["embed_dim", "mlp_dim", "blocks"]
    of = cells.set_index("model")
    frame = after_patch(frame, **{column: frame["model"].map(of[column]) for column in facts})
    title = "the models, millions of parameters at patch 16 and 224 px"
    return described(frame, "table7", title, ["model"], across="", along=facts, decimals={"parameters": 0})


def _extending(own: pd.DataFrame, begun: pd.Series) -> pd.DataFrame:
    """Runs as what was extended from the patch sizes in begun: from each, a series of its own."""
    return own.assign(way="by extending", extend=begun, series=own["series"] + " " + begun.astype(str))
