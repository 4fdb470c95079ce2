"""Wide tables: the cells of a paper table as text, patch sizes across.

A block of rows corresponds to one printed row of the paper: published numbers, own numbers and their differences below
each other. Missing numbers are dashes. A block without own or without published numbers has one row of dashes; where no
block has own numbers, a note replaces them.
"""

import textwrap
from collections.abc import Sequence
from itertools import zip_longest

import pandas as pd

from analysis.paper.comparison import EXACT
from analysis.paper.layout import PaperTable, TableSpec
from analysis.report.sweep_table import short

MISSING = "-"
HEADING_WIDTH = 16  # smallest width of a heading, which most words fit [characters]
TIE = "\N{NO-BREAK SPACE}"
HEADING = {"input_px": "{} px", "tokens": "{} tokens", "panel": "({})"}  # how the value of a key is printed
ACROSS = {"patch": "patch [px]", "input_px": "image [px]"}
FACTS = {"length": "tokens", "flops": "FLOPs", "embed_dim": "width", "mlp_dim": "MLP", "blocks": "blocks"}
LEFT = ("model", "metric", *ACROSS.values())  # text columns
NOTES = {
    "*": "* exceeds the 95 % interval of a difference under seed noise alone",
    "?": "? seed noise unknown: one seed per patch size",
    "(": "(n) mean over n runs",
}
UNSEEDED = "* for parameters: a difference larger than rounding"
NONE = "own: - (no own runs)"


def wide(table: PaperTable, width: int = 0) -> pd.DataFrame:
    """The table as text: columns model (the heading of a block, in its first row), metric where there are several, the
    kind of number ("published", "own", "difference") under the name of the variable across, and a column per value.

    width: of the terminal, to which headings are wrapped [characters]; 0: no wrapping.  Own numbers are labelled
    "own (3)" where they are means over 3 runs."""
    frame, spec = table.frame, table.spec
    if not spec.across:
        return _flat(table)
    across, several = spec.across, _several(table)
    values = sorted(frame[across].unique(), reverse=across == "patch")
    names = ["model", *["metric"] * several, ACROSS[across], *map(str, values)]
    dashes = bool(frame["own"].notna().any())
    blocks = [(heading(its, spec), _lines(its, spec, values, several, dashes)) for its in _blocks(table)]
    columns = list(zip(names[1:], *(line for _, lines in blocks for line in lines), strict=True))
    left = _room(columns, width) if width else 0
    if width and left < HEADING_WIDTH:
        return _stacked(blocks, names, left + max(map(len, columns[0])) + 1)
    rows = []
    for head, lines in blocks:
        parts = _wrapped(head, left) if width else [head]
        for part, line in zip_longest(parts, lines):
            rows.append([part or "", *(line or [""] * (len(names) - 1))])
    return pd.DataFrame(rows, columns=names)


def notes(table: PaperTable) -> list[str]:
    """The notes below a table, a line each: the source of published numbers, the meaning of marks, and remarks on own
    numbers."""
    frame, source = table.frame, f"published: {table.spec.source}"
    if frame["own"].isna().all():
        return [source, NONE]
    exact = frame["metric"].isin(EXACT)
    found = set(frame.loc[~exact, "mark"]) | ({"("} if (frame["seeds"] > 1).any() else set())
    below = [note for mark, note in NOTES.items() if mark in found]
    return [source, *below, *[UNSEEDED] * int("*" in set(frame.loc[exact, "mark"])), *table.spec.remarks]


def heading(its: pd.DataFrame, spec: TableSpec) -> str:
    """The heading of a block: the values of its keys except for those that all published rows have, and its label."""
    row = its.iloc[0]
    keys = [key for key in spec.rows if row[key] != spec.usual.get(key)]
    words = [HEADING.get(key, "{}").format(row[key]) for key in [*keys, "label"] if row[key] != ""]
    return ", ".join(words).replace("), ", ") ")


def _blocks(table: PaperTable) -> list[pd.DataFrame]:
    return [its for _, its in table.frame.groupby([*table.spec.rows, "label"], sort=False)]


def _several(table: PaperTable) -> bool:
    """Whether rows name their metric. A heading with the task makes that unnecessary."""
    return table.frame["metric"].nunique() > 1 and "task" not in table.spec.rows


def _lines(
    its: pd.DataFrame, spec: TableSpec, values: Sequence[object], several: bool, dashes: bool
) -> list[list[str]]:
    """The rows of a block: metric where there are several, kind of number, and its text at each value across.
    dashes: whether a block without own numbers has a row of dashes."""
    across, before = spec.across, [""] * several
    has = [kind for kind in ("published", "own") if its[kind].notna().any()]
    lines = []
    for column in spec.along:
        facts = dict(zip(its[across], its[column], strict=True))
        lines.append(
            [
                *before,
                FACTS.get(column, column),
                *(_fact(facts[value]) if value in facts else MISSING for value in values),
            ]
        )
    if "published" not in has:
        lines.append([*before, "published", *[MISSING] * len(values)])
    for metric in its["metric"].unique():
        cells = its[its["metric"] == metric]
        for kind in [*has, *["difference"] * int(cells["difference"].notna().any())]:
            texts = dict(zip(cells[across], _texts(cells, kind, spec), strict=True))
            name = _own(cells) if kind == "own" else kind
            words = [str(metric) if kind == has[0] else ""] * several
            lines.append([*words, name, *(texts.get(value, MISSING) for value in values)])
    if dashes and "own" not in has:
        lines.append([*before, "own", *[MISSING] * len(values)])
    return lines


def _flat(table: PaperTable) -> pd.DataFrame:
    """A row per number, nothing across."""
    frame, spec = table.frame, table.spec
    columns = {"model": [heading(its, spec) for its in _blocks(table)]}
    columns |= {FACTS.get(column, column): [_fact(value) for value in frame[column]] for column in spec.along}
    columns |= {kind: _texts(frame, kind, spec) for kind in ("published", "own", "difference")}
    return pd.DataFrame(columns)


def _texts(cells: pd.DataFrame, kind: str, spec: TableSpec) -> list[str]:
    """Numbers of one kind with the table's decimals; differences with sign and mark."""
    found = []
    for value, metric, mark in cells[[kind, "metric", "mark"]].to_numpy().tolist():
        # Differences from rounded whole numbers need a decimal to be visible.
        digits = spec.decimals.get(metric, 1) + (kind != "published" and metric in EXACT)
        rounded = round(value, digits) + 0.0  # no -0.0
        number = f"{rounded:{'+' if kind == 'difference' and rounded else ''}.{digits}f}"
        found.append(MISSING if pd.isna(value) else number + (mark if kind == "difference" else ""))
    return found


def _own(cells: pd.DataFrame) -> str:
    """ "own (3)" where each number is a mean over 3 runs."""
    seeds = cells.loc[cells["own"].notna(), "seeds"]
    if seeds.empty or seeds.max() <= 1:
        return "own"
    return f"own ({seeds.max()})" if seeds.nunique() == 1 else f"own ({seeds.min()}-{seeds.max()})"


def _fact(value: float) -> str:
    return short(value) if value >= 1e6 else f"{value:g}"


def _stacked(blocks: list[tuple[str, list[list[str]]]], names: list[str], left: int) -> pd.DataFrame:
    """For a narrow terminal: headings above the rows of their blocks, in one column of `left` characters together with
    the column that would be to the right of them."""
    rows = []
    for head, lines in blocks:
        rows += [[part, *[""] * (len(names) - 2)] for part in _wrapped(head, max(left, HEADING_WIDTH))]
        rows += [[f" {line[0]}", *line[1:]] for line in lines]
    return pd.DataFrame(rows, columns=names[1:])


def _room(columns: Sequence[Sequence[str]], width: int) -> int:
    """The width left for headings beside these columns, which are two blanks apart or, if necessary, one."""
    widths = [len(padded(name, cells)[0]) for name, *cells in columns]
    roomy, tight = (width - 1 - sum(widths) - gap * (len(widths) + 1) for gap in (2, 1))
    return roomy if roomy >= HEADING_WIDTH else tight


def _wrapped(head: str, width: int) -> list[str]:
    """A heading in lines, broken after commas where possible."""
    tied = [part.replace(" ", TIE) if len(part) < width else part for part in head.split(", ")]
    return [line.replace(TIE, " ") for line in textwrap.wrap(", ".join(tied), width)]


def padded(name: str, cells: Sequence[str]) -> tuple[str, list[str]]:
    """A column of a terminal's table and its name, padded to equal length, with digits aligned before the marks."""
    words = name in LEFT
    marked = not words and any(cell.endswith(("*", "?")) for cell in cells)
    texts = [cell + " " * (marked and not cell.endswith(("*", "?"))) for cell in [name, *cells]]
    longest = max(map(len, texts))
    head, *rest = (text.ljust(longest) if words else text.rjust(longest) for text in texts)
    return head, rest
