"""The WebDataset shards of a split, listed in _info.json as timm expects it.

{"splits": {NAME: {"filenames": [...], "num_samples": N, "alt_label": FIELD}}}: without alt_label, labels are in .cls.
"""

import json
from collections import Counter
from pathlib import Path

from scaling.data.files.webdataset import Shards
from scaling.errors import ConfigError

FILES = ("_info.json", "info.json")  # timm's names


def open_shards(kind: str, root: Path, splits: tuple[str, ...]) -> Shards:
    """The first of the splits in _info.json that has labels. kind: wds/NAME. Raises ConfigError."""
    file, listed = _listed(root, splits[0])
    reasons, skipped = [], []
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
            skipped.append(f"{kind}: split {split} is skipped ({why})")
            continue
        found.lines += [f"{line}; {split} is used" for line in skipped]
        listed_samples = about.get("num_samples") if isinstance(about, dict) else None
        if (
            isinstance(listed_samples, int) and listed_samples != len(found) and not field
        ):  # with a field, samples with negative labels are left out
            found.lines.append(f"{file} lists {listed_samples} samples in split {split}, the shards have {len(found)}")
        return found
    raise ConfigError(
        f"{root} has no {splits[0]} shards with labels ({'; '.join(reasons)}); {file.name} must name them there"
    )


def _listed(root: Path, split: str) -> tuple[Path, dict[str, object]]:
    """The file, and the splits it lists by name."""
    file = next((root / name for name in FILES if (root / name).is_file()), None)
    if file is None:
        raise ConfigError(
            f"{root} has no {split} shards: {FILES[0]} is expected there, listing the files of each split"
        )
    try:
        data = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as e:
        raise ConfigError(f"{file} is not valid JSON ({str(e) or type(e).__name__})") from e
    splits = data.get("splits") if isinstance(data, dict) else None
    if not isinstance(splits, dict):
        raise ConfigError(f'{file} has no splits: {{"splits": {{"{split}": {{"filenames": [...]}}}}}} is expected')
    return file, splits


def _checked(about: object, split: str, file: Path) -> tuple[list[str], str]:
    """The file names of a split, and the .json field of its labels."""
    names = about.get("filenames") if isinstance(about, dict) else None
    field = about.get("alt_label") or "" if isinstance(about, dict) else ""
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ConfigError(f"{file}: filenames of split {split} is not a list of names")
    if not isinstance(field, str):
        raise ConfigError(f"{file}: alt_label of split {split} is {field!r}: a field name is expected")
    if twice := [name for name, count in Counter(names or []).items() if count > 1]:
        raise ConfigError(f"{file}: split {split} names {twice[0]} twice")
    return names or [], field


def _unlabelled(found: Shards) -> str:
    """Why the split counts as unlabelled; empty if it has labels. Raises ConfigError for text labels."""
    if len(found.labels):
        return "all labels are negative" if (found.labels < 0).all() else ""
    if found.strange:
        n, first = len(found.strange), min(found.strange)
        raise ConfigError(
            f"{n} of {len(found)} samples have text labels, integers from 0 are expected; the first: "
            f"{found.filename(first)} has {found.instead(first)}"
        )
    hint = "; their .json may hold it: set alt_label to its field" if found.fields and not found.field else ""
    return f"no label in {len(found)} samples{hint}"
