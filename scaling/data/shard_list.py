"""Which WebDataset shards a split has, by the _info.json beside them, as timm and the hub's image sets have it.

{"splits": {NAME: {"filenames": [...], "num_samples": N, "alt_label": FIELD}}}: without alt_label labels are in .cls.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from scaling.data.shards import Shards
from scaling.recipe import BadInput

FILES = ("_info.json", "info.json")  # timm's names


def open_shards(kind: str, root: Path, splits: tuple[str, ...]) -> Shards:
    """The first of the splits that _info.json in the data root has, with labels. kind: wds/NAME. Raises BadInput."""
    file, listed = _listed(root, splits[0])
    reasons, bare = [], []
    for split in splits:
        if split not in listed:
            reasons.append(f"no split {split}")
            continue
        about = listed[split]
        names, field = _checked(about, split, file)
        found = Shards([root / name for name in names], field) if names else None
        if found is None or not len(found):
            reasons.append(f"split {split} has no samples")
            continue
        if why := _unlabelled(found):
            reasons.append(f"split {split}: {why}")
            bare.append(f"{kind}: split {split} is passed over for {{}}, as {why}")
            continue
        found.lines += [line.format(split) for line in bare]
        said = about.get("num_samples")
        if isinstance(said, int) and said != len(found) and not field:  # of another set of labels, some are left out
            found.lines.append(f"{file} says that split {split} has {said} samples: there are {len(found)}")
        return found
    raise BadInput(
        f"{root} has no {splits[0]} shards with labels ({'; '.join(reasons)}); {file.name} must name them there"
    )


def _listed(root: Path, split: str) -> tuple[Path, dict[str, Any]]:
    """The file and the splits that it lists."""
    file = next((root / name for name in FILES if (root / name).is_file()), None)
    if file is None:
        raise BadInput(f"{root} has no {split} shards: {FILES[0]} is expected there, with the names of a split's files")
    try:
        data = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as e:
        raise BadInput(f"{file} is no JSON ({str(e) or type(e).__name__})") from e
    splits = data.get("splits") if isinstance(data, dict) else None
    if not isinstance(splits, dict):
        raise BadInput(f'{file} has no splits: {{"splits": {{"{split}": {{"filenames": [...]}}}}}} is expected')
    return file, splits


def _checked(about: Any, split: str, file: Path) -> tuple[list[str], str]:
    """The names of a split's files, and the field of .json that has labels."""
    names = about.get("filenames") if isinstance(about, dict) else None
    field = about.get("alt_label") or "" if isinstance(about, dict) else ""
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise BadInput(f"{file}: filenames of split {split} is no list of names")
    if not isinstance(field, str):
        raise BadInput(f"{file}: alt_label of split {split} is {field!r}: the name of a field is expected")
    if twice := [name for name, count in Counter(names or []).items() if count > 1]:
        raise BadInput(f"{file}: split {split} names {twice[0]} twice")
    return names or [], field


def _unlabelled(found: Shards) -> str:
    """Why there is no label in a whole split; empty where there is one. Raises BadInput where there are others."""
    if len(found.labels):
        return "all of its labels are below 0" if (found.labels < 0).all() else ""
    if found.strange:
        n, first = len(found.strange), min(found.strange)
        raise BadInput(
            f"{n} of {len(found)} samples have words for labels, the first {found.filename(first)} has "
            f"{found.instead(first)}: numbers from 0 up are expected"
        )
    hint = " in .cls (they have .json: alt_label there names its field)" if found.fields and not found.field else ""
    return f"none of its {len(found)} samples has a label{hint}"
