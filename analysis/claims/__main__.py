"""The claims ledger: docs/claims.md, and a summary of its verdicts.

python -m analysis.claims            # write docs/claims.md and print how many claims have which verdict
python -m analysis.claims --check    # print whether the page is up to date, and write nothing
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.claims.ledger import FOLDER, Assessed, assess, load
from analysis.claims.page import counts, page
from analysis.claims.verdict import Verdict
from analysis.report.output import Parser, print_wrapped, until_closed, write_files
from scaling.errors import ConfigError

ROOT = FOLDER.parents[1]
PAGE = "docs/claims.md"


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1: --check finds another page; 2: bad input, in one line on stderr."""
    try:
        return report(_parser().parse_args(argv))
    except ConfigError as e:
        print(f"claims: {e}", file=sys.stderr)
        return 2


def report(args: argparse.Namespace) -> int:
    """The summary, and the page written or compared. Raises ConfigError."""
    ledger = load(Path(args.ledger))
    rows = [assess(claim) for claim in ledger.claims]
    text, out = page(ledger, rows), Path(args.out)
    path = out / PAGE
    if args.check:
        same = path.is_file() and path.read_text() == text
        print(f"{path} is up to date" if same else f"{path} differs; make claims writes it")
        return 0 if same else 1
    write_files(out, {PAGE: text.encode()})
    print(f"{len(rows)} claims of {len(ledger.sources)} sources")
    for verdict, many in counts(rows).items():
        print_wrapped(f"  {verdict.value:12} {many:3}  {_which(rows, verdict)}", indent=19)
    print(f"wrote {path}")
    return 0


def _which(rows: Sequence[Assessed], verdict: Verdict) -> str:
    return ", ".join(row.claim.id for row in rows if row.verdict == verdict)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m analysis.claims", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare the page and write nothing")
    parser.add_argument("--ledger", metavar="DIR", default=FOLDER, help="folder of the YAML files")
    parser.add_argument("--out", metavar="DIR", default=ROOT, help="folder to write docs/claims.md to")
    return parser


if __name__ == "__main__":
    sys.exit(until_closed(main))
