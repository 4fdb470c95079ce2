"""A configuration as nested dictionaries, for JSON and YAML, and back.

A dataclass is a dictionary of its fields; one that is a kind of a union also has "kind"; a tuple is a list. The
dictionary of a whole configuration has "schema", the version of this form.
"""

import dataclasses
from collections.abc import Callable
from typing import cast

from scaling.config.fields import Field, Part, Registry, SomePart, check_name, every_field, is_part
from scaling.errors import ConfigError, NewerRecordError

SCHEMA = 2


def to_dict(config: Part) -> dict[str, object]:
    """All fields of a configuration, nested. The inverse of from_dict."""
    return {"schema": SCHEMA, **_values(config)}


def _values(part: Part) -> dict[str, object]:
    kind: dict[str, object] = {"kind": part.kind} if hasattr(part, "kind") else {}
    return kind | {f.name: _value(getattr(part, f.name)) for f in every_field(type(part))}


def _value(value: object) -> object:
    """The value of a field as JSON has it."""
    if is_part(value):
        return _values(value)
    return [_value(one) for one in value] if isinstance(value, tuple) else value


def from_dict(cls: type[SomePart], values: object) -> SomePart:
    """The configuration, of class cls, of a nested dictionary; fields that are missing have their defaults. Raises
    ConfigError, and NewerRecordError for a schema, a field or a kind that this version does not have."""
    if not isinstance(values, dict):
        raise ConfigError(f"a configuration is a mapping, not {values!r}")
    schema = values.get("schema", SCHEMA)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise NewerRecordError(f"configuration of schema {schema}; this version reads up to {SCHEMA}: update it")
    return _Reader(cls).part(cls, {name: value for name, value in values.items() if name != "schema"}, "")


PARTS = 10_000  # that are remembered
_parts: dict[tuple[type[Part], str], Part] = {}


class _Reader:
    """Reads the parts of a configuration. root: the class of a whole one, which a part may hold (FromRun)."""

    def __init__(self, root: type[Part]) -> None:
        self.root = root

    def part(self, cls: type[SomePart], values: object, path: str) -> SomePart:
        """A dataclass from its dictionary. path: dotted, for messages. Parts of a configuration that are equal are one
        object: of thousands of runs, most have the same optimiser, data or task."""
        if cls is self.root:
            return self.made(cls, values, path)
        key = (cls, repr(values))
        if key not in _parts:
            if len(_parts) >= PARTS:
                _parts.clear()
            _parts[key] = self.made(cls, values, path)
        return cast(SomePart, _parts[key])

    def made(self, cls: type[SomePart], values: object, path: str) -> SomePart:
        if not isinstance(values, dict):
            raise ConfigError(f"{path[:-1]} is {values!r}, not a mapping")
        known = {f.name: f for f in every_field(cls)}
        unknown = sorted(set(values) - set(known) - {"kind"})
        if unknown:
            raise NewerRecordError(f"unknown field {path}{unknown[0]}: a newer version wrote this configuration")
        given = {name: value for name, value in values.items() if name != "kind"}
        make: Callable[..., SomePart] = cls  # which checks the types of its fields
        return make(**{name: self.value(known[name], value, f"{path}{name}.") for name, value in given.items()})

    def value(self, field: Field, value: object, path: str) -> object:
        registry = field.metadata.get("registry")
        if registry is not None and isinstance(field.default, tuple):
            if not isinstance(value, list):
                raise ConfigError(f"{path[:-1]} is {value!r}, not a list of mappings with a kind each")
            return tuple(self.member(registry, one, path) for one in value)
        if registry is not None:
            return self.member(registry, value, path)
        if isinstance(field.type, str):
            return from_dict(self.root, value)
        if dataclasses.is_dataclass(field.type):
            return self.part(field.type, value, path)
        return tuple(value) if isinstance(value, list) else value

    def member(self, registry: Registry, value: object, path: str) -> Part:
        """One kind of a union."""
        if not isinstance(value, dict) or "kind" not in value:
            raise ConfigError(f"{path[:-1]} is {value!r}, not a mapping with a kind")
        try:
            check_name(path[:-1], str(value["kind"]), registry)
        except ConfigError as e:
            raise NewerRecordError(str(e)) from e
        return self.part(registry[value["kind"]], value, path)
