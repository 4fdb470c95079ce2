"""Section: one part of the report page (results/report/index.html), and how its texts and data enter it safely."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import TypeAlias

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None


@dataclass(frozen=True)
class Section:
    """One part of the page, below its own heading of level 2 and in its table of contents.

    html: what the page writes as it is; texts from outside have passed `text`. Every control in it has a <label>, every
    figure an accessible name, and it is readable at a width of 360 px.
    script: the body of a JavaScript function of `root`, the element <section id="ID">, `data`, what the section's own
    data became, and `page`, the shared functions of page.js. It reaches its controls by root.querySelector, so names of
    two sections do not collide, and it loads nothing from anywhere.
    data: numbers and texts for the script; nan and infinity become null.
    """

    id: str  # letters, digits and -: the anchor
    title: str
    html: str
    script: str = ""
    data: Json = None


def text(value: object) -> str:
    """A text from outside (the name of a run, an error) as HTML, also within an attribute's quotation marks."""
    return escape(str(value), quote=True)


def as_json(value: Json) -> str:
    """JSON that is safe within a <script> element: no "<" is left in it, so no "</script>" and no "<!--" either."""
    return json.dumps(_finite(value), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def part(name: str) -> str:
    """The text of a file beside this one: HTML, CSS or JavaScript."""
    return (files("analysis.page") / name).read_text(encoding="utf-8")


def _finite(value: Json) -> Json:
    """The same, with null for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(one) for one in value]
    return value
