"""Law files: what a law report writes, by file name: laws and tables as text, figures as pictures."""

from collections.abc import Sequence

import pandas as pd

from analysis.fitting.joint import JointLaw
from analysis.fitting.model import DEFAULT_FORMS
from analysis.paper import figures
from analysis.paper.layout import PaperTable
from analysis.paper.tables import all_tables
from analysis.plots import style
from analysis.plots.frontier import frontier_figure
from analysis.plots.laws import law_figure
from analysis.records.run_frame import PATCHES, above_zero, finished
from analysis.records.run_set import RunSet
from analysis.records.shared_weights import by_patch
from analysis.report.budget_section import budget_section
from analysis.report.checklist import checklist
from analysis.report.joint_table import joint_frame
from analysis.report.law_table import GroupLaw, laws_frame
from analysis.report.text_tables import csv, latex, markdown

LAW_FIGURES = {"tokens": "law_tokens", "flops_per_image": "law_flops"}  # figures besides that of patch size
REPORT = "report.md"  # the checklist and the budget
TABLES, FIGURES = "tables", "figures"  # folders of the paper's tables and figures


def law_files(
    runs: RunSet | None, laws: Sequence[GroupLaw], joint: Sequence[JointLaw], forms: Sequence[str], published: bool
) -> dict[str, bytes]:
    """All files of a report. published: also the paper's tables and figures without own numbers."""
    files = {"laws.csv": laws_frame(laws).to_csv(index=False).encode()}
    if joint:
        files["joint_laws.csv"] = joint_frame(joint).to_csv(index=False).encode()
    files[REPORT] = "\n".join([checklist(laws), *budget_section(runs, laws)]).encode()
    if runs is not None and not (frame := above_zero(finished(by_patch(runs)))).empty:
        files |= _own_figures(frame, [form for form in forms if form in DEFAULT_FORMS])
    return files | _paper_files(runs, published)


def _own_figures(frame: pd.DataFrame, forms: Sequence[str]) -> dict[str, bytes]:
    """The laws of own runs over patch size, tokens and FLOPs, and accuracy against cost."""
    files = style.files("law", law_figure(frame, forms))
    for column, stem in LAW_FIGURES.items():
        if len(known := frame[frame[column] > 0]):
            files |= style.files(stem, law_figure(known, forms, x=column))
    if frame["flops_per_image"].gt(0).any():
        files |= style.files("frontier", frontier_figure(frame))
    if frame["wall_time"].gt(0).any():
        files |= style.files("frontier_seconds", frontier_figure(frame, cost="wall_time"))
    return files


def _paper_files(runs: RunSet | None, published: bool) -> dict[str, bytes]:
    """The paper's tables and figures with own numbers: all where published, else only tables that compare some own run
    with a published number. Runs from a CSV file are not compared: their settings are unknown."""
    files: dict[str, bytes] = {}
    tables = all_tables(None if runs is None or runs.from_csv else _of_one_patch(runs.frame))
    shown = {name: table for name, table in tables.items() if published or _is_compared(table)}
    for name, table in shown.items():
        for ending, text in (("md", markdown), ("tex", latex), ("csv", csv)):
            files[f"{TABLES}/{name}.{ending}"] = text(table).encode()
    if published:
        numbers = {name: tables[name].frame for name in ("figure1", "figure2", "figure3", "figure4")}
        drawn = {
            "figure1": figures.figure1(numbers["figure1"]),
            "figure1_honest": figures.figure1_honest(numbers["figure1"]),
            "figure2": figures.figure2(numbers["figure2"]),
            "figure3": figures.figure3(numbers["figure3"]),
            "figure4": figures.figure4(numbers["figure4"]),
        }
        for name, figure in drawn.items():
            files |= style.files(f"{FIGURES}/{name}", figure)
    return files


def _of_one_patch(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs of one patch size, as the paper's are."""
    return frame[frame[PATCHES] == ""]


def _is_compared(table: PaperTable) -> bool:
    """Whether some own run is compared with a published number."""
    return bool((table.frame["difference"].notna() & (table.frame["seeds"] > 0)).any())
