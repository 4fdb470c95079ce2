"""Report of a sweep when its runs have ended: table, laws and figures, the page, and the runs that failed."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.report.output import print_wrapped
from experiments.launch.outcome import Outcome
from experiments.launch.progress_display import Console
from experiments.stages import last_stages
from scaling.config.experiment import ExperimentConfig
from scaling.engine.loggers import names_of
from scaling.errors import ConfigError
from scaling.runs.identity import recorded_id
from scaling.runs.record import LOG

if TYPE_CHECKING:
    from analysis.records.run_set import RunSet


def report(
    ordinary: list[ExperimentConfig],
    studies: dict[str, list[ExperimentConfig]],
    results: Path,
    done: set[str],
    loggers: str = "",
) -> None:
    """Print and write the table, laws and plot of the recipes' runs, each study's table and figure, and the page of all
    runs of the folder; the page alone where no run is done, and nothing where none was begun. Where nothing can be
    written, as in an archive, they are printed all the same, with a note. done: run_ids. loggers: names of those that
    are given what is written, as one run."""
    written: list[Path] = []
    wanted = {name: last_stages(runs) for name, runs in studies.items()}
    laws = [run.run_id for run in ordinary]

    from analysis.records.run_set import load

    if not done.intersection([*laws, *(run.run_id for its in wanted.values() for run in its)]):
        try:
            loaded = load(results)
        except ConfigError:  # a folder without a run: jobs were cancelled while they waited
            return
        _write_page(loaded, results, "")
        return
    from analysis.records.shared_weights import by_patch
    from analysis.report.law_files import REPORT
    from analysis.report.law_report import law_input
    from analysis.report.law_report import report as report_laws
    from analysis.report.output import NotWritten
    from analysis.report.sweep_table import print_sweep
    from analysis.studies.study_report import report as report_study
    from analysis.studies.study_table import StudyRun

    loaded = load(results)
    every = [*ordinary, *(run for its in studies.values() for run in its)]
    called = {run.run_id: recorded_id(run, results) for run in every}
    checklist = ""
    if done.intersection(laws):
        its = loaded.select(loaded.frame["run_id"].isin([called[run_id] for run_id in laws]))
        print_sweep(by_patch(its))
        try:
            paths = report_laws(law_input(with_others(loaded, its)), results / "analysis")
            checklist = "".join(path.read_text() for path in paths if path.name == REPORT)
            written += paths
        except NotWritten as e:
            elsewhere = f"python analysis/fit_laws.py --results {results} --out DIR"
            print_wrapped(f"laws and figures are not written: {e.reason}; `{elsewhere}` writes them elsewhere")
    for name, last in wanted.items():
        if done.intersection(run.run_id for run in last):
            planned = [
                StudyRun(
                    called[run.run_id],
                    run.model.backbone,
                    run.model.patch_size,
                    "" if run.schedule.epochs else run.model.resize or "",
                )
                for run in last
            ]
            try:
                written += report_study(loaded, name, planned, results / "analysis")
            except NotWritten as e:
                print_wrapped(f"{name}: table and figure are not written: {e.reason}")
    _write_page(loaded, results, checklist)
    if written and names_of(loggers):
        _log(loggers, results / "analysis", sorted({run.group for run in every}), written)


def _write_page(loaded: "RunSet", results: Path, checklist: str) -> None:
    """The page of the whole results folder. checklist: of its laws where it was just made, else ""."""
    from analysis.page.page import path_of
    from analysis.report.output import NotWritten
    from experiments.report import write_page

    try:
        write_page(path_of(results), results, loaded, known_checklist=checklist)
    except NotWritten as e:
        elsewhere = f"python experiments/report.py --results {results} --out FILE"
        print_wrapped(f"the page is not written: {e.reason}; `{elsewhere}` writes it elsewhere")


def _log(loggers: str, folder: Path, groups: list[str], written: list[Path]) -> None:
    """Give the files of the laws and studies to the loggers, as one run per folder and set of groups."""
    from scaling.engine.logged import close, log_files
    from scaling.engine.loggers import make_loggers
    from scaling.engine.trainer import hush

    hush()
    of = hashlib.sha256("\n".join([str(folder.absolute()), *groups]).encode()).hexdigest()[:8]
    made = make_loggers(loggers, folder, f"laws-{of}", "laws", {"groups": " ".join(groups)})
    try:
        log_files(made, written)
    finally:
        close(made, success=True)


def with_others(runs: "RunSet", its: "RunSet") -> "RunSet":
    """All runs of this sweep's groups, and of the other groups in the folder that a law can be fitted to: so the files
    in analysis/ cover everything that was trained, whichever sweep was the last."""
    from analysis.records.groups import FEWEST_PATCHES
    from analysis.records.run_frame import finished
    from analysis.records.shared_weights import by_patch

    patches = finished(by_patch(runs)).groupby("group")["patch"].nunique()
    enough = set(patches[patches >= FEWEST_PATCHES].index)
    return runs.select(runs.frame["group"].isin(enough | set(its.frame["group"])))


def report_failures(failed: dict[str, Outcome], results: Path, console: Console) -> int:
    """Print which runs failed, with the last lines of their logs. Returns the exit status."""
    for run_id, outcome in failed.items():
        console.line(f"FAILED {run_id}")
        console.line(f"    {outcome.text}")
        for line in last_lines(results / run_id / LOG):
            console.line(f"    {line}")
    if failed:
        console.line(f"{len(failed)} run(s) failed; the same command retries those without a record")
    return 1 if failed else 0


def last_lines(log: Path, count: int = 5) -> list[str]:
    try:
        return log.read_text(errors="replace").splitlines()[-count:]
    except OSError:
        return []
