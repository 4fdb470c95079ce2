"""--vary FIELD=A,B of a sweep: values of any field, each trained with all else equal; of several fields every
combination. Each combination is a group, with a law of its own."""

import itertools
from collections.abc import Collection, Sequence

from experiments.cli.options import field_rows, parse, spellings
from experiments.cli.wrong_options import LISTS, unknown_option
from scaling.errors import ConfigError

# Fields that choose the runs of a sweep, and one whose value is a list of kinds.
ONCE = ("recipes", "stage", "objectives")


def variants(texts: Sequence[str], given: Collection[str]) -> list[dict[str, object]]:
    """The combinations of the values in texts, each by the names of fields; one without fields where there is no text.
    given: fields that other options set. Raises ConfigError."""
    values: dict[str, list[object]] = {}
    for text in texts:
        name, found = _values(text)
        if name in values or name in given:
            raise ConfigError(f"--vary {text}: {name} is set twice; leave one of them out")
        values[name] = found
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]


def _values(text: str) -> tuple[str, list[object]]:
    """The field of one option, and its values, each once."""
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
    return leaf, list(dict.fromkeys(parse(row, part) for part in parts))
