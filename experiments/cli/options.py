"""Options generated from the configuration dataclasses: reading them from command lines and YAML files.

A field is an option by its last name (--patch-size); its dotted name (--model.patch_embed.patch_size) and the hidden
names of version 1 (--image) mean the same. No torch: --help answers at once.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import yaml

from experiments.cli.wrong_options import in_yaml, not_a_value
from scaling.config import flat, legacy, runtime
from scaling.config.experiment import ExperimentConfig
from scaling.config.legacy import read_predecessor
from scaling.config.reference import Row, by_leaf, rows, runtime_rows
from scaling.config.runtime import RuntimeConfig
from scaling.errors import ConfigError

# last name of a field: the name that was used, and the text of its value; from a file it may be a list
Texts = dict[str, tuple[str, str | list[object]]]
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Overrides(NamedTuple):
    """Fields that the user set. given: name -> value. idle: names that are ignored where they do not apply."""

    given: dict[str, object]
    idle: frozenset[str] = frozenset()


class File(NamedTuple):
    """Contents of a YAML file."""

    program: dict[str, object]  # options of the program itself
    fields: Texts
    before: ExperimentConfig | None  # the run that a printed configuration starts from


def field_rows() -> dict[str, list[Row]]:
    """The fields of an experiment that a user may set, by their last names."""
    found = by_leaf(rows())
    return {leaf: same for leaf, same in found.items() if not same[0].found}


def machine_rows() -> dict[str, list[Row]]:
    """The fields of RuntimeConfig, by their names."""
    return by_leaf(runtime_rows())


def spellings(leave_out: Collection[str] = ()) -> dict[str, str]:
    """Every name of an option for a field, with _ for -: last, dotted and old ones -> last name."""
    found = {leaf: leaf for leaf in (*field_rows(), *machine_rows()) if leaf not in leave_out}
    found |= {same[0].name: leaf for leaf, same in field_rows().items() if leaf in found}
    old = {**flat.NAMES, **runtime.OLD_NAMES}
    found |= {name: leaf for name, leaf in old.items() if leaf in found and name not in leave_out}
    return found | {"weights": "initial_checkpoint"}


def take(words: Sequence[str], names: Mapping[str, str]) -> tuple[list[str], Texts]:
    """The words of a command line without the options of fields, and those."""
    rest: list[str] = []
    taken: Texts = {}
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, text = word[2:].partition("=")
        name = name.replace("-", "_")
        if not word.startswith("--") or name not in names:
            rest.append(word)
            continue
        leaf = names[name]
        if not equals:
            if _row(leaf).type == "bool" and name not in flat.DEFAULTS:  # alone, or with a word
                text = left.pop(0) if left and left[0].lower() in BOOLEANS else "true"
            elif left and not left[0].startswith("--"):
                text = left.pop(0)
            else:
                raise ConfigError(f"{word} needs a value")
        taken.pop(leaf, None)
        taken[leaf] = (name, text)
    return rest, taken


def read_file(path: str, names: Mapping[str, str]) -> File:
    """A YAML file: options of the program, and fields, flat or nested as --print-config prints them."""
    program: dict[str, object] = {}
    fields: Texts = {}
    values = in_yaml(path)
    dotted = {same[0].name: leaf for leaf, same in by_leaf(rows()).items()}
    for key, value in _flat(values, ""):
        name = key.replace("-", "_")
        if name in names:
            fields[names[name]] = (dotted.get(name, name), _text(value))
        elif dotted.get(name, name) not in _FOUND:  # a field that the program has its own option for, or no field
            program[dotted.get(name, key)] = value
    before = _before(values)
    if before is not None and fields.get("initial_checkpoint", ("", ""))[1] == "":
        fields.pop("initial_checkpoint", None)  # version 1 printed both, one of them empty
        fields.pop("init", None)
    return File(program, fields, before)


def _before(values: Mapping[str, object]) -> ExperimentConfig | None:
    """The run that the configuration in a file starts from."""
    init = values.get("init")
    if isinstance(init, dict) and "config" in init:
        return ExperimentConfig.from_dict(init["config"])
    start = cast(str, values.get("start"))  # JSON, as version 1 printed it
    return read_predecessor(start) if start else None


def _flat(values: Mapping[str, object], path: str) -> Iterator[tuple[str, object]]:
    """Dotted names and values; the kind of a union under the union's own name."""
    for key, value in values.items():
        name = f"{path}{key}"
        if name == "init.config" or name == "schema":  # a stage before, which the recipe itself names
            continue
        if name == "init.patch_embed_resampling" and value is None:  # no option: studies alone set it
            continue
        if isinstance(value, dict):
            yield from _flat(value, name + ".")
        elif key == "kind" and path:
            yield path[:-1], value
        else:
            yield name, value


_FOUND = ("recipes_digest", "plugin.recipes_digest", "data_digest", "weights_digest", "teacher_digest", "start")


def _text(value: object) -> str | list[object]:
    if isinstance(value, list):
        return value
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def overrides(command: Texts, file: Texts) -> Overrides:
    """The fields of an experiment that were set; the command line comes first. Raises ConfigError."""
    fields = field_rows()
    new: dict[str, object] = {}
    old: dict[str, object] = {}
    for source, texts in ((file, file), (command, command)):
        for leaf, (name, text) in texts.items():
            if leaf not in fields or (source is file and leaf in command):
                continue
            if isinstance(text, str) and (name == "weights" or name in flat.DEFAULTS):
                old[name] = _old_value(name, text)
            else:
                new[leaf] = parse(fields[leaf][0], text)
    given, idle = legacy.translate(old)
    if new.get("init") == "run":
        raise ConfigError(
            "--init run has no name of a run: a recipe with several stages sets it; for the weights of a run there is "
            "--initial-checkpoint FOLDER"
        )
    return Overrides({**given, **new}, frozenset(idle - set(new)))


def runtime_config(command: Texts, file: Texts) -> RuntimeConfig:
    """How the machine is used. Raises ConfigError."""
    values: dict[str, object] = {}
    for leaf, (name, text) in {**file, **command}.items():
        if leaf in machine_rows():
            automatic = str(runtime.AUTOMATIC.get(name)) == text
            values[leaf] = None if automatic else parse(machine_rows()[leaf][0], text)
    make: Callable[..., RuntimeConfig] = RuntimeConfig  # values were parsed by the types of its fields
    return make(**values)


def _old_value(name: str, text: str) -> object:
    """The value of an option of version 1, of the type that it had."""
    kind = type(flat.DEFAULTS[name]).__name__
    if text == "none" and (name in flat.UNSET or name == "weights"):
        return flat.DEFAULTS[name] if name != "clip" else 0.0
    return _parsed(name, kind, text)


def parse(row: Row, text: str | list[object]) -> object:
    """The value of a field from its text, or from a list in a file. Raises ConfigError."""
    if isinstance(text, list) and row.type == "kind" and "." not in row.name:
        members = [{k: v for k, v in one.items() if k not in _FOUND} if isinstance(one, dict) else one for one in text]
        return getattr(ExperimentConfig.from_dict({row.name: members}), row.leaf)
    if isinstance(text, list) and row.type.startswith("list of "):
        return tuple(_parsed(row.leaf, row.type.removeprefix("list of "), str(one)) for one in text)
    if isinstance(text, list):
        text = ",".join(map(str, text))
    unset = text in ("", "none", "null") or (text == "0" and row.leaf in flat.UNSET)
    if row.optional and unset:
        return None
    if row.type == "kind":
        return text
    if row.type.startswith("list of "):
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return tuple(_parsed(row.leaf, row.type.removeprefix("list of "), part) for part in parts)
    if row.type in ("int", "float") and unset and row.leaf in _MADE_NONE:
        return None
    return _parsed(row.leaf, row.type, text)


_READ: dict[str, Callable[[str], str | float]] = {"str": str, "int": int, "float": float}
_MADE_NONE = ("embed_patch_size", "max_steps", "slide_stride")  # none: another kind, without the field


def _parsed(name: str, kind: str, text: str) -> str | float:
    try:
        if kind == "bool":
            return BOOLEANS[text.lower()]
        return _READ[kind](text)
    except (ValueError, KeyError):
        raise ConfigError(not_a_value(name, kind, text)) from None


def _row(leaf: str) -> Row:
    return {**field_rows(), **machine_rows()}[leaf][0]


def as_path(path: str) -> str:
    """A path with the home folder in the place of ~, which no shell expands in --results=~/here."""
    return str(Path(path).expanduser())


def nested_yaml(config: ExperimentConfig) -> str:
    """A configuration as YAML, as read_file reads it."""
    return yaml.safe_dump(config.to_dict(), sort_keys=False).rstrip()
