"""Table text: the tidy frames of paper_tables as people read them: in a terminal, in Markdown, in LaTeX; and as CSV.

A block of rows is what one printed row of the paper is about: what is published, one's own number, their difference,
beneath one another, patch sizes across. What is missing is a dash. Where a block has nothing of one's own, or nothing
published, one row of dashes says so, however many metrics it has; where no block has, a note does.
"""

import re
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import pandas as pd
from rich.console import Console

from analysis.paper.comparison import EXACT
from analysis.report.sweep_table import COLUMNS, render_table, short

MISSING = "-"
HEADING_WIDTH = 16  # the least that a heading is given, so that most words fit [characters]
MINUS, TIE = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
HEADING = {"input_px": "{} px", "tokens": "{} tokens", "panel": "({})"}  # how a key is told where its value is not all
ACROSS = {"patch": "patch [px]", "input_px": "image [px]"}
LEFT = ("model", "metric", *ACROSS.values())  # columns of words
NOTES = {
    "*": "* a difference beyond the 95 % interval of seeds alone",
    "?": "? how far seeds lie apart is not known: one seed a patch size",
    "(": "(n) a mean over n runs",
}
UNSEEDED = "* of parameters: a difference that rounding does not explain"
NONE = "own: - (no run of one's own)"
LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {letter: f"\\{letter}" for letter in "&%$#_{}"}
)


def wide(frame: pd.DataFrame, width: int = 0) -> pd.DataFrame:
    """The table as text: columns model (the heading of a block, in its first row), metric where there are several,
    which number a row has ("published", "own", "difference") under the name of what is across, and a column for each
    value of that.

    frame: as paper_tables gives it.  width: of the terminal that headings are broken for [characters]; 0: not broken.
    Own numbers are "own (3)" where they are means over 3 runs."""
    if not frame.attrs["across"]:
        return _flat(frame)
    across, several = frame.attrs["across"], _several(frame)
    values = sorted(frame[across].unique(), reverse=across == "patch")
    names = ["model", *["metric"] * several, ACROSS[across], *map(str, values)]
    dashes = bool(frame["own"].notna().any())
    blocks = [(heading(its), _lines(its, values, several, dashes)) for its in _blocks(frame)]
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


def show(frame: pd.DataFrame, console: Console | None = None) -> None:
    """Print the table for a terminal, with what its marks mean below it; 80 columns where the output is no terminal."""
    console = console or Console(width=None if Console().is_terminal else COLUMNS)
    table = wide(frame, console.width)
    padded = [_padded(str(name), list(table[name])) for name in table]
    gap = " " * int(sum(len(name) + 2 for name, _ in padded) < console.width)
    table = pd.DataFrame({gap + name: [gap + cell for cell in cells] for name, cells in padded})
    console.print(frame.attrs["title"], style="bold", highlight=False, markup=False)
    render_table(table, console=console, as_is=True)
    for note in notes(frame):
        console.print(note, highlight=False, markup=False)
    console.print()


def markdown(frame: pd.DataFrame) -> str:
    """The table in Markdown (GitHub's), title above and notes below."""
    table = wide(frame)
    escaped = table.map(lambda text: re.sub(r"^-(?=\d)", MINUS, text).replace("|", r"\|").replace("*", r"\*"))
    rows = [list(map(str, table.columns)), _sides(table, "---", "---:"), *escaped.to_numpy().tolist()]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    head = f"**{frame.attrs['title']}**"
    below = [line for note in notes(frame) for line in ("", note.replace("*", r"\*"))]
    return "\n".join([head, "", *lines, *below]) + "\n"


def latex(frame: pd.DataFrame) -> str:
    r"""The table in LaTeX, a table environment with caption, label tab:NAME and notes; needs \usepackage{booktabs}."""
    table = wide(frame)
    body = []
    for number, row in enumerate(table.to_numpy().tolist()):
        if number and row[0]:
            body.append(r"\addlinespace")
        body.append(" & ".join(_latex_cell(cell) for cell in row) + r" \\")
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(frame.attrs['title'])}}}",
        rf"\label{{tab:{frame.attrs['name']}}}",
        rf"\begin{{tabular}}{{{''.join(_sides(table, 'l', 'r'))}}}",
        r"\toprule",
        " & ".join(_escaped(str(name)) for name in table.columns) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\smallskip{{\footnotesize {_escaped(note)}}}" for note in notes(frame)),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def csv(frame: pd.DataFrame) -> str:
    """The tidy frame itself as CSV, all digits; missing numbers are empty."""
    return frame.to_csv(index=False)


def notes(frame: pd.DataFrame) -> list[str]:
    """What stands below a table: where the published numbers are from, what its marks mean, and what one's own numbers
    rest on; a line each."""
    source = f"published: {frame.attrs['source']}"
    if frame["own"].isna().all():
        return [source, NONE]
    exact = frame["metric"].isin(EXACT)
    found = set(frame.loc[~exact, "mark"]) | ({"("} if (frame["seeds"] > 1).any() else set())
    below = [note for mark, note in NOTES.items() if mark in found]
    return [source, *below, *[UNSEEDED] * int("*" in set(frame.loc[exact, "mark"])), *frame.attrs["remarks"]]


def heading(its: pd.DataFrame) -> str:
    """What a block is about: the values of its keys but for those that all published rows have, and its label."""
    row, usual = its.iloc[0], its.attrs["usual"]
    keys = [key for key in its.attrs["rows"] if row[key] != usual.get(key)]
    told = [HEADING.get(key, "{}").format(row[key]) for key in [*keys, "label"] if row[key] != ""]
    return ", ".join(told).replace("), ", ") ")


def _blocks(frame: pd.DataFrame) -> list[pd.DataFrame]:
    blocks = [its for _, its in frame.groupby([*frame.attrs["rows"], "label"], sort=False)]
    for its in blocks:
        its.attrs = frame.attrs
    return blocks


def _several(frame: pd.DataFrame) -> bool:
    """Whether a row has to say its metric. Where headings have a task, that says it."""
    return frame["metric"].nunique() > 1 and "task" not in frame.attrs["rows"]


def _lines(its: pd.DataFrame, values: Sequence[Any], several: bool, dashes: bool) -> list[list[str]]:
    """The rows of a block: metric where there are several, which number it is, and its text at each value across.
    dashes: whether a row says that there is nothing of one's own."""
    across, before = its.attrs["across"], [""] * several
    has = [kind for kind in ("published", "own") if its[kind].notna().any()]
    lines = []
    for column, name in its.attrs["along"].items():
        facts = dict(zip(its[across], its[column], strict=True))
        lines.append([*before, name, *(_fact(facts[value]) if value in facts else MISSING for value in values)])
    if "published" not in has:
        lines.append([*before, "published", *[MISSING] * len(values)])
    for metric in its["metric"].unique():
        cells = its[its["metric"] == metric]
        for kind in [*has, *["difference"] * int(cells["difference"].notna().any())]:
            texts = dict(zip(cells[across], _texts(cells, kind), strict=True))
            name = _own(cells) if kind == "own" else kind
            told = [str(metric) if kind == has[0] else ""] * several
            lines.append([*told, name, *(texts.get(value, MISSING) for value in values)])
    if dashes and "own" not in has:
        lines.append([*before, "own", *[MISSING] * len(values)])
    return lines


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a number, nothing across."""
    table = {"model": [heading(its) for its in _blocks(frame)]}
    table |= {name: [_fact(value) for value in frame[column]] for column, name in frame.attrs["along"].items()}
    table |= {kind: _texts(frame, kind) for kind in ("published", "own", "difference")}
    return pd.DataFrame(table)


def _texts(cells: pd.DataFrame, kind: str) -> list[str]:
    """Numbers of one kind, of the table's digits; of a difference its sign and mark."""
    found = []
    for value, metric, mark in cells[[kind, "metric", "mark"]].to_numpy().tolist():
        # A difference from what is printed in whole numbers is to be seen.
        digits = cells.attrs["decimals"].get(metric, 1) + (kind != "published" and metric in EXACT)
        rounded = round(value, digits) + 0.0  # no -0.0
        number = f"{rounded:{'+' if kind == 'difference' and rounded else ''}.{digits}f}"
        found.append(MISSING if pd.isna(value) else number + (mark if kind == "difference" else ""))
    return found


def _own(cells: pd.DataFrame) -> str:
    """ "own (3)" where there are 3 runs behind each number."""
    seeds = cells.loc[cells["own"].notna(), "seeds"]
    if seeds.empty or seeds.max() <= 1:
        return "own"
    return f"own ({seeds.max()})" if seeds.nunique() == 1 else f"own ({seeds.min()}-{seeds.max()})"


def _fact(value: float) -> str:
    return short(value) if value >= 1e6 else f"{value:g}"


def _padded(name: str, cells: Sequence[str]) -> tuple[str, list[str]]:
    """A column of a terminal's table and its name, equally long; digits beneath digits: marks stand to their right."""
    words = name in LEFT
    marked = not words and any(cell.endswith(("*", "?")) for cell in cells)
    texts = [cell + " " * (marked and not cell.endswith(("*", "?"))) for cell in [name, *cells]]
    longest = max(map(len, texts))
    head, *rest = (text.ljust(longest) if words else text.rjust(longest) for text in texts)
    return head, rest


def _stacked(blocks: list[tuple[str, list[list[str]]]], names: list[str], left: int) -> pd.DataFrame:
    """For a narrow terminal: headings above the rows of their blocks, in one column of `left` characters with what
    would stand beside them."""
    rows = []
    for head, lines in blocks:
        rows += [[part, *[""] * (len(names) - 2)] for part in _wrapped(head, max(left, HEADING_WIDTH))]
        rows += [[f" {line[0]}", *line[1:]] for line in lines]
    return pd.DataFrame(rows, columns=names[1:])


def _room(columns: Sequence[Sequence[str]], width: int) -> int:
    """What a terminal leaves for headings beside these columns, set two blanks apart or, if need be, one."""
    widths = [len(_padded(name, cells)[0]) for name, *cells in columns]
    roomy, tight = (width - 1 - sum(widths) - gap * (len(widths) + 1) for gap in (2, 1))
    return roomy if roomy >= HEADING_WIDTH else tight


def _wrapped(head: str, width: int) -> list[str]:
    """A heading in lines, broken behind commas where that is enough."""
    tied = [part.replace(" ", TIE) if len(part) < width else part for part in head.split(", ")]
    return [line.replace(TIE, " ") for line in textwrap.wrap(", ".join(tied), width)]


def _sides(table: pd.DataFrame, left: str, right: str) -> list[str]:
    return [left if name in LEFT else right for name in table.columns]


def _latex_cell(text: str) -> str:
    """A number's sign as mathematics has it, a missing number as an en dash."""
    if text == MISSING:
        return "--"
    if text[:1] in ("+", "-") and text[1:2].isdigit():
        number = text.rstrip("*?")
        return f"${number}${text[len(number) :]}"
    return _escaped(text)


def _escaped(text: str) -> str:
    return text.translate(LATEX)
