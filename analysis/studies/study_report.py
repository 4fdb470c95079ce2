"""The report of a study: its tables, CSV files and figure. What each kind shows is in reports.py; the recipes are in
experiments/studies/catalogue.py. Without torch.
"""

from collections.abc import Sequence
from pathlib import Path

from analysis.plots import style
from analysis.records.run_set import RunSet
from analysis.report.output import counted, print_wrapped, write_files
from analysis.studies.reports import REPORTS
from analysis.studies.study_runs import StudyRuns
from analysis.studies.study_table import StudyRun, study_table


def report(runs: RunSet, name: str, planned: Sequence[StudyRun], out: Path) -> list[Path]:
    """Print a study's tables and write them and its figure to out. Returns the paths that it wrote. A study's name may
    have its data set as prefix: shapes.table5.

    planned: the study's runs, of multi-stage training the last stages. Raises ConfigError where out cannot be written.
    Writes nothing where none of the runs has finished."""
    _print_left_out(runs, name, planned)
    table = study_table(runs.frame, planned)
    if table.empty:
        print(f"{name}: none of {counted(len(planned), 'run')} has finished")
        return []
    study = StudyRuns(name, runs, planned, table)
    shown = REPORTS[study.kind](study)
    if shown is None:
        return []
    stem = name.replace(".", "_")
    files = {f"{stem}{end}.csv": found.to_csv(index=False).encode() for end, found in shown.tables.items()}
    paths = write_files(out, files | style.files(stem, shown.figure))
    for path in paths:
        print(f"wrote {path}")
    return paths


def _print_left_out(runs: RunSet, name: str, planned: Sequence[StudyRun]) -> None:
    """Print which of the study's runs are excluded, and why."""
    frame = runs.frame
    failed = frame[frame["status"] == "failed"].set_index("run_id")["failure"]
    corrupt = {one.folder: one.reason for one in runs.corrupt}
    done = set(runs.finished["run_id"])
    for run_id in (run.run_id for run in planned):
        if run_id in failed.index:
            print_wrapped(f"{name}: excluded, failed: {run_id} ({failed[run_id]})")
        elif run_id in corrupt:
            print_wrapped(f"{name}: excluded, corrupt: {corrupt[run_id]}")
        elif run_id not in done:
            print_wrapped(f"{name}: excluded, not finished: {run_id}")
