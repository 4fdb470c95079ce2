"""edit(config, patch_size=4, lr=1e-3): a variant of a configuration, its fields given by name alone.

Names of fields are unique over the tree (but for the kinds of one union). A union is switched by its own name, as
head="upernet", or, where that is unambiguous, by a field that only another kind has, as embed_patch_size=16; a field of
that kind set to None switches back. Fields that both kinds have are carried over. Standard library only.
"""

import dataclasses
import difflib
import operator
from collections.abc import Callable, Collection, Iterator
from typing import cast

from scaling.config.experiment import ExperimentConfig
from scaling.config.fields import (
    Field,
    Kind,
    Part,
    Registry,
    SomePart,
    check_member,
    check_name,
    every_field,
    type_names,
)
from scaling.errors import ConfigError

Given = dict[str, object]


def make_config(**given: object) -> ExperimentConfig:
    """The default configuration with these fields. Raises ConfigError."""
    return edit(ExperimentConfig(), **given)


def edit(config: ExperimentConfig, **given: object) -> ExperimentConfig:
    """The configuration with other fields. given: a value for the name of a field, or a kind or a value for the name of
    a union; None for a field that does not apply changes nothing. Raises ConfigError for a field that does not exist,
    or not for this task."""
    return edit_where(config, given, frozenset())


def edit_where(config: ExperimentConfig, given: Given, optional: Collection[str]) -> ExperimentConfig:
    """The same as edit, but fields whose names are in optional are left out where they do not apply, and switch no
    union."""
    edit_of = _Edit(given, optional)
    changed: ExperimentConfig = edit_of.edited(config)
    for name in [name for name in given if name not in edit_of.used and name not in optional]:
        if given[name] is not None or name not in names_in(ExperimentConfig):
            raise _unknown(name, changed)
    return changed


def leaf_values(config: ExperimentConfig) -> dict[str, object]:
    """The values of all fields by their names alone; of a union its kind too."""
    found: dict[str, object] = {}
    parts: list[Part] = [config]
    for part in parts:
        for f in dataclasses.fields(part):
            value = getattr(part, f.name)
            if f.metadata.get("registry") is not None:
                found[f.name] = [one.kind for one in value] if isinstance(value, tuple) else value.kind
            elif not dataclasses.is_dataclass(value):
                found[f.name] = value
            if dataclasses.is_dataclass(value) and not isinstance(value, type) and f.name != "config":
                parts.append(value)
    return found


def value_of(config: ExperimentConfig, name: str) -> object:
    """The value of a field by its name alone; of a union the kind. None where this configuration does not have it."""
    return leaf_values(config).get(name)


def fields_of(part: Part | type[Part]) -> Iterator[Field]:
    """The dataclass fields of a part or a class that are values, not further parts."""
    return (f for f in dataclasses.fields(part) if not _is_part(f))


def names_in(part: Part | type[Part]) -> set[str]:
    """The names that `edit` knows in a part or a class and what it holds: fields, and unions by their own names."""
    found = set()
    for f in dataclasses.fields(part):
        registry = f.metadata.get("registry")
        if registry is not None:
            found |= {f.name}.union(*(names_in(member) for member in registry.values()))
        elif dataclasses.is_dataclass(f.type):
            found |= names_in(f.type)
        else:
            found.add(f.name)
    return found


def _is_part(field: Field) -> bool:
    return field.metadata.get("registry") is not None or dataclasses.is_dataclass(field.type)


class _Edit:
    """One edit. used: the names of what is given that have been applied."""

    def __init__(self, given: Given, optional: Collection[str]) -> None:
        self.given, self.optional, self.used = given, optional, set[str]()

    def edited(self, part: SomePart) -> SomePart:
        changes: Given = {}
        for f in every_field(type(part)):
            value = getattr(part, f.name)
            if f.metadata.get("registry") is not None:
                changes[f.name] = self.switched(f, value)
            elif dataclasses.is_dataclass(f.type):
                changes[f.name] = self.edited(value)
            elif f.name in self.given:
                self.used.add(f.name)
                changes[f.name] = self.given[f.name]
            elif f.metadata.get("follows") in self.given:
                changes[f.name] = f.default
        changes = {name: value for name, value in changes.items() if value is not getattr(part, name)}
        return dataclasses.replace(part, **changes) if changes else part

    def switched(self, field: Field, value: Kind | tuple[Kind, ...]) -> Kind | tuple[Kind, ...]:
        """The value of a union: of the kind that is asked for, with the fields that are given."""
        registry, asked = field.metadata["registry"], self.given.get(field.name)
        if field.name in self.given:
            self.used.add(field.name)
            if not isinstance(asked, str):
                check_member(field, asked)
                value = cast(Kind | tuple[Kind, ...], asked)  # or check_member had raised
        if isinstance(value, tuple):
            return self.several(field, value, asked)
        kind = value.kind
        if isinstance(asked, str):
            check_name(field.name, asked, registry)
            kind = asked
        elif asked is None and field.metadata.get("by_leaf"):
            kind = self.kind_for(registry, kind)
        if kind == value.kind:
            return self.edited(value)
        return self.made(registry[kind], value)

    def several(self, field: Field, value: tuple[Kind, ...], asked: object) -> tuple[Kind, ...]:
        """The members of a union of several: of the kinds that are asked for, separated by commas, with the fields that
        are given. A field without a default adds its kind."""
        registry, present = field.metadata["registry"], {one.kind: one for one in value}
        kinds = asked.split(",") if isinstance(asked, str) else [one.kind for one in value]
        for kind, cls in registry.items() if field.metadata.get("by_leaf") else ():
            needed = [f.name for f in fields_of(cls) if f.default is dataclasses.MISSING]
            if kind not in kinds and any(self.given.get(name) is not None for name in needed):
                kinds.append(kind)
        for kind in kinds:
            check_name(field.name, kind, registry)
        if asked is None and len(set(kinds)) < len(value):  # one kind twice, which the configuration refuses
            return value
        changed = tuple(
            self.edited(present[kind]) if kind in present else self.made(registry[kind], registry[kind])
            for kind in kinds
        )
        same = len(changed) == len(value) and all(map(operator.is_, changed, value))
        return value if same else changed

    def kind_for(self, registry: Registry, present: str) -> str:
        """The kind of a union that has the given fields. A field that is None, and may not be, excludes the kinds that
        have it. Where several are left, the present one stays, unless it only retains what another one uses."""
        members = {kind: {f.name: f for f in fields_of(cls)} for kind, cls in registry.items()}
        every = {name: f for fields in members.values() for name, f in fields.items()}
        mine = [name for name in self.given if name in every]
        refused = {name for name in mine if self.given[name] is None and not type_names(every[name].type)[1]}
        shared = set.intersection(*map(set, members.values()))
        wanted = [name for name in mine if name not in refused and (name in shared or name not in self.optional)]
        self.used |= refused
        fit = [kind for kind, fields in members.items() if set(wanted) <= set(fields) and not refused & set(fields)]
        if not fit:
            raise ConfigError(f"{' and '.join(wanted)} exclude each other: they are of different kinds")
        if not mine:
            return present

        def uses(kind: str) -> int:
            return sum(not members[kind][name].metadata.get("retained") for name in wanted)

        most = max(map(uses, fit))
        best = [kind for kind in fit if uses(kind) == most]
        return present if present in best else best[0]

    def made(self, cls: type[Kind], before: Kind) -> Kind:
        """A value of another kind, with what it shares with the one before. Raises ConfigError where something is
        missing."""
        values: Given = {}
        for f in dataclasses.fields(cls):
            if f.name in self.given and not _is_part(f):
                self.used.add(f.name)
                values[f.name] = self.given[f.name]
            elif hasattr(before, f.name) and _fits(f, getattr(before, f.name)):
                values[f.name] = getattr(before, f.name)
            elif f.default is dataclasses.MISSING:
                raise ConfigError(f"{cls.kind} needs {f.name}: set --{f.name.replace('_', '-')}")
        make: Callable[..., Kind] = cls  # which checks the types of its fields
        return self.edited(make(**values))


def _fits(field: Field, value: object) -> bool:
    registry = field.metadata.get("registry")
    return registry is None or isinstance(value, tuple(registry.values()))


def _unknown(name: str, config: ExperimentConfig) -> ConfigError:
    """Why a name is not a field of this configuration."""
    everywhere = names_in(ExperimentConfig)
    if name in everywhere:
        tasks = next(f for f in dataclasses.fields(ExperimentConfig) if f.name == "task").metadata["registry"]
        if any(name in names_in(task) for task in tasks.values()):
            own = ", ".join(sorted(_own_names(config.task)))
            return ConfigError(f"{name} is not an option of the task {config.task.kind}, which has: {own}")
        return ConfigError(f"{name} does not apply to {_holder(name, config)}")
    near = difflib.get_close_matches(name, everywhere, n=1)
    return ConfigError(f"unknown configuration field {name!r}; " + (f"did you mean {near[0]}?" if near else ALL))


ALL = "--help-all and docs/config.md list all fields"


def _own_names(part: Part) -> set[str]:
    return names_in(type(part))


def _holder(name: str, config: ExperimentConfig) -> str:
    """The union, and its present kind, that has another kind with this field."""
    parts = [config, *(getattr(config, f.name) for f in dataclasses.fields(config))]
    for part in filter(dataclasses.is_dataclass, parts):
        for f in dataclasses.fields(part):
            registry = f.metadata.get("registry") or {}
            for kind, member in registry.items():
                if name in names_in(member):
                    present = getattr(part, f.name)
                    kinds = ",".join(one.kind for one in (present if isinstance(present, tuple) else (present,)))
                    return f"{f.name} {kinds}; choose --{f.name.replace('_', '-')} {kind}"
    return "this configuration"
