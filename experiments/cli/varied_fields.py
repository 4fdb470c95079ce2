"""--vary FIELD=A,B of a sweep: values of any field, each trained with all else equal; of several fields every
combination. Each combination is a group, with a law of its own. FIELD=LOW..HIGH: the numbers that a search has."""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from experiments.cli.options import field_rows, parse, spellings
from experiments.cli.wrong_options import LISTS, unknown_option
from scaling.errors import ConfigError

# Fields that choose the runs of a sweep, and one whose value is a list of kinds.
ONCE = ("recipes", "stage", "objectives")
LARGEST = 1e300  # an end of a range, below what arithmetic makes infinite
DECADE = 10.0  # high over low from which a range is logarithmic


class Range(NamedTuple):
    """The numbers from low to high, both included; whole ones where both are int."""

    low: float
    high: float

    @property
    def log(self) -> bool:
        """Whether equal factors, not equal differences, are alike."""
        return self.low > 0 and self.high >= DECADE * self.low

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high


Space = dict[str, Range | list[object]]  # the range or the values of each field


def variants(texts: Sequence[str], given: Collection[str]) -> list[dict[str, object]]:
    """The combinations of the values in texts, each by the names of fields; one without fields where there is no text.
    given: fields that other options set. Raises ConfigError."""
    values: dict[str, list[object]] = {}
    for text, (name, found) in zip(texts, ranges(texts, given).items(), strict=True):
        if isinstance(found, Range):
            raise ConfigError(f"--vary {text} is a range, for search.py; a sweep takes values, as lr=1e-3,2e-3")
        values[name] = found
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]


def ranges(texts: Sequence[str], given: Collection[str]) -> Space:
    """The range or the values of each field in texts. given: fields that other options set. Raises ConfigError."""
    found: Space = {}
    for text in texts:
        name, its = _values(text)
        if name in found or name in given:
            raise ConfigError(f"--vary {text}: {name} is set twice; leave one of them out")
        found[name] = its
    return found


def check_values(space: Space, attempts: Sequence[Callable[[Mapping[str, object]], object]]) -> None:
    """Raise ConfigError for a value of a field, or an end of its range, with which every attempt raises one. attempts:
    each makes the recipe of one patch size with the given fields."""
    for name, value in ((name, value) for name, its in space.items() for value in its):
        failures = []
        for attempt in attempts:
            try:
                attempt({name: value})
            except ConfigError as e:
                failures.append(e)
        if len(failures) == len(attempts):
            raise failures[0]


def _values(text: str) -> tuple[str, Range | list[object]]:
    """The field of one option, and its range, or its values, each once."""
    word, equals, listed = text.partition("=")
    parts = [part.strip() for part in listed.split(",") if part.strip()]
    if not equals or not parts:
        raise ConfigError(f"--vary {text} is not FIELD=VALUE,VALUE, as lr=1e-3,2e-3")
    rows, names = field_rows(), spellings()
    name = word.strip().lstrip("-").replace("-", "_")
    leaf = "patch_size" if name == "patch" else names.get(name, "")
    if leaf in LISTS:
        raise ConfigError(f"--vary {text}: a sweep has an option for it, --{LISTS[leaf]} {','.join(parts)}")
    if leaf not in rows:
        machine = f"{name} is of the machine, and changes no results" if leaf else unknown_option(name, rows)
        raise ConfigError(f"--vary {text}: {machine}")
    row = rows[leaf][0]
    if leaf in ONCE or row.type.startswith("list of "):
        raise ConfigError(f"--vary {text}: {leaf} has one value per sweep; give the command once for each")
    if row.type in ("int", "float") and ".." in listed:
        return leaf, _range(text, [parse(row, end) for end in listed.split("..") if end.strip()])
    return leaf, list(dict.fromkeys(parse(row, part) for part in parts))


def _range(text: str, ends: list[object]) -> Range:
    numbers = [end for end in ends if isinstance(end, (int, float)) and abs(end) < LARGEST]  # none is no number
    if len(ends) != 2 or len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise ConfigError(f"--vary {text} is not FIELD=LOW..HIGH: two numbers, the higher one last")
    return Range(numbers[0], numbers[1])
