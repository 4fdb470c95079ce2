"""The help of the options that are generated from the configuration dataclasses, grouped. No torch."""

import textwrap
from collections.abc import Collection

from experiments.cli.options import field_rows, machine_rows
from scaling.config.reference import Row

WIDTH, COLUMN = 80, 26  # of --help [characters]
SHORT = {"patch_size": "patch"}  # second names that --help lists
TITLES = {  # first part of a field's name: heading in --help; the others are under "run"
    "model": "model",
    "data": "data",
    "task": "task: head, augmentation, evaluation",
    "optim": "optimiser",
    "schedule": "length of a run and learning rate",
    "evaluation": "evaluation",
    "init": "initial weights",
    "runtime": "machine; these change numbers by rounding only",
}


def help_lines(leave_out: Collection[str], every: bool) -> list[str]:
    """The help of the fields, grouped. every: also of those that are rarely set."""
    found = {leaf: _first(same) for leaf, same in field_rows().items() if leaf not in leave_out}
    titled: dict[str, list[Row]] = {title: [] for title in ("run", *TITLES.values())}
    for row in found.values():
        titled[TITLES.get(row.group, "run")].append(row)
    titled[TITLES["runtime"]] = [same[0] for leaf, same in machine_rows().items() if leaf not in leave_out]
    lines = []
    for title, its in titled.items():
        shown = [row for row in its if every or row.common]
        lines += ["", f"{title}:", *(line for row in shown for line in _help(row))] if shown else []
    return lines


def _first(same: list[Row]) -> Row:
    """The row that --help lists of a field that several kinds of a union have."""
    return next((row for row in same if row.common), same[0])


def _help(row: Row) -> list[str]:
    names = ", ".join([row.flag, *(f"--{name}" for leaf, name in SHORT.items() if leaf == row.leaf)])
    text = row.help + (f" [{row.unit}]" if row.unit else "")
    wrapped = textwrap.wrap(text, WIDTH - COLUMN)
    head = f"  {names}"
    if len(head) > COLUMN - 2:
        return [head, *(" " * COLUMN + line for line in wrapped)]
    return [head.ljust(COLUMN) + wrapped[0], *(" " * COLUMN + line for line in wrapped[1:])]
