"""What jsonargparse says of a wrong option, as one line that says what would do."""

import difflib
import re
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
LISTS = ("patch", "seed", "seeds")  # what a sweep takes lists of
KINDS = {"int": "a whole number", "float": "a number", "str": "text"}


def in_one_line(message: str, names: Iterable[str]) -> str:
    """names: of all options, with _ where the command line has -."""
    text = " ".join(line.strip() for line in str(message).splitlines() if line.strip())
    for word in ("unrecognized arguments: ", "Option '"):
        if word in text:
            return _unknown(text.split(word, 1)[1].split()[0].strip("'").split("=")[0], names)
    text = text.replace("Parser key ", "option ").replace("<class '", "").replace("'>", "").replace(":  ", ": ")
    if found := re.search(r'option "(\w+)": Expected an? (int|float|str)\. Got value: (.*)', text):
        return _no_value(*found.groups())
    if found := re.search(r"argument --(\S+?)/\S+: invalid \S*bool\S* value: (.*)", text):
        return f"--{found[1]} {found[2]} is neither true nor false"
    if text.startswith("Unexpected config:"):
        return "the file of --config is empty, or holds something else than lines `option: value`"
    if text.endswith("arguments are required: recipe"):
        return "no recipe is named: name one, such as shapes.deit_nano, or in --config's file, in a line `recipe: NAME`"
    return text


def check_once(file: str) -> None:
    """Raise ConfigError where a YAML file says an option twice: YAML would take the last, without a word. What else is
    wrong with the file is for the parser to say."""
    try:
        held = yaml.compose(Path(file).read_text("utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError):
        return
    lines: dict[str, int] = {}
    for key, _ in held.value if isinstance(held, yaml.MappingNode) else ():
        name, line = str(key.value).replace("-", "_"), key.start_mark.line + 1
        if name in lines:
            raise ConfigError(f"{file} says {key.value} twice, in lines {lines[name]} and {line}: take one of them out")
        lines[name] = line


def _unknown(option: str, names: Iterable[str]) -> str:
    given = option.lstrip("-").replace("-", "_")
    if given in RESUMING:
        return f"unknown option {option}; resuming is automatic: repeat the command that was cut off"
    near = difflib.get_close_matches(given, list(names), n=1)
    hint = f"did you mean --{near[0].replace('_', '-')}?" if near else "--help lists the options"
    return f"unknown option {option}; {hint}"


def _no_value(name: str, kind: str, value: str) -> str:
    option = f"--{name.replace('_', '-')}"
    if "," not in value:
        return f"{option} {value} is not {KINDS[kind]}"
    if name in LISTS:
        lists = "seeds" if name == "seed" else name
        return f"{option} {value} is not one number; sweep.py takes several: --{lists} {value}"
    return (
        f"{option} {value} is not one number, and a sweep takes lists of --patch and --seeds alone; give the command "
        f"once for each, with the same --results: its laws and tables tell them apart by {name}"
    )
