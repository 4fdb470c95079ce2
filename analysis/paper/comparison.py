"""Compare: one's own runs beside the published numbers, and how large a difference seeds alone may make.

A run stands beside a published number only if it did what the paper did: its model, all of its data, image size, the
whole chain of stages. Its settings (learning rate, epochs) may differ: that is what one wants to see. Any other run
has its place in a table too, under the name of its backbone, with nothing published beside it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.records import published as published_data
from analysis.records.published import CROP, DECODERS, LONG_SIDE, SHORT_SIDE, model_of
from analysis.records.run_set import COLUMNS, FIELDS, finished, labels
from analysis.records.seed_noise import noise_of, seed_spread
from scaling.recipe_identity import says_what

# Have some beyond 64 px (Tables 9 and 10; Tiny's are taken from Small's).
LATER_STAGES = ("adventurer_tiny", "adventurer_small", "adventurer_base", "adventurer_large")
UNNAMED = ("patch", "seed", "start", "data_digest", "weights_digest")  # fields that tell nobody how series differ
# Metrics that no seed moves -> the noise to hold them against. Parameters are printed in whole millions, rounded or cut
# (5.7 as 5), so that a difference below one says nothing.
EXACT = {"parameters": 1.0}
FEW = 2  # fields of a recipe that a label may name
FOUND = ["published", "own", "seeds", "difference", "noise", "mark", "group"]


def paper_model(run: Mapping[Any, Any]) -> str:
    """What the paper calls the run's model, "Adventurer-Base", if the run did what the paper did; else "".

    run: a row of load(), or its dictionary. The paper may have done it at other image or patch sizes only."""
    rule = {"classify": _classified, "segment": _segmented, "detect": _detected}[run["task"]]
    part = run["train_images"] or run["test_images"] or run.get("val_split", 0)
    whole = not part  # of ImageNet, which else is another data set
    return model_of(run["backbone"]) if whole and rule(run) else ""


def _classified(run: Mapping[Any, Any]) -> bool:
    """On ImageNet-1k, through all stages. Table 5 extends from patches of 16 px."""
    chain = run["image"] > 64 and run["backbone"] in LATER_STAGES
    # What begins a chain, or is one by itself, begins from scratch there.
    done = run["stage"] == "finetune" if chain else run["stage"] in ("", "pretrain") and not _started(run)
    return run["data"] == "imagenet" and done and run["extend"] in (0, 16)


def _segmented(run: Mapping[Any, Any]) -> bool:
    """On ADE20K, in crops of 512 px, with a backbone that was trained before."""
    return run["data"] == "ade20k" and run["image"] == CROP and not run["extend"] and _started(run)


def _detected(run: Mapping[Any, Any]) -> bool:
    """On COCO, whole images of 800 px, with a backbone that was trained before."""
    sides = (run["short_side"], run["long_side"], run["augment"]) == (SHORT_SIDE, LONG_SIDE, "flip")
    return run["data"] == "coco" and sides and not run["extend"] and _started(run)


def _started(run: Mapping[Any, Any]) -> bool:
    return bool(run["start"] or run["weights"])


def published(run: Mapping[Any, Any]) -> float:
    """What the paper prints for such a run, in the headline metric of its task [%]; nan where it prints nothing.

    run: a row of load()."""
    return {"classify": published_top1, "segment": published_miou, "detect": published_ap}[run["task"]](run)


def published_top1(run: Mapping[Any, Any]) -> float:
    """What the paper prints for such a run of classification (Tables 5, 1, 4) [%]; nan where it prints nothing. It
    prints the accuracies of finished chains: a pretraining alone has none beside it."""
    if not run["extend"]:
        return _looked_up(published_data.top1_cells(), run, input_px=run["image"])
    return _looked_up(published_data.table5_cells(), run, input_px=run["image"], way="by extending")


def published_miou(run: Mapping[Any, Any]) -> float:
    """What the paper prints for such a run of segmentation (Table 2) [%]; nan where it prints nothing. It prints
    crops of 512 px, and backbones that were trained on ImageNet before."""
    return _looked_up(published_data.table2_cells(), run, decoder=DECODERS[run["head"]], metric="mIoU")


def published_ap(run: Mapping[Any, Any], metric: str = "box AP") -> float:
    """What the paper prints for such a run of detection (Table 3) [%]; nan where it prints nothing. It prints whole
    images of 800 x 1333 px, and backbones that were trained on ImageNet before. metric: as AP_METRICS names it."""
    return _looked_up(published_data.table3_cells(), run, metric=metric)


def _looked_up(cells: pd.DataFrame, run: Mapping[Any, Any], **keys: Any) -> float:
    wanted = {"model": paper_model(run), "patch": run["patch"], **keys}
    found = cells[np.logical_and.reduce([cells[name] == value for name, value in wanted.items()])]
    return float(found["published"].iloc[0]) if len(found) else float("nan")


def series(run: Mapping[Any, Any], *ignoring: str) -> str:
    """What runs have in common that differ in patch, seed and these fields only, in all of their stages. Without any
    fields it is as fine as their group; where data and weights lie is no part of it."""
    return json.dumps(_without({name: run[name] for name in FIELDS}, {"patch", "seed", *ignoring}), sort_keys=True)


def _without(recipe: dict[str, Any], names: set[str]) -> dict[str, Any]:
    kept = {name: value for name, value in recipe.items() if name not in names}
    if says_what(kept["data"]) or kept.get("data_digest"):
        kept["data_root"] = ""
    if kept.get("weights_digest"):
        kept["weights"] = ""
    if kept.get("start"):
        kept["start"] = _without(json.loads(kept["start"]), names)
    return kept


def own_runs(runs: pd.DataFrame | None, task: str, *ignoring: str) -> pd.DataFrame:
    """The finished runs of a task, with what a table knows them by.

    runs: as analysis.records.run_set.load gives it; None: no runs.  Returns its columns and model (the paper's name
    where the run did what the paper did, else the backbone's), input_px (the image's side, in detection the short side)
    [px] and series: the group, or where fields to ignore are named what `series` says of them."""
    if runs is None:
        return pd.DataFrame(columns=[*COLUMNS, "model", "input_px", "series"])
    done = finished(runs)
    done = done[done["task"] == task]
    rows = done.to_dict("records")
    names = [paper_model(run) or str(run["backbone"]) for run in rows]
    alike = [series(run, *ignoring) if ignoring else str(run["group"]) for run in rows]
    sides = done["short_side"].where(done["short_side"] > 0, done["image"]) if task == "detect" else done["image"]
    words = {"model": pd.Series(names, done.index, dtype=object), "series": pd.Series(alike, done.index, dtype=object)}
    return done.assign(input_px=sides, **words)


def unextended(runs: pd.DataFrame | None) -> pd.DataFrame:
    """own_runs of classification whose tokens are those of their patches."""
    own = own_runs(runs, "classify")
    return own[own["extend"] == 0]


def printed_in(own: pd.DataFrame, cells: pd.DataFrame) -> np.ndarray:
    """Which rows of own are of a model and image size that cells print, at whatever patch size."""
    at = ["model", "input_px"]
    return pd.MultiIndex.from_frame(own[at]).isin(pd.MultiIndex.from_frame(cells[at]))


def own_top1(runs: pd.DataFrame | None, cells: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """unextended runs for a table that prints cells: all but those of models and image sizes that only others print."""
    own = unextended(runs)
    return own[printed_in(own, cells) | ~printed_in(own, others)]


def beside(
    cells: pd.DataFrame, own: pd.DataFrame, keys: Sequence[str], metrics: Mapping[str, tuple[str, str]]
) -> pd.DataFrame:
    """Published cells and one's own runs as one tidy frame, a row a number, whether one has it, the other, or both.

    cells: columns keys, patch, metric, unit, published.  own: a row a run, as own_runs gives it, with keys.  keys: what
    tells the rows of the printed table apart.  metrics: columns of own -> metric and unit.
    Returns keys; label (what tells one's own series apart where several stand beside the same published row, which
    is then there for each of them; else ""); patch, metric, unit; published; own (mean over seeds); seeds (runs behind
    it); difference (own - published); noise (the half width of the 95 % interval of such a difference from seeds
    alone; nan where no patch size has two seeds); mark ("*": the difference is larger than the noise, "?": there is
    one, and the noise is not known); group ("" without runs).  nan: missing."""
    return joined(cells, means_of(own, keys, metrics), keys)


def joined(cells: pd.DataFrame, means: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """What beside returns. means: as means_of gives them."""
    keys, of = list(keys), ["patch", "metric", "unit"]
    if means.empty:
        both = cells.assign(own=np.nan, seeds=0, noise=np.nan, label="", group="")
    else:
        strands = means[[*keys, "series", "label"]].drop_duplicates()
        lines = cells.merge(strands, on=keys, how="left").fillna({"series": "", "label": ""})
        both = lines.merge(means, on=[*keys, "series", "label", *of], how="outer")
        both = both.fillna({"seeds": 0, "group": ""}).astype({"seeds": int})
    both["difference"] = both["own"] - both["published"]
    there, known = both["difference"].abs() > 1e-9, both["noise"].notna()
    beyond = both["difference"].abs() > both["noise"]
    both["mark"] = np.select([there & ~known, there & beyond], ["?", "*"], "")
    return in_order(both[[*keys, "label", *of, *FOUND]], cells, [*keys, "label", "metric"])


def in_order(frame: pd.DataFrame, like: pd.DataFrame, keys: Sequence[str], last: str = "patch") -> pd.DataFrame:
    """frame sorted by keys, each in the order of its first appearance in like and behind that in its own, numbers
    ascending; then by `last` from large to small."""
    by = pd.DataFrame(index=frame.index)
    for key in keys:
        others = frame[key].drop_duplicates()
        others = others.sort_values() if pd.api.types.is_numeric_dtype(others) else others
        order = dict.fromkeys([*like.get(key, []), *others])
        by[key] = frame[key].map({value: rank for rank, value in enumerate(order)})
    by["_last"] = -frame[last].astype(float)
    return frame.loc[by.sort_values([*keys, "_last"], kind="stable").index].reset_index(drop=True)


def means_of(own: pd.DataFrame, keys: Sequence[str], metrics: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """A row for each series, patch and metric of own runs: keys, series, patch, metric, unit, group, own, seeds, noise
    and label as beside has them. Arguments: as there."""
    of = [*keys, "series", "label", "patch", "metric", "unit"]
    own = own.assign(label=told_apart(own, keys))
    found = [pd.DataFrame(columns=[*of, "group", "own", "seeds", "noise"])]
    for column, (metric, unit) in metrics.items():
        if column not in own or own[column].isna().all():
            continue
        its = own[[*dict.fromkeys([*keys, "series", "label", "patch", "group"])]].assign(metric=metric, unit=unit)
        its = its.assign(own=own[column].astype(float)).dropna(subset="own")
        its["pool"] = its.groupby([*keys, "series"], sort=False).ngroup()
        spread = seed_spread(its.assign(group=its["pool"]), "own").set_index("group")
        cells = its.groupby(of, sort=False, as_index=False)
        firsts = {name: (name, "first") for name in ("group", "pool")}
        means = cells.agg(**firsts, own=("own", "mean"), seeds=("own", "size"))
        noise = noise_of(means["pool"].map(spread["spread"]), means["pool"].map(spread["df"]), means["seeds"])
        found.append(means.drop(columns="pool").assign(noise=EXACT.get(metric, noise)))
    return pd.concat(found[1:] or found, ignore_index=True)


def told_apart(own: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """For each run what tells its series apart from others with the same keys: the fields of the recipe that differ, if
    they are few, else a label. "" where there is no other; but a stage that the paper has nothing for is told."""
    told: dict[Any, str] = {}
    for _, its in own.drop_duplicates([*keys, "series"]).groupby(list(keys), sort=False):
        alone = its["stage"].where(its["model"] == its["backbone"], "") if "stage" in its else [""]
        names = list(alone) if len(its) == 1 else _differing(its)
        told |= dict(zip(map(tuple, its[[*keys, "series"]].to_numpy().tolist()), names, strict=True))
    return [told[tuple(row)] for row in own[[*keys, "series"]].to_numpy().tolist()]


def _differing(its: pd.DataFrame) -> list[str]:
    """Names for a run of each of several series, no two alike."""
    fields = [name for name in FIELDS if name not in UNNAMED and its[name].nunique() > 1]
    named = [" ".join(f"{name} {row[name] or 'none'}" for name in fields) for row in its[fields].to_dict("records")]
    if len(fields) <= FEW and len(set(named)) == len(named):
        return [name.removeprefix("stage ") for name in named]
    names = labels(its)
    common = set.intersection(*(set(name.split()) for name in names.values()))
    return [" ".join(word for word in names[group].split() if word not in common) for group in its["group"]]
