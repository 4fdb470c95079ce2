"""CSV import: a table of runs from any other code, a row per run, as a RunSet.

    patch,test_loss,backbone,seed
    16,1.113,vit_base,0
    8,0.931,vit_base,0

patch [px] and test_loss [nats] are required. Runs belong to one group where they agree in task, data, backbone, head,
image, stage, images (that the run has seen), crop and data_version, as far as the file has these columns; within a
group patch and seed identify a run. Runs of several numbers of images have a law of these (fit_laws.py --axes).
Other known columns: standard_error of test_loss [nats] (of a rounded or digitised value, or of a mean; in every row; it
weighs the points of laws), seed, status, tokens, parameters, flops_per_image [FLOPs], wall_time [s], classes, and the
metrics of analysis/records/run_frame.py; tokens default to (image / patch)^2. A row whose status is not one of DONE is
a failed run. Separators are commas, semicolons or tabs, as in the header (RFC 4180 otherwise); the decimal separator is
a point.
The other settings of such runs are unknown, so they are not compared with the paper's numbers.
"""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.records.run_frame import COLUMNS, TRAPS
from analysis.records.run_set import RunSet
from scaling.errors import ConfigError

NEEDED = ("patch", "test_loss")
GROUPED = ("task", "data", "backbone", "head", "image", "stage")
MEASURED = ("test_loss", "standard_error")  # every finished run has them, where the file does
POSITIVE = ("patch", *MEASURED, "image", "images", "tokens", "parameters", "flops_per_image", "wall_time", "classes")
TEXT = {"task": "classify", "data": "csv", "backbone": "model", "head": "", "stage": ""}
WORDS = (*TEXT, "run_id", "group", "status", "failure")  # text columns
DONE = ("finished", "success", "succeeded", "completed", "complete", "done", "ok")  # of wandb, mlflow, ray and others
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
GROUPED_DIGITS = re.compile(r"[+-]?\d[\d.,' _]*", re.ASCII)  # 1,113 or 1 113: ambiguous


def load_csv(path: str | Path) -> RunSet:
    """The runs of a CSV file, with the columns of analysis.records.run_set.load, nan where it has no value. Raises
    ConfigError, with the line of the file, for rows that are not valid runs."""
    path = Path(path)
    table, line = _table(path)
    done = np.ones(len(table), bool)
    if "status" in table:
        status = table["status"]
        done = status.str.lower().isin(DONE).to_numpy()
        reason = table.get("failure", "")
        table["failure"] = np.where(done, "", np.where(reason == "", "status " + status.replace("", "empty"), reason))
        table["status"] = np.where(done, "finished", "failed")
    for name in table.columns:
        if name not in WORDS:
            table[name] = _numbers(table[name], path, line, done)
    frame = _as_runs(table.assign(line=line))
    _check_repeated(frame, path)
    return RunSet(frame.drop(columns="line"), source=str(path))


def _table(path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """The cells as text, and the line of the file at which each row begins."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:  # Excel writes a byte order mark
            first = file.readline()
            separator = max(",;\t", key=first.count)
            file.seek(0)
            rows, lines, ended = [], [], 0
            reader = csv.reader(file, delimiter=separator, skipinitialspace=separator != "\t", strict=True)
            for cells in reader:
                begun, ended = ended + 1, reader.line_num
                if cells:  # not an empty line
                    rows.append([cell.strip() for cell in cells])
                    lines.append(begun)
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as e:
        raise ConfigError(f"{path} is not a CSV file of runs ({str(e).strip().splitlines()[-1]})") from e
    if not rows:
        raise ConfigError(f"{path} is not a CSV file of runs (it is empty)")
    header = [" ".join(name.split()) for name in rows[0]]
    for name in header:
        if name and header.count(name) > 1:
            raise ConfigError(f"{path} has {header.count(name)} columns {name}; keep one of them")
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise ConfigError(f"{path} has no column {' and no column '.join(missing)}; it has: {', '.join(header)}")
    if len(rows) == 1:
        raise ConfigError(f"{path} holds no run; it needs a row per run with {' and '.join(NEEDED)}")
    for cells, begun in zip(rows[1:], lines[1:], strict=True):
        if len(cells) != len(header):
            raise ConfigError(f"{path}, line {begun}: {len(cells)} cells, but the header has {len(header)}")
    columns = {
        name: [row[n] for row in rows[1:]] for n, name in enumerate(header) if name
    }  # pandas writes an unnamed index column
    return pd.DataFrame(columns, dtype=str), np.array(lines[1:])


def _numbers(cells: pd.Series, path: Path, line: np.ndarray, done: np.ndarray) -> pd.Series:
    """A column as numbers, empty cells as nan; an unknown column with other text stays text."""
    needed, positive = cells.name in (*NEEDED, *MEASURED), cells.name in POSITIVE
    values = pd.Series([float(text) if NUMBER.fullmatch(text) else np.nan for text in cells], cells.index)
    bad = (cells != "") & values.isna() if not needed else ~np.isfinite(values)
    if bad.any() and not (positive or needed or cells.name in ("seed", *TRAPS)):
        return cells
    bad |= (positive & (values <= 0)) | np.isinf(values)
    if cells.name in MEASURED:  # for a failed run it may be anything
        bad &= done
        values = values.where(done)
    for row in np.flatnonzero(bad)[:1]:
        text = " ".join(cells.iloc[row].split())[:40] or "nothing"
        more = "" if not GROUPED_DIGITS.fullmatch(text) or NUMBER.fullmatch(text) else ", as 1.113 or 1113"
        what = "a finite number above 0" if positive else "a finite number"
        raise ConfigError(f"{path}, line {line[row]}: {cells.name} is {text}; {what} is needed{more}")
    return values.astype(int) if (values % 1 == 0).all() and (values.abs() < 2**53).all() else values


def _check_repeated(frame: pd.DataFrame, path: Path) -> None:
    """Raise ConfigError where two lines hold the same finished run."""
    done = frame[frame["status"] == "finished"].sort_values("line")
    for _, its in done.groupby(["group", "patch", "seed"], sort=False, dropna=False):
        if len(its) > 1:
            patch, seed = its["patch"].iloc[0], its["seed"].iloc[0]
            raise ConfigError(
                f"{path}, line {its['line'].iloc[1]}: patch {patch:g} of {its['group'].iloc[0]} with seed {seed:g} is "
                f"in line {its['line'].iloc[0]} already; a column `seed` distinguishes repeated runs"
            )


def _as_runs(table: pd.DataFrame) -> pd.DataFrame:
    defaults = TEXT | {"status": "finished"}
    frame = table.assign(**{name: default for name, default in defaults.items() if name not in table})
    frame = frame.assign(seed=frame.get("seed", 0), image=frame.get("image", np.nan))
    words = [frame[name].map(_word) for name in GROUPED]
    names = ["-".join(filter(None, its)) for its in zip(*words, strict=True)]
    changed = [name + frame[name].map("{:g}".format) for name in TRAPS if name in table]
    frame["any_length"] = ["-".join(its) for its in zip(names, *changed, strict=True)]
    frame["family"] = names
    if "images" in table:
        frame["family"] += "-images" + frame["images"].map(_word)
    frame["group"] = ["-".join(its) for its in zip(frame["family"], *changed, strict=True)]
    frame["run_id"] = frame["group"] + "-p" + frame["patch"].map(_word) + "-s" + frame["seed"].map(_word)
    if "tokens" not in table:
        frame["tokens"] = (frame["image"] / frame["patch"]) ** 2
    frame = frame.reindex(columns=list(dict.fromkeys([*COLUMNS, *frame.columns])))
    return frame.sort_values(["group", "patch", "seed"], ascending=[True, False, True], ignore_index=True)


def _word(value: object) -> str:
    """A cell as part of a name; empty where it is missing."""
    return "" if pd.isna(value) else f"{value:g}" if isinstance(value, float) else str(value)  # type: ignore[call-overload]
