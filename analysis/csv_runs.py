"""CSV runs: a table of runs from any other code, a row a run, as the frame that a results folder gives.

    patch,test_loss,backbone,seed
    16,1.113,vit_base,0
    8,0.931,vit_base,0

patch [px] and test_loss [nats] are needed. Runs are of one group where they agree in all of task, data, backbone, head,
image, stage, crop and data_version that the file has. Further columns that are known: seed, tokens, parameters,
flops_per_image [FLOPs], wall_time [s], classes, and the metrics of analysis/runs.py; tokens follow from image and
patch. What else was held fixed a file does not say: such runs do not stand beside the paper's numbers.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.runs import COLUMNS, TRAPS
from scaling.recipe import BadInput

NEEDED = ("patch", "test_loss")
GROUPED = ("task", "data", "backbone", "head", "image", "stage")
POSITIVE = ("patch", "test_loss", "image", "tokens", "parameters", "flops_per_image", "wall_time", "classes")
TEXT = {"task": "classify", "data": "csv", "backbone": "model", "head": "", "stage": ""}


def load_csv(path: Path) -> pd.DataFrame:
    """The runs of a CSV file, columns as analysis.runs.load has them, nan where the file says nothing; and family, the
    group without crop and data_version. Raises BadInput, with the line, for what cannot be a run."""
    try:
        table = pd.read_csv(path, skipinitialspace=True, dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, ValueError) as e:
        raise BadInput(f"{path} is no CSV file of runs ({str(e).strip().splitlines()[-1]})") from e
    missing = [name for name in NEEDED if name not in table]
    if missing:
        has = ", ".join(map(str, table.columns))
        raise BadInput(f"{path} has no column {' and no column '.join(missing)}; it has: {has}")
    if table.empty:
        raise BadInput(f"{path} holds no run; a row a run with {' and '.join(NEEDED)} is needed")
    for name in table.columns:
        if name not in TEXT and name not in ("run_id", "group", "status", "failure"):
            table[name] = _numbers(table[name], path, positive=name in POSITIVE)
    frame = _as_runs(table)
    frame.attrs["csv"] = str(path)
    return frame


def _numbers(cells: pd.Series, path: Path, positive: bool) -> pd.Series:
    """A column as numbers, empty cells as nan; text that is no number makes an unknown column stay text."""
    values = cells.map(_number).astype(float)  # pandas' own reading is off by a last bit before version 3
    needed = cells.name in NEEDED
    bad = (cells != "") & values.isna() if not needed else ~np.isfinite(values)
    if bad.any() and not (positive or needed):
        return cells
    bad |= positive & (values <= 0)
    for row in np.flatnonzero(bad)[:1]:
        text = cells.iloc[row] or "nothing"
        raise BadInput(f"{path}, line {row + 2}: {cells.name} is {text}; a finite number above 0 is needed")
    return values.astype(int) if (values % 1 == 0).all() and (values.abs() < 2**53).all() else values


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _as_runs(table: pd.DataFrame) -> pd.DataFrame:
    frame = table.assign(**{name: default for name, default in TEXT.items() if name not in table}, status="finished")
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
