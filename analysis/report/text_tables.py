"""Text tables: the tables of analysis/paper/tables.py for a terminal, in Markdown, in LaTeX and as CSV."""

import re

import pandas as pd
from rich.console import Console

from analysis.paper.layout import PaperTable
from analysis.report.sweep_table import COLUMNS, render_table
from analysis.report.wide_table import LEFT, MISSING, notes, padded, wide

MINUS = "\N{MINUS SIGN}"
LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {letter: f"\\{letter}" for letter in "&%$#_{}"}
)


def show(table: PaperTable, console: Console | None = None) -> None:
    """Print the table with its notes; 80 columns wide where the output is not a terminal."""
    console = console or Console(width=None if Console().is_terminal else COLUMNS)
    cells = wide(table, console.width)
    columns = [padded(str(name), list(cells[name])) for name in cells]
    gap = " " * int(sum(len(name) + 2 for name, _ in columns) < console.width)
    shown = pd.DataFrame({gap + name: [gap + cell for cell in texts] for name, texts in columns})
    console.print(table.spec.heading, style="bold", highlight=False, markup=False)
    render_table(shown, console=console, as_is=True)
    for note in notes(table):
        console.print(note, highlight=False, markup=False)
    console.print()


def markdown(table: PaperTable) -> str:
    """The table in GitHub's Markdown, with title and notes."""
    cells = wide(table)
    escaped = cells.map(lambda text: re.sub(r"^-(?=\d)", MINUS, text).replace("|", r"\|").replace("*", r"\*"))
    rows = [list(map(str, cells.columns)), _sides(cells, "---", "---:"), *escaped.to_numpy().tolist()]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    head = f"**{table.spec.heading}**"
    below = [line for note in notes(table) for line in ("", note.replace("*", r"\*"))]
    return "\n".join([head, "", *lines, *below]) + "\n"


def latex(table: PaperTable) -> str:
    r"""The table in LaTeX, a table environment with caption, label tab:NAME and notes; needs \usepackage{booktabs}."""
    cells = wide(table)
    body = []
    for number, row in enumerate(cells.to_numpy().tolist()):
        if number and row[0]:
            body.append(r"\addlinespace")
        body.append(" & ".join(_latex_cell(cell) for cell in row) + r" \\")
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(table.spec.heading)}}}",
        rf"\label{{tab:{table.spec.name}}}",
        rf"\begin{{tabular}}{{{''.join(_sides(cells, 'l', 'r'))}}}",
        r"\toprule",
        " & ".join(_escaped(str(name)) for name in cells.columns) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\smallskip{{\footnotesize {_escaped(note)}}}" for note in notes(table)),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def csv(table: PaperTable) -> str:
    """The tidy frame as CSV with all digits; missing numbers are empty."""
    return table.frame.to_csv(index=False)


def _sides(cells: pd.DataFrame, left: str, right: str) -> list[str]:
    return [left if name in LEFT else right for name in cells.columns]


def _latex_cell(text: str) -> str:
    """A signed number in math mode, a missing number as an en dash."""
    if text == MISSING:
        return "--"
    if text[:1] in ("+", "-") and text[1:2].isdigit():
        number = text.rstrip("*?")
        return f"${number}${text[len(number) :]}"
    return _escaped(text)


def _escaped(text: str) -> str:
    return text.translate(LATEX)
