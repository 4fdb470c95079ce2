"""CSV runs: a table of runs from any other code, a row a run, as the frame that a results folder gives.

    patch,test_loss,backbone,seed
    16,1.113,vit_base,0
    8,0.931,vit_base,0

patch [px] and test_loss [nats] are needed. Runs are of one group where they agree in all of task, data, backbone, head,
image, stage, crop and data_version that the file has; within a group patch and seed name a run. Further columns that
are known: seed, status, tokens, parameters, flops_per_image [FLOPs], wall_time [s], classes, and the metrics of
analysis/records/run_set.py; tokens follow from image and patch. A row whose status is not one of DONE is a run that
failed. Cells are separated by commas, semicolons or tabs, as the header is (RFC 4180 otherwise); numbers have a decimal
point. What else was held fixed a file does not say: such runs do not stand beside the paper's numbers.
"""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.records.run_set import COLUMNS, TRAPS
from scaling.errors import ConfigError

NEEDED = ("patch", "test_loss")
GROUPED = ("task", "data", "backbone", "head", "image", "stage")
POSITIVE = ("patch", "test_loss", "image", "tokens", "parameters", "flops_per_image", "wall_time", "classes")
TEXT = {"task": "classify", "data": "csv", "backbone": "model", "head": "", "stage": ""}
WORDS = (*TEXT, "run_id", "group", "status", "failure")  # columns that are never numbers
DONE = ("finished", "success", "succeeded", "completed", "complete", "done", "ok")  # of wandb, mlflow, ray and others
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
GROUPED_DIGITS = re.compile(r"[+-]?\d[\d.,' _]*", re.ASCII)  # 1,113 or 1 113: of which nobody can say what it is


def load_csv(path: Path) -> pd.DataFrame:
    """The runs of a CSV file, columns as analysis.records.run_set.load has them, nan where the file says nothing; and
    family, the group without crop and data_version. Raises ConfigError, with the line of the file, for what cannot be a
    run."""
    table, line = _table(path)
    done = np.ones(len(table), bool)
    if "status" in table:
        told = table["status"]
        done = told.str.lower().isin(DONE).to_numpy()
        reason = table.get("failure", "")
        table["failure"] = np.where(done, "", np.where(reason == "", "status " + told.replace("", "empty"), reason))
        table["status"] = np.where(done, "finished", "failed")
    for name in table.columns:
        if name not in WORDS:
            table[name] = _numbers(table[name], path, line, done)
    frame = _as_runs(table.assign(line=line))
    _check_repeated(frame, path)
    frame = frame.drop(columns="line")
    frame.attrs["csv"] = str(path)
    return frame


def _table(path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """The cells as text, and the line of the file on which each row begins."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:  # Excel's begins with a byte order mark
            first = file.readline()
            separator = max(",;\t", key=first.count)
            file.seek(0)
            rows, lines, ended = [], [], 0
            reader = csv.reader(file, delimiter=separator, skipinitialspace=separator != "\t", strict=True)
            for cells in reader:
                begun, ended = ended + 1, reader.line_num
                if cells:  # an empty line is none
                    rows.append([cell.strip() for cell in cells])
                    lines.append(begun)
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as e:
        raise ConfigError(f"{path} is no CSV file of runs ({str(e).strip().splitlines()[-1]})") from e
    if not rows:
        raise ConfigError(f"{path} is no CSV file of runs (it is empty)")
    header = [" ".join(name.split()) for name in rows[0]]
    for name in header:
        if name and header.count(name) > 1:
            raise ConfigError(f"{path} has {header.count(name)} columns {name}; which one holds is not to be known")
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise ConfigError(f"{path} has no column {' and no column '.join(missing)}; it has: {', '.join(header)}")
    if len(rows) == 1:
        raise ConfigError(f"{path} holds no run; a row a run with {' and '.join(NEEDED)} is needed")
    for cells, begun in zip(rows[1:], lines[1:], strict=True):
        if len(cells) != len(header):
            raise ConfigError(f"{path}, line {begun}: {len(cells)} cells, and the header has {len(header)}")
    columns = {name: [row[n] for row in rows[1:]] for n, name in enumerate(header) if name}  # pandas writes one without
    return pd.DataFrame(columns, dtype=str), np.array(lines[1:])


def _numbers(cells: pd.Series, path: Path, line: np.ndarray, done: np.ndarray) -> pd.Series:
    """A column as numbers, empty cells as nan; text that is no number makes an unknown column stay text."""
    needed, positive = cells.name in NEEDED, cells.name in POSITIVE
    values = pd.Series([float(text) if NUMBER.fullmatch(text) else np.nan for text in cells], cells.index)
    bad = (cells != "") & values.isna() if not needed else ~np.isfinite(values)
    if bad.any() and not (positive or needed or cells.name in ("seed", *TRAPS)):
        return cells
    bad |= (positive & (values <= 0)) | np.isinf(values)
    if cells.name == "test_loss":  # of a run that failed it may be anything
        bad &= done
        values = values.where(done)
    for row in np.flatnonzero(bad)[:1]:
        text = " ".join(cells.iloc[row].split())[:40] or "nothing"
        more = "" if not GROUPED_DIGITS.fullmatch(text) or NUMBER.fullmatch(text) else ", as 1.113 or 1113"
        what = "a finite number above 0" if positive else "a finite number"
        raise ConfigError(f"{path}, line {line[row]}: {cells.name} is {text}; {what} is needed{more}")
    return values.astype(int) if (values % 1 == 0).all() and (values.abs() < 2**53).all() else values


def _check_repeated(frame: pd.DataFrame, path: Path) -> None:
    """Raise ConfigError where a run of a group that finished stands in two lines."""
    done = frame[frame["status"] == "finished"].sort_values("line")
    for _, its in done.groupby(["group", "patch", "seed"], sort=False, dropna=False):
        if len(its) > 1:
            patch, seed = its["patch"].iloc[0], its["seed"].iloc[0]
            raise ConfigError(
                f"{path}, line {its['line'].iloc[1]}: patch {patch:g} of {its['group'].iloc[0]} with seed {seed:g} is "
                f"in line {its['line'].iloc[0]} already; a column seed tells runs apart that were repeated"
            )


def _as_runs(table: pd.DataFrame) -> pd.DataFrame:
    defaults = TEXT | {"status": "finished"}
    frame = table.assign(**{name: default for name, default in defaults.items() if name not in table})
    frame = frame.assign(seed=frame.get("seed", 0), image=frame.get("image", np.nan))
    words = [frame[name].map(_word) for name in GROUPED]
    frame["family"] = ["-".join(filter(None, its)) for its in zip(*words, strict=True)]
    changed = [name + frame[name].map("{:g}".format) for name in TRAPS if name in table]
    frame["group"] = ["-".join(its) for its in zip(frame["family"], *changed, strict=True)]
    frame["run_id"] = frame["group"] + "-p" + frame["patch"].map(_word) + "-s" + frame["seed"].map(_word)
    if "tokens" not in table:
        frame["tokens"] = (frame["image"] / frame["patch"]) ** 2
    frame = frame.reindex(columns=list(dict.fromkeys([*COLUMNS, *frame.columns])))
    return frame.sort_values(["group", "patch", "seed"], ascending=[True, False, True], ignore_index=True)


def _word(value: object) -> str:
    """A cell as a word of a name; nothing where it is missing."""
    return "" if pd.isna(value) else f"{value:g}" if isinstance(value, float) else str(value)  # type: ignore[call-overload]
