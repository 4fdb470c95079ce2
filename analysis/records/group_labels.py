"""Group labels: a short name for every group of runs, made of the columns in which groups differ."""

import numpy as np
import pandas as pd

from analysis.records.run_frame import EMBEDDING, FIELDS, PATCHES, SIZES

UNNAMED = ("patch", "seed", "start", "data_root", "data_digest", "weights_digest")  # fields that are not part of a name
KEY = 8  # last characters of a group that are added where names are equal


def labels(frame: pd.DataFrame) -> dict[str, str]:
    """A short name for every group: group -> name. It is the backbone, "flexible" where one run learned several patch
    sizes, and the task where there are several; then the head, else data, image and stage, else all of these, where
    they distinguish more groups; then the fields in which groups of the same name differ, as "lr 0.001"; then the end
    of the group's key where no such field differs (initial weights or the content of files do). A head is named where a
    task has several."""
    if frame.empty:
        return {}
    groups = frame.drop_duplicates("group")
    nothing = pd.Series("", groups.index)
    columns = (groups.get(name, nothing).map(_text) for name in ("task", "head", "stage", "data", "image", "backbone"))
    task, head, stage, data, image, backbone = columns
    task = task if task.nunique() > 1 else nothing
    head = head.where(head.groupby(task).transform("nunique") > 1, "")
    flexible = groups.get(PATCHES, nothing).map(_text).map(lambda text: " flexible" if text else "")
    sized = data + " " + image.where(image == "", image + " px ") + stage
    of = backbone + flexible + " " + task
    forms = [of, of + " " + head, of + " " + sized, of + " " + head + " " + sized]
    names = next(form for form in forms if form.nunique() == forms[-1].nunique())
    for index in groups.groupby(names).groups.values():
        if len(index) > 1:
            names[index] += _differences(groups.loc[index])
    shared = names.duplicated(keep=False)
    names[shared] += " " + groups["group"].str[-KEY:]
    return dict(zip(groups["group"], names.str.split().str.join(" "), strict=True))


def _differences(groups: pd.DataFrame) -> pd.Series:
    """For rows of different groups the recipe fields in which they differ, with values: all of up to three such fields,
    else as few as distinguish the rows equally well."""
    texts = {
        name: groups[name].map(_text).replace("", "none")
        for name in (*FIELDS, PATCHES, EMBEDDING, SIZES, "images")
        if name in groups and name not in UNNAMED
    }
    differ = {name: f"{name} " + text for name, text in texts.items() if text.nunique() > 1}
    text = pd.Series("", groups.index)
    few = len(differ) <= 3
    while differ:
        best = max(differ, key=lambda name: 0 if few else (text + differ[name]).nunique())
        if not few and (text + differ[best]).nunique() == text.nunique():
            break
        text += np.where(text == "", " ", ", ") + differ.pop(best)
    return text


def _text(value: str | float | None) -> str:
    """A field's value; empty where it is unknown, as for runs of other code."""
    return "" if pd.isna(value) else f"{value:g}" if isinstance(value, float) else str(value)
