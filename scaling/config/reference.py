"""Every field of a configuration as a row: for command lines, --help and docs/config.md. Standard library only."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple, cast

from scaling.config.experiment import ExperimentConfig
from scaling.config.fields import Field, Kind, Part, type_names
from scaling.config.runtime import RuntimeConfig


class Row(NamedTuple):
    """One field."""

    name: str  # dotted, as model.patch_embed.patch_size
    flag: str  # as --patch-size
    type: str  # str, int, float, bool, "list of int", or "kind" for the choice of a union's kind
    optional: bool  # whether it may be None
    unit: str
    default: object  # dataclasses.MISSING where a value must be given
    choices: tuple[str, ...]  # permitted values; () where there is no fixed list
    help: str
    of: str  # kinds of unions that have it, the outer one first, as "segment upernet"; "": every configuration has it
    common: bool  # listed by --help
    found: bool  # set by the program, not by the user

    @property
    def leaf(self) -> str:
        """The last part of the name, which is unique over a configuration."""
        return self.name.rpartition(".")[2]

    @property
    def group(self) -> str:
        """The first part of the name; "run" for a field without one."""
        return self.name.partition(".")[0] if "." in self.name else "run"


def rows() -> list[Row]:
    """All fields of ExperimentConfig, in the order of their definition."""
    return list(_rows(ExperimentConfig, ExperimentConfig(), "", ""))


def runtime_rows() -> list[Row]:
    """All fields of RuntimeConfig."""
    return list(_rows(RuntimeConfig, RuntimeConfig(), "", ""))


def by_leaf(found: list[Row]) -> dict[str, list[Row]]:
    """Rows by the last part of their names: several where several kinds of a union have a field."""
    leaves: dict[str, list[Row]] = {}
    for row in found:
        leaves.setdefault(row.leaf, []).append(row)
    return leaves


def _rows(cls: type[Part], value: object, path: str, of: str) -> Iterator[Row]:
    """value: a value of the class, for defaults; None where its fields have no default."""
    for f in dataclasses.fields(cls):
        name, registry = path + f.name, f.metadata.get("registry")
        default: object = getattr(value, f.name) if value is not None else f.default
        if registry is not None:
            several = isinstance(default, tuple)
            # check_member: the values of a union are of its kinds
            chosen = cast(tuple[Kind, ...], default if several else (default,))
            yield _row(f, name, "kind", False, ",".join(one.kind for one in chosen), tuple(registry), of)
            # Of several without by_leaf, a name alone would mean many.
            for kind, member in registry.items() if not several or f.metadata.get("by_leaf") else ():
                own = default if chosen[0].kind == kind else None
                yield from _rows(member, own, name + ".", f"{of} {kind}".strip())
        elif isinstance(f.type, type) and dataclasses.is_dataclass(f.type):
            yield from _rows(f.type, default, name + ".", of)
        else:
            kind, optional = type_names(f.type)
            choices = f.metadata.get("choices", ())
            yield _row(f, name, kind, optional, default, () if callable(choices) else tuple(choices), of)


def _row(f: Field, name: str, kind: str, optional: bool, default: object, choices: tuple[str, ...], of: str) -> Row:
    about = f.metadata
    flag = "--" + f.name.replace("_", "-")
    return Row(
        name=name,
        flag=flag,
        type=kind,
        optional=optional,
        unit=about.get("unit", ""),
        default=default,
        choices=choices,
        help=about.get("help", ""),
        of=of,
        common=about.get("common", False),
        found=about.get("found", False),
    )
