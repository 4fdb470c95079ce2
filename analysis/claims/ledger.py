"""The ledger as data: sources, studies and claims from the YAML files of this folder, read strictly.

A claim names a study and takes rule, scope and command from it where it has none of its own. Its kind is
"arithmetic", with an estimate and the values that the claim predicts; "study", with the same where shipped measurements
address it, or else with a command; or "not testable", with a reason.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import NamedTuple, TypeVar

import yaml

from analysis.claims.estimates import ESTIMATES, ON_CIFAR10
from analysis.claims.verdict import Estimate, Range, Verdict, decide_all
from scaling.errors import ConfigError

FOLDER = Path(__file__).parent
SOURCES, STUDIES = "sources.yaml", "studies.yaml"
KINDS = ("arithmetic", "study", "not testable")
TOPICS = (
    "patch law and cost",
    "memory and hardware",
    "positions",
    "embeddings",
    "one model for all patches",
    "order and schedules",
    "stability and norms",
    "packing",
)
ID = re.compile(r"[A-Z]\d+[a-z]?")  # letter of the source, number of the claim, letter of its part
Row = TypeVar("Row")


@dataclass(frozen=True)
class Source:
    """A text that claims are from."""

    id: str
    title: str
    file: str  # of this folder, with its claims
    note: str


@dataclass(frozen=True)
class Study:
    """What decides a group of claims."""

    id: str
    question: str
    rule: str
    scope: str
    command: str = ""


@dataclass(frozen=True)
class Claim:
    """One statement, or one part of it. lines: of the source text, or sections of the paper."""

    id: str
    lines: str
    topic: str
    claim: str
    kind: str
    study: Study
    expectation: str
    rule: str
    scope: str
    estimate: str = ""  # name in ESTIMATES
    claimed: Range | None = None
    margin: float = 0.0
    unit: str = ""
    planned: bool = False  # the rule was written for this claim before the numbers were known
    command: str = ""
    reason: str = ""
    note: str = ""

    @property
    def source(self) -> str:
        """The letter of its source."""
        return self.id[0]


@dataclass(frozen=True)
class Ledger:
    """All claims, in the order of their sources."""

    sources: tuple[Source, ...]
    studies: tuple[Study, ...]
    claims: tuple[Claim, ...]


class OnCifar10(NamedTuple):
    """Estimates and verdict of a claim by the same study on CIFAR-10, by the same rule."""

    estimates: tuple[Estimate, ...]
    verdict: Verdict


@dataclass(frozen=True)
class Assessed:
    """A claim with its estimates and verdict."""

    claim: Claim
    estimates: tuple[Estimate, ...]
    verdict: Verdict
    on_cifar10: OnCifar10 | None = None  # None: not measured there, or there is one verdict for both data sets


def assess(claim: Claim) -> Assessed:
    """The estimates of a claim, and what they decide."""
    if claim.claimed is None:
        return Assessed(claim, (), Verdict.NOT_TESTABLE if claim.reason else Verdict.NOT_RUN)
    found = tuple(ESTIMATES[claim.estimate]())
    on_cifar10 = None
    if claim.estimate in ON_CIFAR10:
        there = tuple(ON_CIFAR10[claim.estimate]())
        on_cifar10 = OnCifar10(there, decide_all(there, claim.claimed, claim.margin))
    return Assessed(claim, found, decide_all(found, claim.claimed, claim.margin), on_cifar10)


def load(folder: Path = FOLDER) -> Ledger:
    """The ledger in sources.yaml, studies.yaml and, for each source, the file that sources.yaml names. Raises
    ConfigError, in one line with the file and the row, for whatever is incomplete, unknown or ambiguous."""
    sources = tuple(_made(Source, row, folder / SOURCES) for row in _rows(folder / SOURCES))
    studies = {}
    for row in _rows(folder / STUDIES):
        study = _made(Study, row, folder / STUDIES)
        studies[study.id] = study
    claims = []
    for source in sources:
        claims += [_claim(row, studies, source.id, folder / source.file) for row in _rows(folder / source.file)]
    ids = [claim.id for claim in claims]
    if twice := sorted({one for one in ids if ids.count(one) > 1}):
        raise ConfigError(f"{folder}: claim {twice[0]} is there twice; give each a number or a part of its own")
    return Ledger(sources, tuple(studies.values()), tuple(claims))


def _rows(file: Path) -> list[dict[str, object]]:
    """The rows of a YAML file: a list of mappings."""
    try:
        held = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"cannot read {file} ({getattr(e, 'strerror', None) or e}); restore the file") from e
    except yaml.YAMLError as e:
        raise ConfigError(f"{file} is not YAML: {' '.join(str(e).split())}") from e
    if not isinstance(held, list) or not all(isinstance(row, dict) for row in held):
        raise ConfigError(f"{file} is not a list of mappings; begin each row with '- id:'")
    return [{str(name): value for name, value in row.items()} for row in held]


def _made(kind: type[Row], row: Mapping[str, object], file: Path) -> Row:
    """A row as one of the dataclasses of this file, with all of its fields of the right type."""
    where = f"{file}, row {row.get('id', '?')}"
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(row) - set(known)):
        raise ConfigError(f"{where}: no field is called {unknown[0]}; there are: {', '.join(known)}")
    for name, field in known.items():
        if field.default is MISSING and name not in row:
            raise ConfigError(f"{where}: {name} is missing; add it")
        if name in row and isinstance(field.type, type) and not _is(row[name], field.type):
            raise ConfigError(f"{where}: {name} is {row[name]!r}, not {field.type.__name__}")
        if row.get(name) == "" or (isinstance(row.get(name), str) and "\n" in str(row[name])):
            raise ConfigError(f"{where}: {name} is empty or has several lines; write one line, or leave it out")
    return kind(**row)


def _is(value: object, kind: type) -> bool:
    """Whether a value of YAML has a type; numbers without a point are also float, true is no number."""
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _claim(row: dict[str, object], studies: Mapping[str, Study], source: str, file: Path) -> Claim:
    where = f"{file}, row {row.get('id', '?')}"
    study = studies.get(str(row.get("study")))
    if study is None:
        raise ConfigError(f"{where}: no study is called {row.get('study')}; there are: {', '.join(studies)}")
    own = dict(row) | {"study": study, "claimed": _range(row["claimed"], where) if "claimed" in row else None}
    for name in ("rule", "scope"):
        own.setdefault(name, getattr(study, name))
    if not {"estimate", "reason", "command"} & set(row):
        own["command"] = study.command
    claim = _made(Claim, {name: value for name, value in own.items() if value is not None}, file)
    if not ID.fullmatch(claim.id) or claim.source != source:
        raise ConfigError(f"{where}: the id is not like {source}12 or {source}12b")
    if problem := _problem(claim):
        raise ConfigError(f"{where}: {problem}")
    return claim


def _range(value: object, where: str) -> Range:
    ends = value if isinstance(value, list) else []
    if len(ends) != 2 or not all(_is(end, float) and not math.isnan(end) for end in ends) or ends[0] > ends[1]:
        raise ConfigError(f"{where}: claimed is {value!r}; write [low, high], with -.inf or .inf for no end")
    return Range(float(ends[0]), float(ends[1]))


def _problem(claim: Claim) -> str:
    """What is incomplete or ambiguous in a claim; empty: nothing."""
    if claim.kind not in KINDS:
        return f"kind is {claim.kind}; choose from: {', '.join(KINDS)}"
    if claim.topic not in TOPICS:
        return f"topic is {claim.topic}; choose from: {', '.join(TOPICS)}"
    if claim.estimate and claim.estimate not in ESTIMATES:
        return f"no estimate is called {claim.estimate}; there are: {', '.join(ESTIMATES)}"
    if bool(claim.estimate) != (claim.claimed is not None):
        return "estimate and claimed go together"
    if claim.margin < 0:
        return "margin is negative"
    given = [name for name in ("estimate", "command", "reason") if getattr(claim, name)]
    wanted = {"arithmetic": ["estimate"], "not testable": ["reason"]}.get(claim.kind)
    if wanted and given != wanted:
        return f"a claim of kind {claim.kind} has {wanted[0]} and neither of the others, this one has {given or 'none'}"
    if given not in (["estimate"], ["command"], ["reason"]):
        return "a study has either an estimate or a command"
    return ""
