"""Runs: a results folder as one tidy frame, a row a run. Never raises for a run that is under way or damaged."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import ConfigError
from scaling.recipe import Recipe
from scaling.recipe_identity import groups, is_open
from scaling.runs.record import HEADLINES, RECIPE, RECORD, RunRecord

FIELDS = [f.name for f in dataclasses.fields(Recipe)]
METRICS = [*(metric for metric, _ in HEADLINES.values()), "top5"]  # columns of any frame, nan where a task has it not
FACTS = ["tokens", "parameters", "flops_per_image", "test_loss", *METRICS, "images_per_second", "peak_memory"]
ENDINGS = ["wall_time", "failure", "started", "ended", "git_commit", "folder"]
TRAPS = ("crop", "data_version")  # fields of a recipe that may change in the middle of a sweep unseen
UNTOLD = ("patch", "seed", "start", "data_root", "data_digest", "weights_digest")  # fields that name no group
COLUMNS = ["run_id", "group", "family", "status", *FIELDS, *FACTS, *ENDINGS]


def load(results: str | Path) -> pd.DataFrame:
    """All runs of a results folder that ended, sorted by group, patch from coarse to fine, seed.

    Columns: run_id, group (runs of one group differ in patch and seed only), family (in crop and data_version too),
    status ("finished" or "failed"), every field of the recipe, tokens, parameters, flops_per_image [FLOPs], test_loss
    [nats], the headline metric of every task (top1, miou ...; nan for the runs of others) and top5 [%],
    images_per_second, peak_memory [bytes], wall_time [s], failure (why a failed run failed, else ""), folder, and
    behind them the other metrics, version_* and machine_*.
    The groups of runs that code from before there were fingerprints has made are those of the same runs made since
    (scaling/recipe_identity.py). A folder of another name than its run's counts, unless it is a copy.
    attrs["unfinished"]: names of the folders with a recipe and no record yet (under way, or cut off).
    attrs["corrupt"]: name of the folder -> what is wrong with its record, in a line.
    attrs["groups"]: name of such a folder -> its group, where its recipe.json can be read.
    Raises ConfigError where there is no such folder, or no run in it."""
    folder = Path(results)
    make_one = f"`make sweep RESULTS={folder}` makes one"
    if not folder.exists():
        raise ConfigError(f"no results folder {folder}; {make_one}")
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file, not a results folder; {make_one}")
    records: dict[Path, RunRecord] = {}
    unfinished: list[str] = []
    corrupt: dict[str, str] = {}
    for run in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            records[run] = RunRecord.load(run)
        except FileNotFoundError:
            if (run / RECIPE).exists():
                unfinished.append(run.name)
        except ConfigError as e:
            corrupt[run.name] = str(e)
    for run in list(records):
        if why := _not_its_own(run, records):
            corrupt[run.name] = why
            del records[run]
    others = {name: recipe for name in (*unfinished, *corrupt) if (recipe := _recipe(folder / name)) is not None}
    recipes = [*(Recipe.from_dict(record.recipe) for record in records.values()), *others.values()]
    grouped, families = groups(recipes), groups([_plain(recipe) for recipe in recipes])
    digests = {
        group: {"data_digest": recipe.data_digest, "weights_digest": recipe.weights_digest}
        for recipe, group in zip(recipes, grouped, strict=True)
        if not is_open(recipe)
    }
    rows = [
        {**row(record, run), **digests.get(group, {}), "group": group, "family": family}
        for (run, record), group, family in zip(records.items(), grouped, families, strict=False)
    ]
    if not (rows or unfinished or corrupt):
        raise ConfigError(f"{folder} holds no run (a folder with {RECORD}); {make_one}")
    frame = pd.DataFrame(rows, columns=_columns(rows))
    frame = frame.sort_values(["group", "patch", "seed"], ascending=[True, False, True], ignore_index=True)
    frame.attrs["unfinished"] = unfinished
    frame.attrs["corrupt"] = corrupt
    frame.attrs["groups"] = dict(zip(others, grouped[len(rows) :], strict=True))
    return frame


def finished(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of runs that finished, which have a test loss."""
    return frame[frame["status"] == "finished"]


def above_zero(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows whose test loss has a logarithm, or that have no loss: all but saturated toys."""
    return frame[~(frame["test_loss"] <= 0)]


def seed_study(group: str) -> pd.DataFrame:
    """Runs of a group at several seeds that are shipped with the code, so that one's own single runs have a spread to
    be held against. Columns: group, backbone, patch, seed, test_loss [nats], measured (date), machine. No rows where
    the group is not in it: another recipe, in whatever way, has another spread."""
    study = pd.read_csv(Path(__file__).parents[1] / "measured" / "seeds.csv")
    return study[study["group"] == group]


def headlines(frame: pd.DataFrame) -> dict[str, str]:
    """The first metrics of the tasks in a frame that some run has: column -> name, as {"top1": "top-1"}."""
    return {metric: name for metric, name in HEADLINES.values() if metric in frame and frame[metric].notna().any()}


def labels(frame: pd.DataFrame) -> dict[str, str]:
    """A short name for every group: the backbone, and the task where there are several; where that tells more of them
    apart the head, else data, image and stage, else all of these; behind it the fields in which groups of one name
    differ, as "lr 0.001"; the hash where they differ in none, but in what they start from or in the content of files. A
    head is named where a task has several."""
    groups = frame.drop_duplicates("group")
    nothing = pd.Series("", groups.index)
    columns = (groups.get(name, nothing).map(_text) for name in ("task", "head", "stage", "data", "image", "backbone"))
    task, head, stage, data, image, backbone = columns
    task = task if task.nunique() > 1 else nothing
    head = head.where(head.groupby(task).transform("nunique") > 1, "")
    sized = data + " " + image.where(image == "", image + " px ") + stage
    of = backbone + " " + task
    forms = [of, of + " " + head, of + " " + sized, of + " " + head + " " + sized]
    names = next(form for form in forms if form.nunique() == forms[-1].nunique())
    for index in groups.groupby(names).groups.values():
        if len(index) > 1:
            names[index] += _differences(groups.loc[index])
    shared = names.duplicated(keep=False)
    names[shared] += " " + groups["group"].str.rsplit("-", n=1).str[-1]
    return dict(zip(groups["group"], names.str.split().str.join(" "), strict=True))


def _differences(groups: pd.DataFrame) -> pd.Series:
    """For rows of different groups the fields of recipes in which they differ, and their values: all such fields up to
    three, else as few as tell the rows apart as well."""
    texts = {
        name: groups[name].map(_text).replace("", "none") for name in FIELDS if name in groups and name not in UNTOLD
    }
    differ = {name: f"{name} " + text for name, text in texts.items() if text.nunique() > 1}
    told = pd.Series("", groups.index)
    few = len(differ) <= 3
    while differ:
        best = max(differ, key=lambda name: 0 if few else (told + differ[name]).nunique())
        if not few and (told + differ[best]).nunique() == told.nunique():
            break
        told += np.where(told == "", " ", ", ") + differ.pop(best)
    return told


def _text(value: Any) -> str:
    """A field's value; nothing where it is not known, as of runs of other code."""
    return "" if pd.isna(value) else f"{value:g}" if isinstance(value, float) else str(value)


def _plain(recipe: Recipe) -> Recipe:
    """The recipe with the traps at their defaults: by it a family is told."""
    plain: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Recipe) if field.name in TRAPS}
    return dataclasses.replace(recipe, **plain)


def _recipe(run: Path) -> Recipe | None:
    """What a folder's recipe.json says."""
    try:
        return Recipe.from_dict(json.loads((run / RECIPE).read_text()))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def _not_its_own(run: Path, records: dict[Path, RunRecord]) -> str:
    """Why a record is not counted: it is a copy, or another recipe's. A folder may have been renamed."""
    record, own = records[run], run.with_name(records[run].run_id)
    if run == own:
        return ""
    twins = [other for other in records if records[other].run_id == record.run_id]
    if own in records or run != twins[0]:  # counted twice in a fit
        original = own if own in records else twins[0]
        return f"{run / RECORD} is the record of {record.run_id}, a copy of that in {original.name}: left out"
    if Recipe.from_dict(record.recipe).run_id != record.run_id:
        return f"{run / RECORD} is the record of {record.run_id}, and its recipe is another's: left out"
    return ""


def row(record: RunRecord, run: Path) -> dict[str, Any]:
    """A record as a row."""
    facts = {name: getattr(record, name) for name in [*FACTS, "wall_time"] if hasattr(record, name)}
    known = {
        "run_id": record.run_id,
        "group": record.group,
        "family": _plain(Recipe.from_dict(record.recipe)).group,
        "status": record.status,
        **Recipe.from_dict(record.recipe).to_dict(),
        **{name: math.nan if value is None else value for name, value in facts.items()},
        "failure": "" if record.status == "finished" else str(record.failure.get("reason", "no reason recorded")),
        "started": record.started,
        "ended": record.ended,
        "git_commit": record.git_commit,
        "folder": str(run),
    }
    return {
        **{**dict.fromkeys(METRICS, math.nan), **record.metrics},
        **{f"version_{name}": value for name, value in record.versions.items()},
        **{f"machine_{name}": value for name, value in record.machine.items()},
        **known,
    }


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """The columns that are always there, then what some run has besides."""
    return list(dict.fromkeys([*COLUMNS, *(name for one in rows for name in one)]))
