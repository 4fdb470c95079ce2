"""Comparison of own runs with the published numbers, and of their differences with seed noise.

A run is compared with a published number only if it replicates the paper's setting: model, all of the data, image size,
all stages. Its hyperparameters (learning rate, epochs) may differ. Any other run is a row of a table under the name of
its backbone, without a published number.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import cast

import numpy as np
import pandas as pd

from analysis.records import published as published_data
from analysis.records.group_labels import labels
from analysis.records.published import CROP, DECODERS, LONG_SIDE, SHORT_SIDE, model_of
from analysis.records.run_frame import COLUMNS, FIELDS, Row, finished
from analysis.records.seed_noise import exceeds_noise, noise_of, seed_spread
from scaling.config.identity import is_public

# Models with further stages beyond 64 px (Tables 9 and 10; Tiny's are Small's).
LATER_STAGES = ("adventurer_tiny", "adventurer_small", "adventurer_base", "adventurer_large")
UNNAMED = ("patch", "seed", "start", "data_digest", "weights_digest")  # fields that are not part of a label
# Deterministic metrics -> their noise. Parameters are printed in whole millions, rounded or truncated (5.7 as 5), so
# differences below one are not meaningful.
EXACT = {"parameters": 1.0}
FEW = 2  # largest number of recipe fields in a label
FOUND = ["published", "own", "seeds", "difference", "noise", "mark", "group"]


def paper_model(run: Row) -> str:
    """The paper's name of the run's model, "Adventurer-Base", if the run replicates the paper's setting; else "".

    run: a row of a run frame, or its dictionary. The paper may have other image or patch sizes only."""
    rule = {"classify": _classified, "segment": _segmented, "detect": _detected}[run["task"]]
    part = run["train_images"] or run["test_images"] or run.get("val_split", 0)
    whole = not part  # a part of ImageNet is another data set
    return model_of(run["backbone"]) if whole and rule(run) else ""


def _classified(run: Row) -> bool:
    """On ImageNet-1k, through all stages. Table 5 extends from patches of 16 px."""
    chain = run["image"] > 64 and run["backbone"] in LATER_STAGES
    # The first or only stage starts from scratch in the paper.
    done = run["stage"] == "finetune" if chain else run["stage"] in ("", "pretrain") and not _started(run)
    return run["data"] == "imagenet" and done and run["extend"] in (0, 16)


def _segmented(run: Row) -> bool:
    """On ADE20K, in crops of 512 px, with a pretrained backbone."""
    return run["data"] == "ade20k" and run["image"] == CROP and not run["extend"] and _started(run)


def _detected(run: Row) -> bool:
    """On COCO, images with a short side of 800 px, with a pretrained backbone."""
    sides = (run["short_side"], run["long_side"], run["augment"]) == (SHORT_SIDE, LONG_SIDE, "flip")
    return run["data"] == "coco" and sides and not run["extend"] and _started(run)


def _started(run: Row) -> bool:
    return bool(run["start"] or run["weights"])


def published(run: Row) -> float:
    """The published headline metric for such a run [%]; nan where there is none. run: a row of a run frame."""
    return {"classify": published_top1, "segment": published_miou, "detect": published_ap}[run["task"]](run)


def published_top1(run: Row) -> float:
    """The published top-1 accuracy for such a run (Tables 5, 1, 4) [%]; nan where there is none. The paper prints the
    accuracy after all stages: a pretraining alone has none."""
    if not run["extend"]:
        return _looked_up(published_data.top1_cells(), run, input_px=run["image"])
    return _looked_up(published_data.table5_cells(), run, input_px=run["image"], way="by extending")


def published_miou(run: Row) -> float:
    """The published mIoU for such a run (Table 2) [%]; nan where there is none. The paper has crops of 512 px and
    backbones pretrained on ImageNet."""
    return _looked_up(published_data.table2_cells(), run, decoder=DECODERS[run["head"]], metric="mIoU")


def published_ap(run: Row, metric: str = "box AP") -> float:
    """The published AP for such a run (Table 3) [%]; nan where there is none. The paper has images of 800 x 1333 px and
    backbones pretrained on ImageNet. metric: of AP_METRICS."""
    return _looked_up(published_data.table3_cells(), run, metric=metric)


def _looked_up(cells: pd.DataFrame, run: Row, **keys: str | float) -> float:
    wanted = {"model": paper_model(run), "patch": run["patch"], **keys}
    found = cells[np.logical_and.reduce([cells[name] == value for name, value in wanted.items()])]
    return float(found["published"].iloc[0]) if len(found) else float("nan")


def series(run: Mapping[Hashable, object], *ignoring: str) -> str:
    """A key that is equal for runs that differ only in patch, seed and these fields, in all of their stages. Without
    fields it distinguishes as much as the group; paths of data and weights are not part of it."""
    return json.dumps(_without({name: run[name] for name in FIELDS}, {"patch", "seed", *ignoring}), sort_keys=True)


def _without(config: dict[str, object], names: set[str]) -> dict[str, object]:
    kept = {name: value for name, value in config.items() if name not in names}
    if is_public(cast(str, kept["data"])) or kept.get("data_digest"):
        kept["data_root"] = ""
    if kept.get("weights_digest"):
        kept["weights"] = ""
    if start := cast(str, kept.get("start")):
        kept["start"] = _without(json.loads(start), names)
    return kept


def own_runs(runs: pd.DataFrame | None, task: str, *ignoring: str) -> pd.DataFrame:
    """The finished runs of a task with the keys of a table.

    runs: of a RunSet; None: no runs.  Returns its columns and model (the paper's name where the run replicates the
    paper's setting, else the backbone), input_px (image size, in detection the short side) [px] and series: the group,
    or with fields to ignore the key of `series`."""
    if runs is None:
        return pd.DataFrame(columns=[*COLUMNS, "model", "input_px", "series"])
    done = finished(runs)
    done = done[done["task"] == task]
    rows = done.to_dict("records")
    names = [paper_model(cast(Row, run)) or str(run["backbone"]) for run in rows]
    alike = [series(run, *ignoring) if ignoring else str(run["group"]) for run in rows]
    sides = done["short_side"].where(done["short_side"] > 0, done["image"]) if task == "detect" else done["image"]
    keys = {"model": pd.Series(names, done.index, dtype=object), "series": pd.Series(alike, done.index, dtype=object)}
    return done.assign(input_px=sides, **keys)


def unextended(runs: pd.DataFrame | None) -> pd.DataFrame:
    """own_runs of classification without extended sequences."""
    own = own_runs(runs, "classify")
    return own[own["extend"] == 0]


def printed_in(own: pd.DataFrame, cells: pd.DataFrame) -> np.ndarray:
    """Mask of the rows of own whose model and image size are in cells, at any patch size."""
    at = ["model", "input_px"]
    return pd.MultiIndex.from_frame(own[at]).isin(pd.MultiIndex.from_frame(cells[at]))


def own_top1(runs: pd.DataFrame | None, cells: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """unextended runs for a table that prints cells: all but those whose model and image size only `others` print."""
    own = unextended(runs)
    return own[printed_in(own, cells) | ~printed_in(own, others)]


def join_with_published(
    cells: pd.DataFrame, own: pd.DataFrame, keys: Sequence[str], metrics: Mapping[str, tuple[str, str]]
) -> pd.DataFrame:
    """Published cells and own runs as one tidy frame, a row per number (an outer join).

    cells: columns keys, patch, metric, unit, published.  own: a row per run, of own_runs, with keys.  keys: columns
    that identify a row of the printed table.  metrics: columns of own -> metric and unit. Returns keys; label
    (distinguishes several own series with the same keys, for each of which the published numbers are repeated; else
    ""); patch, metric, unit; published; own (mean over seeds); seeds (number of runs); difference (own - published);
    noise (half width of the 95 % interval of such a difference under seed noise alone; nan where no patch size has two
    seeds); mark ("*": the difference exceeds the noise, "?": the noise is unknown); group ("" without runs).  nan:
    missing."""
    return join(cells, means_of(own, keys, metrics), keys)


def join(cells: pd.DataFrame, means: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The same as join_with_published, from the means of means_of."""
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
    beyond = exceeds_noise(both["difference"], both["noise"].astype(float))
    both["mark"] = np.select([there & ~known, there & beyond], ["?", "*"], "")
    return in_order(both[[*keys, "label", *of, *FOUND]], cells, [*keys, "label", "metric"])


def in_order(frame: pd.DataFrame, like: pd.DataFrame, keys: Sequence[str], last: str = "patch") -> pd.DataFrame:
    """frame sorted by keys, each in the order of its first appearance in `like`, then in frame, numbers ascending; then
    by `last` in descending order."""
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
    and label. Arguments and columns: of join_with_published."""
    of = [*keys, "series", "label", "patch", "metric", "unit"]
    own = own.assign(label=series_labels(own, keys))
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


def series_labels(own: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """A label for each run that distinguishes its series from others with the same keys: the recipe fields that differ,
    if few, else words of group labels. "" for a single series, except for a stage without a published number."""
    label_of: dict[tuple[object, ...], str] = {}
    for _, its in own.drop_duplicates([*keys, "series"]).groupby(list(keys), sort=False):
        alone = its["stage"].where(its["model"] == its["backbone"], "") if "stage" in its else [""]
        names = list(alone) if len(its) == 1 else _differing(its)
        label_of |= dict(zip(map(tuple, its[[*keys, "series"]].to_numpy().tolist()), names, strict=True))
    return [label_of[tuple(row)] for row in own[[*keys, "series"]].to_numpy().tolist()]


def _differing(its: pd.DataFrame) -> list[str]:
    """Distinct names for a run of each of several series."""
    fields = [name for name in FIELDS if name not in UNNAMED and its[name].nunique() > 1]
    named = [" ".join(f"{name} {row[name] or 'none'}" for name in fields) for row in its[fields].to_dict("records")]
    if len(fields) <= FEW and len(set(named)) == len(named):
        return [name.removeprefix("stage ") for name in named]
    names = labels(its)
    common = set.intersection(*(set(name.split()) for name in names.values()))
    return [" ".join(word for word in names[group].split() if word not in common) for group in its["group"]]
