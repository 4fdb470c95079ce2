"""Paper tables: Tables 1 to 7 of arXiv 2502.03738, with own runs and their difference from the paper's numbers.

Every function takes the frame of a RunSet, or None for the published numbers alone, and returns a PaperTable: the tidy
frame of analysis.paper.comparison.join_with_published (keys, label, patch, metric, unit, published, own, seeds,
difference, noise, mark, group) and how analysis/report/text_tables.py prints it. The numbers of the figures are in
analysis/paper/figure_data.py, and here under the same names.
"""

from collections.abc import Hashable, Mapping
from typing import cast

import numpy as np
import pandas as pd

from analysis.paper.comparison import join_with_published, own_runs, own_top1, printed_in, unextended
from analysis.paper.figure_data import figure1, figure2, figure3, figure4
from analysis.paper.layout import TOP1, PaperTable, TableSpec, after_patch
from analysis.records import published
from analysis.records.published import AP_METRICS, CARD, DECODERS, IMAGENET_CLASSES, backbone_of, model_of
from analysis.records.run_frame import FIELDS, Row
from scaling.config.edit import edit, make_config
from scaling.config.legacy import from_flat
from scaling.costs import IMAGENET_IMAGES, parameters, position_parameters, recipe_parameters

BARE = "less positions"  # name of the parameters without learned position embeddings
CARD_WORDS = ("A100", "80GB")  # in torch's name of Table 6's card, such as NVIDIA A100-SXM4-80GB


def all_tables(runs: pd.DataFrame | None = None) -> dict[str, PaperTable]:
    """Tables 1 to 7 and the numbers of Figures 1 to 4, by name: "table1" ... "figure4"."""
    made = (table1, table2, table3, table4, table5, table6, table7, figure1, figure2, figure3, figure4)
    return {table.__name__: table(runs) for table in made}


def table1(runs: pd.DataFrame | None = None) -> PaperTable:
    """ImageNet-1k top-1 [%] of the Base models by image and patch size. Keys: model, input_px, data.

    Own classification runs that Table 4 does not print are included, on any data."""
    cells, keys = published.table1_cells(), ["model", "input_px", "data"]
    frame = join_with_published(cells, own_top1(runs, cells, published.table4_cells()), keys, TOP1)
    return PaperTable(
        frame,
        TableSpec(
            name="table1", title="ImageNet-1k top-1 [%] by patch size", rows=tuple(keys), usual={"data": "imagenet"}
        ),
    )


def table2(runs: pd.DataFrame | None = None) -> PaperTable:
    """ADE20K mIoU [%] by decoder and patch size, and parameters [M], head included; own parameters also without the
    learned position embeddings, which grow with the crop and are not part of a decoder. Keys: model, decoder ("linear"
    is the paper's None), data, input_px (the crop) [px]. Own segmentation runs on any data are included."""
    own = own_runs(runs, "segment")
    positions = pd.Series([_positions(run) for run in own.to_dict("records")], own.index, dtype=float)
    own = own.assign(decoder=own["head"].map(DECODERS), parameters=own["parameters"] / 1e6)
    own = own.assign(bare=own["parameters"] - positions / 1e6)
    keys = ["model", "decoder", "data", "input_px"]
    metrics = {"miou": ("mIoU", "%"), "parameters": ("parameters", "M"), "bare": (BARE, "M")}
    frame = join_with_published(published.table2_cells(), own, keys, metrics)
    title = "ADE20K mIoU [%] and parameters [M] by patch size"
    usual = {"data": "ade20k", "input_px": published.CROP}
    decimals = {"parameters": 0}
    return PaperTable(
        frame,
        TableSpec(
            name="table2", title=title, rows=tuple(keys), usual=usual, decimals=decimals, remarks=_parameter_remarks()
        ),
    )


def _positions(run: Mapping[Hashable, object]) -> int:
    """Learned position embeddings of an own run [1]."""
    return position_parameters(from_flat({name: run[name] for name in FIELDS}))


def _parameter_remarks() -> tuple[str, ...]:
    """Why own parameter counts differ from the paper's, with the numbers of Adventurer-Base on the paper's crops."""
    linear = make_config(
        task="segment",
        dataset="ade20k",
        backbone="adventurer_base",
        img_size=published.CROP,
        patch_size=16,
        num_classes=150,
    )
    sizes = {patch: edit(linear, patch_size=patch) for patch in (16, 8, 4, 2)}
    table = ", ".join(f"{position_parameters(run) / 1e6:.1f}" for run in sizes.values())
    heads = {patch: recipe_parameters(edit(run, head="upernet")) for patch, run in sizes.items()}
    more = ", ".join(f"{(heads[patch] - recipe_parameters(run)) / 1e6:.1f}" for patch, run in sizes.items())
    of = f"in {model_of(linear.model.backbone)} at patch {', '.join(map(str, sizes))}"
    return (
        f"parameters: learned position embeddings of a {linear.model.img_size} px crop are {table} M {of}; "
        f"{BARE}: without them",
        f"UperNet: width head_channels (default {linear.segmentation.head.head_channels}; the paper gives none) and "
        f"more upsampling for coarser patches: {more} M more than linear {of}",
    )


def table3(runs: pd.DataFrame | None = None) -> PaperTable:
    """COCO average precision [%] of boxes and masks, of all and at IoU 0.5 and 0.75, by patch size. Keys: model, data,
    input_px (the short side) [px]. Own detection runs on any data are included."""
    metrics = {column: (metric, "%") for metric, column in AP_METRICS.values()}
    keys = ["model", "data", "input_px"]
    # At patch 64 the positions, and the stages before, are for 256 px instead of 224: in the table it is one series.
    frame = join_with_published(published.table3_cells(), own_runs(runs, "detect", "image"), keys, metrics)
    usual = {"data": "coco", "input_px": published.SHORT_SIDE}
    return PaperTable(
        frame, TableSpec(name="table3", title="COCO box and mask AP [%] by patch size", rows=tuple(keys), usual=usual)
    )


def table4(runs: pd.DataFrame | None = None) -> PaperTable:
    """ImageNet-1k top-1 [%] of Adventurer by model and patch size. Keys: input_px, model, data.

    Own classification runs that Table 1 does not print are included, on any data."""
    cells, keys = published.table4_cells(), ["input_px", "model", "data"]
    frame = join_with_published(cells, own_top1(runs, cells, published.table1_cells()), keys, TOP1)
    return PaperTable(
        frame,
        TableSpec(
            name="table4",
            title="ImageNet-1k top-1 [%] by model and patch size",
            rows=tuple(keys),
            usual={"data": "imagenet"},
        ),
    )


def table5(runs: pd.DataFrame | None = None) -> PaperTable:
    """Longer sequences by extending (embedded at a larger patch size, tokens interpolated) and by scaling (smaller
    patches), top-1 [%]. Keys: model, input_px, way, data; length [tokens] is a further fact.

    Own runs on any data are included where some were extended. At the patch size that is extended from, both ways are
    the same run, which is in both rows."""
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
    frame = join_with_published(cells, pd.concat(ways, ignore_index=True), keys, TOP1)
    frame = after_patch(frame, length=(frame["input_px"] // frame["patch"]) ** 2)
    title = "longer sequences, ImageNet-1k top-1 [%]"
    return PaperTable(
        frame, TableSpec(name="table5", title=title, rows=tuple(keys), usual={"data": "imagenet"}, along=("length",))
    )


def table6(runs: pd.DataFrame | None = None) -> PaperTable:
    """The cost of a patch size at 224 px: memory per image [MB] and time of an ImageNet-1k epoch [h]. Keys: model,
    machine, data; length [tokens] goes with patch.

    Own hours are those of 1,281,167 images at a run's training throughput, whatever its settings and stage. Own memory
    is a device's peak divided by its micro-batch, so it includes the weights and their moments; it is missing where the
    record has no micro-batch. Hours on other hardware are not a replication: runs on anything but one A100-80GB are
    separate rows under the name of their machine. The paper does not name the ViT of its memory column, so no own run
    is compared with it."""
    cells, keys = published.table6_cells(), ["model", "machine", "data"]
    own = unextended(runs)
    own = own[(own["input_px"] == 224) & (own["images_per_second"] > 0)]
    hours = IMAGENET_IMAGES / own["images_per_second"].astype(float) / 3600
    at_a_time = pd.to_numeric(own.get("machine_micro_batch", pd.Series(np.nan, own.index)))
    memory = own["peak_memory"].astype(float) / at_a_time / 1e6
    machines = [machine_name(cast(Row, run)) for run in own.to_dict("records")]
    models = [model_of(backbone) or backbone for backbone in own["backbone"]]  # any stage counts here
    own = own.assign(epoch=hours, memory=memory, machine=machines, model=models)
    frame = join_with_published(cells, own, keys, {"memory": ("memory", "MB/image"), "epoch": ("epoch", "h")})
    frame = after_patch(frame, length=(224 // frame["patch"]) ** 2)
    decimals, usual = {"memory": 0, "epoch": 2}, {"data": "imagenet"}
    title = "cost at 224 px: memory [MB/image], ImageNet-1k epoch [h]"
    return PaperTable(frame, TableSpec(name="table6", title=title, rows=tuple(keys), usual=usual, decimals=decimals))


def machine_name(run: Row) -> str:
    """The hardware of a run: graphics cards, else processor and cores. Table 6's card has the name used there. Older
    records without the number of devices are taken to have used all of the machine's cards."""
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


def table7(runs: pd.DataFrame | None = None) -> PaperTable:
    """The models and their parameters at patch 16, 224 px and 1000 classes [M]; own numbers are computed by
    scaling.costs, without runs. Keys: model; embed_dim, mlp_dim and blocks [1] are further facts. The noise is 1: the
    paper prints whole millions, some rounded and some truncated."""
    cells = published.table7_cells()
    counted = [parameters(backbone_of(model), 224, 16, IMAGENET_CLASSES) / 1e6 for model in cells["model"]]
    own = cells.assign(parameters=counted, series=cells["model"], group="")
    frame = join_with_published(cells, own, ["model"], {"parameters": ("parameters", "M")}).assign(seeds=0)
    facts = ["embed_dim", "mlp_dim", "blocks"]
    of = cells.set_index("model")
    frame = after_patch(frame, **{column: frame["model"].map(of[column]) for column in facts})
    title = "the models, millions of parameters at patch 16 and 224 px"
    return PaperTable(
        frame,
        TableSpec(
            name="table7", title=title, rows=("model",), across="", along=tuple(facts), decimals={"parameters": 0}
        ),
    )


def _extending(own: pd.DataFrame, begun: pd.Series) -> pd.DataFrame:
    """Runs as extensions of the patch sizes in begun, each a series of its own."""
    return own.assign(way="by extending", extend=begun, series=own["series"] + " " + begun.astype(str))
