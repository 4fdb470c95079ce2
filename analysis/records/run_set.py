"""Run sets: the runs of a results folder as tidy frames. Never raises for a run that is in progress or damaged."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.records.drawn_patches import costs_there
from analysis.records.group_labels import labels
from analysis.records.run_frame import COLUMNS, FACTS, METRICS, finished
from analysis.records.seedless import Seedless
from analysis.records.training_length import keys_of_any_length
from analysis.records.uncollected import uncollected
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.identity import groups, is_open
from scaling.config.task import Classification
from scaling.errors import ConfigError
from scaling.runs.config_file import CONFIG, config_path, read_config, stored_id
from scaling.runs.record import RECORD, RunRecord

OWN = "own"
EVALUATION = ["run_id", "group", "patch", "seed", "patch_size", "img_size", "weights", "split", "test_loss"]


class LeftOut(NamedTuple):
    """A run folder without a usable record."""

    folder: str  # its name
    group: str  # "" where its recipe cannot be read
    reason: str  # what is wrong with the record, in one line; "" where there is none yet


@dataclass(frozen=True, eq=False)
class RunSet:
    """The runs of one results folder or CSV file.

    frame: a row per run (columns of `load`), with the loss and metrics of its reported evaluation. Laws, tests between
        seeds and tables take this frame, so that further evaluations of a run never count as independent runs.
    evaluations: a row per evaluation: run_id, group, patch and seed of the run; patch_size, img_size [px], weights
        ("raw" or "ema"), split, test_loss [nats] and the metrics [%] of the evaluation; of runs that drew their patches
        also tokens, flops_per_image and learned, whether the patch was drawn and the weights are the reported ones.
    unfinished: folders with a recipe and no record yet.  corrupt: folders whose record cannot be used.
    source: "own", or the CSV file.
    Raises ValueError where a finished run has several rows in frame."""

    frame: pd.DataFrame
    evaluations: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=EVALUATION), repr=False)
    unfinished: tuple[LeftOut, ...] = ()
    corrupt: tuple[LeftOut, ...] = ()
    source: str = OWN

    def __post_init__(self) -> None:
        if "run_id" in self.frame:
            ids = self.finished["run_id"]
            if ids.duplicated().any():
                raise ValueError(
                    f"run {ids[ids.duplicated()].iloc[0]} has several rows; further evaluations belong in `evaluations`"
                )

    @property
    def finished(self) -> pd.DataFrame:
        """The rows of runs that finished, which have a test loss."""
        return finished(self.frame)

    @property
    def from_csv(self) -> bool:
        return self.source != OWN

    def labels(self) -> dict[str, str]:
        """A short name for every group of runs that finished: group -> name (analysis/records/group_labels.py)."""
        return labels(self.finished)

    def select(self, rows: pd.Series) -> "RunSet":
        """The runs of some rows (a boolean per row of frame), with what was left out of the folder."""
        frame = self.frame[rows]
        known = self.evaluations["run_id"].isin(frame["run_id"])
        return dataclasses.replace(self, frame=frame, evaluations=self.evaluations[known])


@uncollected()
def load(results: str | Path) -> RunSet:
    """All runs of a results folder that ended: load("results").frame is a row per run, sorted by group, patch from
    coarse to fine, seed; load("results").evaluations a row per evaluation of each run.

    Columns of frame: run_id, group (runs of one group differ in patch and seed only), family (also in crop and
    data_version), any_length (in patch, seed and length of training only), status ("finished" or "failed"), every field
    of the recipe, tokens, parameters, flops_per_image [FLOPs], teacher_flops_per_image [FLOPs] (0: no teacher),
    test_loss [nats], the headline metric of every task (top1, miou ...; nan for other tasks) and top5 [%],
    images_per_second, peak_memory [bytes], wall_time [s], failure (reason, "" for finished runs), folder, then the
    other metrics, version_* and machine_*.
    Runs without fingerprints of their data have the group of the same runs with them (scaling/config/identity.py). A
    renamed folder counts, a copy does not.
    Raises ConfigError where there is no such folder, or no run in it."""
    folder = Path(results)
    make_one = f"`make sweep RESULTS={folder}` makes one"
    if not folder.exists():
        raise ConfigError(f"no results folder {folder}; {make_one}")
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file, not a results folder; {make_one}")
    found = _read(folder)
    if not (found.records or found.unfinished or found.corrupt):
        raise ConfigError(f"{folder} holds no run (a folder with {RECORD}); {make_one}")
    others = {name: _config(folder / name) for name in (*found.unfinished, *found.corrupt)}
    known = {name: config for name, config in others.items() if config is not None}
    recorded = [(record.experiment(), record.config) for record in found.records.values()]
    seedless = Seedless([*recorded, *((config, config.to_dict()) for config in known.values())])
    grouped, families = seedless.keys(groups), seedless.keys(lambda its: groups([_plain(config) for config in its]))
    lengths = seedless.keys(lambda its: keys_of_any_length(its, groups))
    digests = _digests(seedless.recipes, grouped)
    rows: list[dict[str, object]] = []
    evaluations: list[dict[str, object]] = []
    for (run, record), recipe, *keys in zip(
        found.records.items(), seedless.recipes, grouped, families, lengths, strict=False
    ):
        named = dict(zip(("group", "family", "any_length"), keys, strict=True))
        fields = {**seedless.fields(recipe), "seed": recipe.seed}
        one: dict[str, object] = {**row(record, run, fields), **digests.get(named["group"], {}), **named}
        rows.append(one)
        evaluations += [{**{name: one[name] for name in EVALUATION[:4]}, **its} for its in _evaluations(record, recipe)]
    frame = pd.DataFrame(rows, columns=_columns(rows, COLUMNS))
    frame = frame.sort_values(["group", "patch", "seed"], ascending=[True, False, True], ignore_index=True)
    group_of = dict(zip(known, grouped[len(rows) :], strict=True))
    return RunSet(
        frame,
        pd.DataFrame(evaluations, columns=_columns(evaluations, EVALUATION)),
        unfinished=tuple(LeftOut(name, group_of.get(name, ""), "") for name in found.unfinished),
        corrupt=tuple(LeftOut(name, group_of.get(name, ""), why) for name, why in found.corrupt.items()),
    )


class Folders(NamedTuple):
    """Contents of the folders of a results folder."""

    records: dict[Path, RunRecord]
    unfinished: list[str]  # names of folders with a recipe and no record yet
    corrupt: dict[str, str]  # name of a folder -> why its record cannot be used, in one line


def _read(folder: Path) -> Folders:
    found = Folders({}, [], {})
    for run in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            found.records[run] = RunRecord.load(run)
        except FileNotFoundError:
            if config_path(run) is not None:
                found.unfinished.append(run.name)
        except ConfigError as e:
            found.corrupt[run.name] = str(e)
    for run in list(found.records):
        if why := _misplaced(run, found.records):
            found.corrupt[run.name] = why
            del found.records[run]
    return found


def _digests(recipes: Sequence[ExperimentConfig], grouped: Sequence[str]) -> dict[str, dict[str, str]]:
    """The fingerprints of data and weights by group, where some run of the group has them."""
    return {
        group: {"data_digest": config.data.data_digest or "", "weights_digest": config.weights_digest or ""}
        for config, group in zip(recipes, grouped, strict=True)
        if not is_open(config)
    }


def _evaluations(record: RunRecord, config: ExperimentConfig) -> list[dict[str, object]]:
    """The evaluations of a record with metrics as columns."""
    return [
        {
            **its["metrics"],
            **{name: dict(its)[name] for name in EVALUATION[4:]},
            **costs_there(config, its["patch_size"], its["img_size"], its["weights"]),
        }
        for its in record.evaluations
    ]


def _plain(config: ExperimentConfig) -> ExperimentConfig:
    """The recipe with TRAPS at their defaults, whose group is the family."""
    plain = edit(config, data_version=None)
    return edit(plain, crop_pct=1.0) if isinstance(plain.task, Classification) else plain


def _config(run: Path) -> ExperimentConfig | None:
    """The configuration in a folder that has no record; None where it cannot be read."""
    path = config_path(run)
    try:
        return read_config(path) if path is not None else None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def _misplaced(run: Path, records: dict[Path, RunRecord]) -> str:
    """Why a record is not counted, if it is not: it is a copy, or belongs to another recipe."""
    record, own = records[run], run.with_name(records[run].run_id)
    if run == own:
        return ""
    twins = [other for other in records if records[other].run_id == record.run_id]
    if own in records or run != twins[0]:  # counted twice in a fit
        original = own if own in records else twins[0]
        return f"{run / RECORD} is the record of {record.run_id}, a copy of that in {original.name}: left out"
    if stored_id(run / CONFIG) not in ("", record.run_id):
        return f"{run / RECORD} is the record of {record.run_id}, and its recipe is another's: left out"
    return ""


def row(record: RunRecord, run: Path, fields: dict[str, object]) -> dict[str, object]:
    """A record as a row, without group, family and any_length, which are of sets of runs. fields: of its recipe."""
    facts = {name: getattr(record, name) for name in [*FACTS, "wall_time"] if hasattr(record, name)}
    known = {
        "run_id": record.run_id,
        "status": record.status,
        **fields,
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


def _columns(rows: list[dict[str, object]], first: Sequence[str]) -> list[str]:
    """The columns `first`, then further ones that some row has."""
    return list(dict.fromkeys([*first, *(name for one in rows for name in one)]))
