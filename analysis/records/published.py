"""Published data: the numbers of arXiv 2502.03738, as in the files of analysis/published and as tidy cells.

The tables have three spellings of a model ("Adventurer-T", "Base", "DeiT-Base"); cells have one, "Adventurer-Tiny",
which backbone_of converts to a backbone name of this package. Table 2's decoder "None" is called "linear" here: "None"
would be read back from a CSV file as a missing value.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from scaling.config.fields import check_name

PUBLISHED = Path(__file__).parents[1] / "published"
FAMILIES = {"deit": "DeiT", "adventurer": "Adventurer"}
SIZES = ("Tiny", "Small", "Base", "Large", "Huge")
DECODERS = {"linear": "linear", "upernet": "UperNet"}  # heads of this package: their names in the tables
CROP, SHORT_SIDE, LONG_SIDE = 512, 800, 1333  # of images of ADE20K and of COCO, from the paper's section 4 [px]
CARD = "A100-80GB"  # of Table 6
AP_METRICS = {  # columns of Table 3 -> the metric's name in tables and in records
    "ap_box": ("box AP", "box_ap"),
    "ap50_box": ("box AP50", "box_ap50"),
    "ap75_box": ("box AP75", "box_ap75"),
    "ap_mask": ("mask AP", "mask_ap"),
    "ap50_mask": ("mask AP50", "mask_ap50"),
    "ap75_mask": ("mask AP75", "mask_ap75"),
}
IMAGENET_CLASSES = 1000


def published_names() -> list[str]:
    """The names that load_published accepts."""
    return sorted(path.stem for path in PUBLISHED.glob("*.csv"))


def load_published(name: str) -> pd.DataFrame:
    """A published table or figure as it is in analysis/published, e.g. "figure1_test_loss"; see the README there."""
    name = name.removesuffix(".csv")
    check_name("published table", name, published_names())
    return pd.read_csv(PUBLISHED / f"{name}.csv", keep_default_na=False, na_values=[""])  # Table 2 has the word None


def _once(build: Callable[[], pd.DataFrame]) -> Callable[[], pd.DataFrame]:
    """Build a table once and return copies: a report uses each hundreds of times."""
    kept = functools.cache(build)

    @functools.wraps(build)
    def copied() -> pd.DataFrame:
        return kept().copy()

    return copied


def model_of(backbone: str) -> str:
    """The paper's name of a backbone, "deit_base" -> "DeiT-Base"; "" for models that are not in Table 7."""
    family, _, size = backbone.partition("_")
    known = family in FAMILIES and size.title() in SIZES
    return f"{FAMILIES[family]}-{size.title()}" if known else ""


def backbone_of(model: str) -> str:
    """The inverse of model_of, for models of Table 7: "DeiT-Base" -> "deit_base"."""
    return model.lower().replace("-", "_")


@_once
def top1_cells() -> pd.DataFrame:
    """Tables 1 and 4 together, each number once: the Base models of Table 4 are in Table 1 as well."""
    both = pd.concat([table1_cells(), table4_cells()], ignore_index=True)
    return both.drop_duplicates(["model", "input_px", "patch"], ignore_index=True)


@_once
def table1_cells() -> pd.DataFrame:
    """Columns model, data, input_px [px], patch [px], metric "top-1", unit "%", published. Empty cells are left out."""
    return _top1(load_published("table1_imagenet_patch"))


@_once
def table4_cells() -> pd.DataFrame:
    """Cells of Table 4, as table1_cells."""
    table = load_published("table4_model_and_patch")
    return _top1(table.assign(model="Adventurer-" + table["model"]))


@_once
def table2_cells() -> pd.DataFrame:
    """Columns model, data, input_px (the crop) [px], decoder ("UperNet", "linear"), patch [px], metric ("mIoU",
    "parameters"), unit ("%", "M"), published."""
    table = _long_names(load_published("table2_ade20k"))
    table = table.assign(data="ade20k", input_px=CROP, decoder=table["decoder"].replace("None", DECODERS["linear"]))
    kinds = {"miou": ("mIoU", "%"), "params_m": ("parameters", "M")}
    return _melted(table, ["model", "data", "input_px", "decoder", "patch"], kinds)


@_once
def table3_cells() -> pd.DataFrame:
    """Columns model, data, input_px (the short side) [px], patch [px], metric ("box AP", "mask AP50" ...), unit "%",
    published."""
    table = _long_names(load_published("table3_coco")).assign(data="coco", input_px=SHORT_SIDE)
    kinds = {column: (metric, "%") for column, (metric, _) in AP_METRICS.items()}
    return _melted(table, ["model", "data", "input_px", "patch"], kinds)


@_once
def table5_cells() -> pd.DataFrame:
    """Columns model, data, input_px [px], way ("by extending", "by scaling"), patch [px] (that gives as many tokens),
    metric "top-1", unit "%", published."""
    table = load_published("table5_sequence_length")
    table = table.assign(data="imagenet", patch=(table["input_px"] / np.sqrt(table["length"])).astype(int))
    ways = ["by_extending", "by_scaling"]
    tidy = table.melt(["model", "data", "input_px", "patch"], ways, var_name="way", value_name="published")
    return tidy.assign(way=tidy["way"].str.replace("_", " "), metric="top-1", unit="%")


@_once
def table6_cells() -> pd.DataFrame:
    """Columns model ("ViT" where the paper names no size), data, input_px [px], machine ("" where unknown),
    patch [px], metric ("memory", "epoch"), unit ("MB/image", "h"), published."""
    kinds = {
        "vit_memory_mb_per_image": ("ViT", "", "memory", "MB/image"),
        "deit_base_a100_hours_per_epoch": ("DeiT-Base", CARD, "epoch", "h"),
        "adventurer_base_a100_hours_per_epoch": ("Adventurer-Base", CARD, "epoch", "h"),
    }
    tidy = load_published("table6_cost").melt("patch", list(kinds), var_name="column", value_name="published")
    for number, name in enumerate(("model", "machine", "metric", "unit")):
        tidy[name] = tidy["column"].map(lambda column, n=number: kinds[column][n])
    return tidy.drop(columns="column").assign(data="imagenet", input_px=224)


def model_sizes() -> dict[str, float]:
    """Parameters of each model as Table 7 prints them [1]: {"DeiT-Tiny": 5e6, ...}."""
    table = load_published("table7_models")
    return {str(model): 1e6 * millions for model, millions in table[["model", "params_m"]].to_numpy()}


@_once
def table7_cells() -> pd.DataFrame:
    """Columns model, data, input_px, patch, embed_dim, mlp_dim, blocks, metric "parameters", unit "M", published."""
    table = load_published("table7_models").rename(columns={"params_m": "published"})
    return table.assign(data="imagenet", input_px=224, patch=16, metric="parameters", unit="M")


@_once
def figure1_cells() -> pd.DataFrame:
    """Columns panel, task, model ("" where the panel names none), data, input_px [px], patch [px], metric ("test
    loss", "box loss", "mask loss"), unit "nats", published, axis_l_inf [nats]."""
    table = load_published("figure1_test_loss").rename(columns={"test_loss": "published"})
    data = table["input"].where(table["input"].isin(["ade20k", "coco"]), "imagenet")
    sides = table["input"].replace({"ade20k": str(CROP), "coco": str(SHORT_SIDE)}).astype(int)
    metrics = table["task"].map({"detection-bbox": "box loss", "detection-mask": "mask loss"}).fillna("test loss")
    table = table.assign(data=data, input_px=sides, model=table["model"].fillna(""), metric=metrics, unit="nats")
    return table.drop(columns="input")


def _top1(table: pd.DataFrame) -> pd.DataFrame:
    patches = {str(column): int(str(column)[1:]) for column in table if str(column)[1:].isdigit()}
    tidy = table.rename(columns=patches).melt(
        ["model", "input_px"], list(patches.values()), var_name="patch", value_name="published"
    )
    tidy = tidy.astype({"patch": int}).assign(data="imagenet", metric="top-1", unit="%")
    return tidy.dropna(subset="published").reset_index(drop=True)


def _long_names(table: pd.DataFrame) -> pd.DataFrame:
    """Adventurer-T is Adventurer-Tiny."""
    long = {size[0]: size for size in SIZES}
    return table.assign(model=table["model"].str[:-1] + table["model"].str[-1].map(long))


def _melted(table: pd.DataFrame, keys: list[str], kinds: dict[str, tuple[str, str]]) -> pd.DataFrame:
    """A row a number. kinds: column of the table -> metric and unit."""
    tidy = table.melt(keys, list(kinds), var_name="column", value_name="published")
    for number, name in enumerate(("metric", "unit")):
        tidy[name] = tidy["column"].map(lambda column, n=number: kinds[column][n])
    return tidy.drop(columns="column")
