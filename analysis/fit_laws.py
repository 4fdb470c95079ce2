"""Fit the patch-size laws to a results folder and to the paper, print them in one table, and write report and figures.

python analysis/fit_laws.py --results results
python analysis/fit_laws.py --published          # the laws, tables and figures of arXiv 2502.03738, without runs too
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.fitting.model import DEFAULT_FORMS, one_variable
from analysis.report.figure_options import add_figure_options, as_chosen
from analysis.report.output import Parser, until_closed
from analysis.report.recipes_option import add_recipes
from scaling.config.fields import check_name
from scaling.errors import ConfigError

if TYPE_CHECKING:
    from analysis.records.run_set import RunSet

# pandas, scipy and matplotlib are imported where they are used, so that --help and errors of options are immediate.

RESULTS = "results"  # default folder of runs


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0, or 2 with one line on stderr for unusable input."""
    try:
        args = _parser().parse_args(argv)
        if args.axes is not None:
            _refuse_with_axes(args)
        forms = named_forms(",".join(DEFAULT_FORMS) if args.form is None else args.form)
        drawn_as = as_chosen(args)
        results = Path(args.results or RESULTS).expanduser()
        out = Path(args.out).expanduser() if args.out else results.with_suffix("") / "analysis"
        runs = _load(results, optional=args.published and args.results is None and args.axes is None)
        with drawn_as:
            if args.axes is not None:
                assert runs is not None
                _report_axes(args.axes.replace(" ", ""), runs, out)
                return 0
            from analysis.report.law_report import check_some_law, law_input, report

            inputs = law_input(runs, args.published, "refuse" if args.mixed is None else args.mixed)
            if not args.published:
                check_some_law(inputs)
            report(inputs, out, forms)
    except ConfigError as e:
        print(f"fit_laws: {e}", file=sys.stderr)
        return 2
    return 0


def program() -> None:
    """The console script: exits with the status of main."""
    sys.exit(until_closed(main))


def _load(results: Path, optional: bool) -> "RunSet | None":
    """The runs of a folder or CSV file. optional: None where there is no finished run."""
    from analysis.records.csv_import import load_csv
    from analysis.records.run_set import load

    try:
        runs = load_csv(results) if results.suffix == ".csv" and results.is_file() else load(results)
    except ConfigError:
        if optional:
            return None
        raise
    return None if optional and runs.finished.empty else runs


def _report_axes(axes: str, runs: "RunSet", out: Path) -> None:
    from analysis.report.axes_report import THREE, report_axes
    from analysis.report.isoflop_report import report_isoflop
    from analysis.report.tokens_report import TOKENS, report_tokens

    if axes == TOKENS:
        report_tokens(runs, out)
    elif axes == THREE:
        report_isoflop(runs, out)
    else:
        report_axes(axes, runs, out)


def _refuse_with_axes(args: argparse.Namespace) -> None:
    """Raise ConfigError for options that have no meaning for a law of several axes."""
    for name in ("form", "published", "mixed"):
        if getattr(args, name) not in (None, False):
            raise ConfigError(f"--{name} has no meaning with --axes; leave one of them out")


def named_forms(text: str) -> list[str]:
    """The laws of one variable that an option --form names. Raises ConfigError."""
    forms = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for form in forms:
        check_name("form", form, tuple(one_variable()))
    if not forms:
        raise ConfigError(f"--form names no law; choose from: {', '.join(one_variable())}")
    return forms


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="fit_laws.py", description="Fit test loss [nats] as a function of patch size [px], with 95 % intervals."
    )
    of_runs = "results folder with a folder per run, or CSV file with a row per run (default: results)"
    parser.add_argument("--results", metavar="DIR", help=of_runs)
    parser.add_argument("--out", metavar="DIR", help="folder for laws.csv, report.md, figures (default: DIR/analysis)")
    forms = f"laws to fit, separated by commas: {', '.join(one_variable())} (default: {','.join(DEFAULT_FORMS)})"
    parser.add_argument("--form", metavar="FORMS", help=forms)
    parser.add_argument(
        "--published",
        action="store_true",
        help="also the laws, Tables 1 to 7 and Figures 1 to 4 of the paper; needs no runs",
    )
    parser.add_argument(
        "--axes",
        metavar="AXES",
        help="instead the law of patch,images, from the runs' ends or curves; of patch,params,images, from finished "
        "runs, with isoFLOP curves; or of tokens, from evaluations at any patch and image sizes",
    )
    parser.add_argument(
        "--mixed",
        metavar="HOW",
        help="groups that differ in crop or data version alone: refuse, together or apart (default: refuse)",
    )
    add_recipes(parser)
    add_figure_options(parser)
    return parser


if __name__ == "__main__":
    program()
