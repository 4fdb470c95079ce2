"""Fit the patch-size laws to a results folder and to the paper, print them in one table, and write what they rest on.

python analysis/fit_laws.py --results results
python analysis/fit_laws.py --published          # the laws, tables and figures of arXiv 2502.03738, without runs too
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__" and __package__ in (None, ""):  # as a script: analysis/ is on the path, its parent may not be
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from analysis.report.output import Parser, counted, print_wrapped, until_closed, write_files
from scaling.errors import ConfigError
from scaling.recipe import check_name

if TYPE_CHECKING:
    import pandas as pd

    from analysis.records.groups import Group
    from analysis.report.law_table import GroupLaw

# numpy, pandas, scipy and matplotlib are imported where they are used: --help and a wrong option answer at once.

FORMS = ("power", "shifted")  # that are fitted where nobody says otherwise
FORMS_THERE_ARE = ("power", "shifted", "bounded", "m4", "broken")
COSTS = {"tokens": "law_tokens", "flops_per_image": "law_flops"}  # what laws are drawn over besides the patch
RESULTS = "results"  # where runs are looked for
TABLES, FIGURES = "tables", "figures"  # folders of what is the paper's


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0, or 2 with one line on stderr for input that cannot be used."""
    try:
        args = _parser().parse_args(argv)
        forms = _forms(args.form)
        results = Path(args.results or RESULTS).expanduser()
        out = Path(args.out).expanduser() if args.out else results.with_suffix("") / "analysis"
        frame = _load(results, optional=args.published and args.results is None)
        if frame is not None and not args.published:
            _check(frame, args.mixed)
        report(frame, out, forms, published=args.published, mixed=args.mixed)
    except ConfigError as e:
        print(f"fit_laws: {e}", file=sys.stderr)
        return 2
    return 0


def report(
    frame: "pd.DataFrame | None",
    out: Path,
    forms: Sequence[str] = FORMS,
    published: bool = False,
    mixed: str = "refuse",
) -> list[Path]:
    """Print the laws of one's own runs, and the paper's where published; write laws.csv, report.md, figures and tables.

    frame: as analysis.records.run_set.load gives it; None: no runs of one's own.  mixed: as for groups.own_groups.
    Returns the paths that it wrote. Raises ConfigError where no run has finished or out cannot be written; then nothing
    is written."""
    from analysis.fitting.hierarchical import rows_lines
    from analysis.fitting.joint import EXPLAINED as MISSES
    from analysis.fitting.joint import fit_joint, joint_frame, joint_lines
    from analysis.records.chance_level import chance_lines
    from analysis.records.groups import own_groups, published_groups
    from analysis.records.run_set import finished
    from analysis.report.checklist import checklist
    from analysis.report.law_table import AXES, EXPLAINED, fit_groups, laws_frame, lines, misses, rising

    groups: list[Group] = []
    papers = published_groups() if published else []
    refused: dict[str, str] = {}
    if frame is not None:
        if finished(frame).empty:
            runs = counted(len(frame) + len(frame.attrs.get("corrupt", {})), "run")
            raise ConfigError(f"none of {runs} has finished{_damaged(frame)}; `make sweep` goes on with them")
        groups, refused = own_groups(frame, mixed)
    laws = [*fit_groups(groups, forms, list(AXES)), *fit_groups(papers, forms)]
    if frame is not None:
        _print_left_out(frame)
    for why in refused.values():
        print_wrapped(f"left out: {why}")
    print_wrapped(
        "Laws at patch side p [px], power A p^alpha, shifted L_inf + A p^alpha: of test loss [nats]"
        + (", of Tables 1 to 4 of the error [%]" if published else ""),
        indent=0,
    )
    print()
    print("\n".join(lines(laws)) + "\n")
    for line in chance_lines(frame) if frame is not None else ():
        print_wrapped(line)
    for why in dict.fromkeys(_no_law(of, forms) for of in laws if of.law is None and of.x == "patch"):
        print_wrapped(why)
    print_wrapped(EXPLAINED, indent=0)
    if said := misses(laws):
        print_wrapped(said, indent=0)
    for said in rising(laws):
        print_wrapped(said)
    joint = fit_joint([*groups, *papers])
    if joint:
        print("\nJoint laws E + A N^-a + B p^b, N parameters of the model\n")
        print("\n".join(joint_lines(joint)) + "\n")
        print_wrapped(MISSES, indent=0)
    if together := rows_lines([*groups, *papers]):
        print("\nRows together\n")
        for said in together:
            print_wrapped(said)
    if frame is not None:
        print("\nSeeds\n")
        _print_seeds(frame)
    print("\ndrawing figures and tables ...\n", flush=True)
    files: dict[str, bytes] = {"laws.csv": laws_frame(laws).to_csv(index=False).encode()}
    if joint:
        files["joint_laws.csv"] = joint_frame(joint).to_csv(index=False).encode()
    files["report.md"] = checklist(laws).encode()
    if frame is not None:
        files |= _own_figures(frame, forms)
    files |= _beside_the_paper(frame, published)
    paths = write_files(out, files)
    _print_written(out, files)
    return paths


def _own_figures(frame: "pd.DataFrame", forms: Sequence[str]) -> dict[str, bytes]:
    """The laws of one's own runs over patches, tokens and FLOPs, and what accuracy costs."""
    from analysis.plots import style
    from analysis.plots.laws import frontier_figure, law_figure
    from analysis.records.run_set import above_zero, finished

    frame = above_zero(frame)
    if finished(frame).empty:
        return {}
    drawn = [form for form in forms if form in FORMS]
    files = style.files("law", law_figure(frame, drawn))
    for column, stem in COSTS.items():
        if len(known := frame[frame[column] > 0]):
            files |= style.files(stem, law_figure(known, drawn, x=column))
    if frame["flops_per_image"].gt(0).any():
        files |= style.files("frontier", frontier_figure(frame))
    return files


def _beside_the_paper(frame: "pd.DataFrame | None", published: bool) -> dict[str, bytes]:
    """The paper's tables and figures, one's own numbers beside them: all where published, else those tables in which
    some run of one's own stands beside a published number."""
    from analysis.paper import figures
    from analysis.paper.tables import all_tables
    from analysis.plots import style
    from analysis.report.text_tables import csv, latex, markdown

    files: dict[str, bytes] = {}
    tables = all_tables(None if frame is None or "csv" in frame.attrs else frame)
    shown = {name: its for name, its in tables.items() if published or _is_compared(its)}
    for name, table in shown.items():
        for ending, text in (("md", markdown), ("tex", latex), ("csv", csv)):
            files[f"{TABLES}/{name}.{ending}"] = text(table).encode()
    if published:
        for name in ("figure1", "figure1_honest", "figure2", "figure3", "figure4"):
            draw: Any = getattr(figures, name)
            files |= style.files(f"{FIGURES}/{name}", draw(tables[name.removesuffix("_honest")]))
    return files


def _is_compared(table: "pd.DataFrame") -> bool:
    """Whether some run stands beside a published number."""
    return bool((table["difference"].notna() & (table["seeds"] > 0)).any())


def _load(results: Path, optional: bool) -> "pd.DataFrame | None":
    """The runs of a folder. optional: nobody spoke of runs, and None will do where none has finished."""
    from analysis.records.csv_import import load_csv
    from analysis.records.run_set import finished, load

    try:
        frame = load_csv(results) if results.suffix == ".csv" and results.is_file() else load(results)
    except ConfigError:
        if optional:
            return None
        raise
    return None if optional and finished(frame).empty else frame


def _check(frame: "pd.DataFrame", mixed: str) -> None:
    """Raise ConfigError where not one law could be fitted."""
    from analysis.fitting.more_patches import more_patches
    from analysis.records.groups import FEWEST_PATCHES, own_groups
    from analysis.records.run_set import finished

    if finished(frame).empty:  # report says it
        return
    groups, refused = own_groups(frame, mixed)
    if any(group.patches >= FEWEST_PATCHES for group in groups):
        return
    few = [f"{group.name} has {counted(group.patches, 'patch size')}" for group in groups]
    told = "; ".join([*refused.values(), *few][:3])
    more = f"a law needs {FEWEST_PATCHES}: {more_patches(groups[0])}" if few else ""
    raise ConfigError(f"no law can be fitted: {'; '.join(filter(None, (told, more)))}{_damaged(frame)}")


def _damaged(frame: "pd.DataFrame") -> str:
    """The end of a sentence that names damaged records: with them there may have been a law."""
    corrupt = frame.attrs.get("corrupt", {})
    if not corrupt:
        return ""
    more = f" and {counted(len(corrupt) - 1, 'other')}" if len(corrupt) > 1 else ""
    return f"; damaged: {next(iter(corrupt.values()))}{more}"


def _no_law(of: "GroupLaw", forms: Sequence[str]) -> str:
    """Why a group has no law, or not one of this form."""
    from analysis.records.groups import FEWEST_PATCHES

    form = "no law" if len(forms) == 1 or of.group.patches < FEWEST_PATCHES else f"no {of.form} law"
    return f"{of.group.name}: {form}; {of.why}"


def _print_seeds(frame: "pd.DataFrame") -> None:
    from analysis.records.run_set import finished, labels
    from analysis.records.seed_noise import seed_sentence

    runs = finished(frame)
    for group, name in labels(runs).items():
        print_wrapped(f"  {name}: {seed_sentence(runs[runs['group'] == group])}")


def _print_left_out(frame: "pd.DataFrame") -> None:
    """Say which runs are not in what follows, and why. A frame that was not loaded from a folder has no attrs."""
    corrupt = frame.attrs.get("corrupt", {})
    for reason in corrupt.values():
        print_wrapped(f"left out, corrupt: {reason}")
    if corrupt:
        print(f"left out: {counted(len(corrupt), 'corrupt record')}")
    for run in frame.attrs.get("unfinished", []):
        print_wrapped(f"left out, not finished: {run}")
    for run in frame[frame["status"] == "failed"].itertuples():
        print_wrapped(f"left out, failed: {run.run_id} ({run.failure})")
    for run in frame[frame["test_loss"] <= 0].itertuples():
        print_wrapped(f"left out of laws, a test loss of 0 has no logarithm: {run.run_id}")


def _print_written(out: Path, files: dict[str, bytes]) -> None:
    """The files by folder, endings together."""
    by_stem: dict[str, list[str]] = {}
    for name in files:
        stem, ending = name.rsplit(".", 1)
        by_stem.setdefault(stem, []).append(ending)
    told = [f"{stem}.{endings[0]}" + "".join(f"|{e}" for e in endings[1:]) for stem, endings in by_stem.items()]
    print_wrapped(f"wrote to {out}: {', '.join(told)}", indent=2)


def _forms(text: str) -> list[str]:
    forms = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for form in forms:
        check_name("form", form, FORMS_THERE_ARE)
    if not forms:
        raise ConfigError(f"--form names no law; there is: {', '.join(FORMS_THERE_ARE)}")
    return forms


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="fit_laws.py", description="Fit test loss [nats] against patch side [px], with 95 % intervals."
    )
    of_runs = "folder with a folder a run, or a CSV file with a row a run (default: results)"
    parser.add_argument("--results", metavar="DIR", help=of_runs)
    parser.add_argument("--out", metavar="DIR", help="where laws.csv, report.md, figures go (default: DIR/analysis)")
    forms = f"laws by name, with commas: {', '.join(FORMS_THERE_ARE)} (default: %(default)s)"
    parser.add_argument("--form", metavar="FORMS", default=",".join(FORMS), help=forms)
    parser.add_argument(
        "--published",
        action="store_true",
        help="also the laws, Tables 1 to 7 and Figures 1 to 4 of the paper; needs no runs",
    )
    parser.add_argument(
        "--mixed",
        metavar="HOW",
        default="refuse",
        help="groups that differ in crop or data version alone: refuse, together or apart (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(until_closed(main))
