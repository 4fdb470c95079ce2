"""Messages for wrong options and unreadable YAML files: one line each, with what to do."""

import difflib
from collections.abc import Iterable
from pathlib import Path

import yaml

from scaling.errors import ConfigError

RESUMING = (
    "resume",
    "auto_resume",
    "resume_from",
    "resume_from_checkpoint",
    "continue",
    "restart",
    "ckpt",
    "ckpt_path",
)
LISTS = {
    "patch": "patch",
    "patch_size": "patch-size",
    "seed": "seeds",
    "seeds": "seeds",
}  # what sweep.py takes lists of
KINDS = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false"}
NO_RECIPE = "no recipe is named: name one, such as shapes.deit_nano, or in --config's file, in a line `recipe: NAME`"


def unknown_option(option: str, names: Iterable[str]) -> str:
    """names: of all options, with _ for -."""
    given = option.lstrip("-").partition("=")[0].replace("-", "_")
    shown = f"--{given.replace('_', '-')}" if option.startswith("-") else option
    if given in RESUMING:
        return f"unknown option {shown}; resuming is automatic: repeat the interrupted command"
    near = difflib.get_close_matches(given, list(names), n=1)
    hint = f"did you mean --{near[0].replace('_', '-')}?" if near else "--help-all lists all options"
    return f"unknown option {shown}; {hint}"


def not_a_value(name: str, kind: str, text: str) -> str:
    """text is not a value of the option called name."""
    option = f"--{name.replace('_', '-')}"
    if "," not in text or kind == "bool":
        return f"{option} {text} is not {KINDS[kind]}"
    if name in LISTS:
        return f"{option} {text} is not one number; sweep.py takes several: --{LISTS[name]} {text}"
    return f"{option} {text} is not one number; sweep.py trains each: --vary {name.replace('_', '-')}={text}"


def of_argparse(message: str, names: Iterable[str]) -> str:
    """A message of argparse in these words."""
    text = " ".join(message.split())
    if "unrecognized arguments: " in text:
        return unknown_option(text.split("unrecognized arguments: ", 1)[1].split()[0], names)
    if text.startswith("argument --") and ": invalid " in text:
        option, _, rest = text.removeprefix("argument ").partition(": invalid ")
        kind, _, value = rest.partition(" value: ")
        return not_a_value(option.split("/")[0].lstrip("-"), kind if kind in KINDS else "str", value.strip("'"))
    return text


def in_yaml(file: str) -> dict[str, object]:
    """Contents of a YAML file. Raises ConfigError where it cannot be read, is no mapping, or has an option twice: YAML
    would take the last one."""
    try:
        text = Path(file).expanduser().read_text("utf-8-sig")
        held = yaml.compose(text)
        values = yaml.safe_load(text)
    except (OSError, ValueError) as e:
        raise ConfigError(f"--config {file}: {getattr(e, 'strerror', None) or e}") from e
    except yaml.YAMLError as e:
        raise ConfigError(f"--config {file} is not YAML: {' '.join(str(e).split())}") from e
    if not isinstance(values, dict):
        raise ConfigError(f"the file of --config, {file}, is empty, or holds something else than lines `option: value`")
    lines: dict[str, int] = {}
    for key, _ in held.value if isinstance(held, yaml.MappingNode) else ():
        name, line = str(key.value).replace("-", "_"), key.start_mark.line + 1
        if name in lines:
            raise ConfigError(f"{file} has {key.value} twice, in lines {lines[name]} and {line}: remove one of them")
        lines[name] = line
    return {str(key): value for key, value in values.items()}
