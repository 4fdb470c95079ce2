"""config_field: one field of a configuration dataclass with its help, unit and bounds, and the checks that follow.

Every part of the configuration (scaling/config/*.py) is a frozen dataclass whose fields are made here and whose
__post_init__ calls `check_fields`. Options, --help and docs/config.md are generated from the same metadata. A union, a
field that holds one of several dataclasses, is a field with a registry: kind -> class. A kind is added by
`REGISTRY[Class.kind] = Class`. Standard library only.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import MISSING, field
from functools import lru_cache
from typing import ClassVar, NamedTuple, Protocol, TypeGuard, TypeVar, cast

from scaling.errors import ConfigError

NONE = type(None)
T = TypeVar("T")
Field = dataclasses.Field[object]


class Part(Protocol):
    """A dataclass of a configuration."""

    __dataclass_fields__: ClassVar[dict[str, Field]]


class Kind(Part, Protocol):
    """A part that is one kind of a union."""

    kind: ClassVar[str]


Registry = Mapping[str, type[Kind]]
SomePart = TypeVar("SomePart", bound=Part)


class Bounds(NamedTuple):
    """Limits of a number; None: no limit on this side."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def holds(self, value: float) -> bool:
        low = (self.at_least is None or value >= self.at_least) and (self.above is None or value > self.above)
        return low and (self.at_most is None or value <= self.at_most) and (self.below is None or value < self.below)

    def rule(self) -> str:
        """The limits as text, such as "must be in [0, 1)"."""
        if self.at_most is None and self.below is None:
            return f"must be above {self.above:g}" if self.above is not None else f"must be {self.at_least:g} or more"
        low = f"[{self.at_least:g}" if self.at_least is not None else f"({self.above:g}"
        return f"must be in {low}, " + (f"{self.at_most:g}]" if self.at_most is not None else f"{self.below:g})")


def config_field(
    text: str,
    default: T | dataclasses._MISSING_TYPE = MISSING,
    *,
    unit: str = "",
    choices: Collection[str] | Callable[[str], None] = (),
    bounds: Bounds | None = None,
    registry: Registry | None = None,
    by_leaf: bool = False,
    retained: bool = False,
    location: bool = False,
    found: bool = False,
    common: bool = False,
    follows: str = "",
) -> T:
    """A dataclass field.

    text: help. unit: as "px"; "" for none. choices: permitted values, or a function that raises ConfigError.
    registry: of a union, its kinds. by_leaf: whether a field of another kind, given by name, switches to that kind.
    retained: the value is kept for when another kind is chosen, and giving it does not keep this kind.
    location: where files are on this machine: no part of equality. found: set by the program, not by the user.
    common: listed by --help; the others by --help-all.
    follows: another field of the part; where that is edited and this one is not given, it has its default again.
    """
    about = {
        "help": text,
        "unit": unit,
        "choices": choices,
        "bounds": bounds,
        "registry": registry,
        "by_leaf": by_leaf,
        "retained": retained,
        "location": location,
        "found": found,
        "common": common,
        "follows": follows,
    }
    # The type of the field's value, as dataclasses.field itself claims: the class is made of it.
    return cast(T, field(default=default, metadata=about, compare=not location))


@lru_cache(maxsize=1024)
def every_field(cls: type[Part]) -> tuple[Field, ...]:
    """dataclasses.fields of a class, which makes them again at each call."""
    return dataclasses.fields(cls)


def is_part(value: object) -> TypeGuard[Part]:
    """Whether a value is a dataclass's (dataclasses.is_dataclass takes the class too, and three times as long)."""
    return hasattr(type(value), "__dataclass_fields__")


def check_fields(part: Part) -> None:
    """Raise ConfigError for the first field of a part whose value has the wrong type or is out of its bounds."""
    for f in every_field(type(part)):
        value, about = getattr(part, f.name), f.metadata
        if about.get("registry") is not None:
            check_member(f, value)
            continue
        _check_type(f.name, f.type, value)
        if value is None:
            continue
        if about.get("choices"):
            _check_choice(f.name, value, about["choices"])
        if about.get("bounds") is not None:
            check(about["bounds"].holds(value), f.name, value, about["bounds"].rule())


def check(ok: bool, name: str, value: object, rule: str) -> None:
    if not ok:
        raise ConfigError(f"{name} {value} {rule}")


def check_member(union: Field, value: object) -> None:
    """Raise ConfigError unless value is of a registered class of a union; where its default is a tuple, all values of a
    tuple. union: the dataclass field."""
    registry = union.metadata["registry"]
    members: tuple[object, ...] = (value,)
    if isinstance(union.default, tuple):
        if not isinstance(value, tuple):
            raise ConfigError(f"{union.name} is {value!r}, which is not a tuple of: {', '.join(registry)}")
        members = value
    for one in members:
        if not isinstance(one, tuple(registry.values())):
            raise ConfigError(f"{union.name} is {one!r}, which is none of: {', '.join(registry)}")


def check_name(what: str, name: str, known: Iterable[str], listed: str = "") -> None:
    """Raise ConfigError with the nearest known name and all of them, unless name is one of them. listed: where all of
    them are found, if they are too many for a line: then the three nearest are named."""
    known = sorted(known)
    if name in known:
        return
    if listed:
        like = {one: difflib.SequenceMatcher(None, name, one).ratio() for one in known}
        of_this_name = [one for one in known if one.rpartition(".")[2] == name]
        near = (of_this_name or [one for one in known if like[one] >= max(0.65, *like.values()) - 0.03])[:3]
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ConfigError(f"unknown {what} {name!r}; {hint}{listed} lists all {len(known)}")
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(f"unknown {what} {name!r}; {hint}there is: {', '.join(n or repr(n) for n in known)}")


def type_names(annotation: object) -> tuple[str, bool]:
    """The name of a field's type, as "int" or "list of int", and whether None is permitted."""
    return _type_names(cast(Hashable, annotation))


@lru_cache(maxsize=1024)
def _type_names(annotation: Hashable) -> tuple[str, bool]:
    kinds = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    kind = next(kind for kind in kinds if kind is not NONE)
    if typing.get_origin(kind) is tuple:
        return f"list of {typing.get_args(kind)[0].__name__}", NONE in kinds
    return getattr(kind, "__name__", str(kind)), NONE in kinds


def _check_choice(name: str, value: str, choices: Collection[str] | Callable[[str], None]) -> None:
    if callable(choices):
        choices(value)
    else:
        check_name(name, value, choices)


def _check_type(name: str, annotation: object, value: object) -> None:
    """bool is no int, an int is a float, and a float is finite."""
    kind, optional = type_names(annotation)
    if value is None and optional:
        return
    if kind.startswith("list of "):
        ok = isinstance(value, tuple) and all(_is(kind.removeprefix("list of "), one) for one in value)
    elif isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        ok = isinstance(value, annotation)
    else:
        ok = _is(kind, value)
    if not ok:
        raise ConfigError(f"{name} is {value!r}, which is not a {kind}")


def _is(kind: str, value: object) -> bool:
    if kind == "float":
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    return type(value).__name__ == kind
