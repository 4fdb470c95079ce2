"""Tables of the report page as HTML: a caption, headings with scope, and numbers that a script can sort by."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from analysis.page.section import text


class Number(NamedTuple):
    """A number and how it is printed; nan is printed as a dash."""

    value: float
    text: str


Cell: TypeAlias = str | Number


def number(value: float, form: str = ",.4g") -> Number:
    """A number in a format of Python."""
    return Number(value, "\N{EN DASH}" if math.isnan(value) else format(value, form))


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table that scrolls within the page. Texts are escaped; the first cell of each row is its heading."""
    head = "".join(f'<th scope="col">{text(one)}</th>' for one in heads)
    body = "\n".join(f"<tr>{''.join(_cell(cell, not place) for place, cell in enumerate(row))}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table>'
        f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(cell: Cell, first: bool) -> str:
    if isinstance(cell, Number):
        value = "" if math.isnan(cell.value) else f"{cell.value:.10g}"
        return f'<td class="number" data-value="{value}">{text(cell.text)}</td>'
    return f'<th scope="row">{text(cell)}</th>' if first else f"<td>{text(cell)}</td>"
