"""All tables, figures and generated pages of README.md and docs/, from data that are in the repository.

python experiments/docs.py           # write them: the blocks between `<!-- made: NAME -->` and `<!-- end -->`,
                                     # docs/figures/*.png, the pages docs/claims.md, docs/config.md,
                                     # docs/recipes.md and docs/records.md, and analysis/page/decisions.json
python experiments/docs.py NAME ...  # only these blocks, figures (law_cifar10.png) and pages (docs/claims.md)
python experiments/docs.py --check   # list what is out of date, and write nothing
Data: notebooks/records, analysis/measured, analysis/published. docs/figures/numbers.json holds the numbers that each
figure shows, and each PNG carries their digest, so that tests compare numbers and not pixels
(tests/experiments/test_docs_are_made.py).
"""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NoReturn

from analysis.claims.page import claims_page
from analysis.plots.drawn_numbers import DrawnPanel, agree, digest, numbers_of
from analysis.plots.style import picture
from analysis.report.made_blocks import filled, names_in, stale
from analysis.report.output import Parser, write_files
from experiments.cli import arguments
from experiments.documentation.config_page import config_page
from experiments.documentation.data import ROOT
from experiments.documentation.decision_rows import decisions_json
from experiments.documentation.figures import FIGURES
from experiments.documentation.recipe_table import recipes_page
from experiments.documentation.record_page import record_page
from experiments.documentation.tables import TABLES
from scaling.errors import ConfigError

PAGES: dict[str, Callable[[], str]] = {  # wholly made
    "analysis/page/decisions.json": decisions_json,
    "docs/claims.md": claims_page,
    "docs/config.md": config_page,
    "docs/recipes.md": recipes_page,
    "docs/records.md": record_page,
}
FOLDER = "docs/figures"
NUMBERS = f"{FOLDER}/numbers.json"
DIGEST = "numbers"  # key of the digest among the texts of a PNG


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="docs.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="list what is out of date, and write nothing")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a block, figure or page; default: all")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.names if name not in {*TABLES, *FIGURES, *PAGES}]:
        raise ConfigError(f"nothing makes {unknown[0]}: no block, figure or page has this name")
    if args.check:
        found = out_of_date()
        print("\n".join(found) or "all figures, tables and generated pages are up to date")
        return 1 if found else 0
    write_files(ROOT, made(args.names))
    if args.names:
        print(f"wrote {', '.join(args.names)}")
        return 0
    print(f"wrote {len(TABLES)} tables in {len(texts())} texts, {len(FIGURES)} figures, {', '.join(PAGES)}")
    return 0


def texts() -> dict[str, str]:
    """README.md and the pages of docs/ that are written by hand, with their made blocks, by path."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    names = [path.relative_to(ROOT).as_posix() for path in paths]
    return {name: (ROOT / name).read_text() for name in names if name not in PAGES}


def made(names: Collection[str] = ()) -> dict[str, bytes]:
    """The made files by path, as the code makes them today. names: of the blocks, figures and pages to make; all
    where there is none."""
    every = {*TABLES, *FIGURES, *PAGES}
    only = {*names} or every
    tables = {name: make for name, make in TABLES.items() if name in only}
    files = {name: filled(text, tables).encode() for name, text in texts().items() if only & {*names_in(text)}}
    files |= {name: make().encode() for name, make in PAGES.items() if name in only}
    numbers = {} if only == every else kept_numbers()
    for name, make_figure in FIGURES.items():
        if name in only:
            figure = make_figure()
            numbers[name] = numbers_of(figure)
            files[f"{FOLDER}/{name}"] = picture(figure, "png", 160, **{DIGEST: digest(numbers[name])})
            files[NUMBERS] = f"{json.dumps(numbers, sort_keys=True)}\n".encode()
    return files


def out_of_date(leave_out: Collection[str] = ()) -> list[str]:
    """One line for each block, page and figure that differs from what the code makes today. leave_out: names of blocks
    and figures that are not compared."""
    found = []
    tables = {name: make for name, make in TABLES.items() if name not in leave_out}
    for name, text in texts().items():
        found += [f"{name}: nothing makes the block {block}" for block in names_in(text) if block not in TABLES]
        found += [f"{name}: {line}" for line in stale(text, tables)]
    for name, make in PAGES.items():
        path = ROOT / name
        if not path.exists() or path.read_text() != make():
            found.append(f"{name} differs from the generated page")
    kept = kept_numbers()
    for name, make_figure in FIGURES.items():
        if name in leave_out:
            continue
        if name not in kept or not agree(kept[name], numbers_of(make_figure())):
            found.append(f"{FOLDER}/{name} shows other numbers")
        elif digest(kept[name]) != digest_of(ROOT / FOLDER / name):
            found.append(f"{FOLDER}/{name} does not show the numbers in {NUMBERS}")
    return found


def kept_numbers() -> dict[str, list[DrawnPanel]]:
    """The numbers of all figures, as they were written."""
    path = ROOT / NUMBERS
    return json.loads(path.read_text()) if path.exists() else {}


def digest_of(path: Path) -> str:
    """The digest that a PNG carries; "" where there is none."""
    from PIL import Image

    if not path.exists():
        return ""
    with Image.open(path) as image:
        return str(image.info.get(DIGEST, ""))


def program() -> NoReturn:
    """The console script patch-docs."""
    arguments.guarded(main)


if __name__ == "__main__":
    program()
