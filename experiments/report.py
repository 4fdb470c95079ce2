"""The report of a results folder as one HTML page, to look at and to send: laws, curves, runs, pictures, failures.

python experiments/report.py --results DIR              # writes DIR/report/index.html
python experiments/report.py --results DIR --out FILE   # for a folder that cannot be written
The page needs no server and no network, and a sweep writes it at its end (docs/report.md).
"""

import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from analysis.fit_laws import named_forms
from analysis.fitting.model import DEFAULT_FORMS, one_variable
from analysis.report.output import NotWritten, Parser, print_wrapped, write_files
from analysis.report.recipes_option import add_recipes
from experiments.cli import arguments as cli
from experiments.sweep_status import not_finished
from scaling.errors import ConfigError

if TYPE_CHECKING:
    from analysis.records.run_set import RunSet

RESULTS = "results"  # default folder of runs


def main(argv: list[str] | None = None) -> int:
    args = _arguments(sys.argv[1:] if argv is None else argv)
    from analysis.page.page import path_of
    from analysis.records.run_set import load

    results = Path(args.results).expanduser()
    path = Path(args.out).expanduser() if args.out else path_of(results)
    if path.is_dir():
        raise ConfigError(f"--out {path} is a folder; name a file in it, as {path / 'index.html'}")
    write_page(path, results, load(results), named_forms(args.form))
    return 0


def write_page(
    path: Path, results: Path, runs: "RunSet", forms: list[str] | None = None, known_checklist: str = ""
) -> None:
    """Write the page of the runs of a results folder and print where it is. forms: of laws; None: the usual ones.
    known_checklist: as for analysis/page/content.py. Raises NotWritten where it cannot be written."""
    from analysis.page.content import NotFinished, content_of
    from analysis.page.page import page
    from experiments.planning.decision_rows import own_choices

    try:  # before the work, which takes seconds
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise NotWritten(path.parent, e) from e
    finished = {Path(folder).name for folder in runs.finished["folder"]}
    others = {name: NotFinished(*one) for name, one in not_finished(results, finished).items()}
    unread = tuple(one._replace(reason=one.reason.replace(f"{results}/", "")) for one in runs.corrupt)
    runs = replace(runs, corrupt=unread)  # without the machine's folders: the page is made to be sent
    content = content_of(_named(results), runs, others, forms or DEFAULT_FORMS, known_checklist)
    content = replace(content, choices=list(own_choices(content.groups, results)))
    write_files(path.parent, {path.name: page(content).encode()})
    print_wrapped(f"report: {path}")


def _named(results: Path) -> str:
    """The name of a results folder, with its parent's where it is the usual one."""
    path = results.resolve()
    return f"{path.parent.name}/{path.name}" if path.name == RESULTS else path.name


def _arguments(argv: list[str]) -> Namespace:
    parser = Parser(prog="report.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", metavar="DIR", default=RESULTS, help="results folder (default: results)")
    parser.add_argument("--out", metavar="FILE", help="file to write (default: DIR/report/index.html)")
    add_recipes(parser)
    parser.add_argument(
        "--form",
        metavar="FORMS",
        default=",".join(DEFAULT_FORMS),
        help=f"laws to fit, separated by commas: {', '.join(one_variable())} (default: {','.join(DEFAULT_FORMS)})",
    )
    return parser.parse_args(argv)


def program() -> NoReturn:
    """The console script patch-report."""
    cli.guarded(main)


if __name__ == "__main__":
    program()
