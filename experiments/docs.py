"""Every figure and table of README.md and docs/, made by one command from data that are in the repository.

python experiments/docs.py           # writes them: what is between `<!-- made: NAME -->` and `<!-- end -->`, docs/*.png
python experiments/docs.py --check   # lists what is out of date, and writes nothing
Data: notebooks/records, analysis/measured, analysis/published. docs/figures.json keeps the numbers that each picture
shows, and each picture their digest: so a stale one is found by numbers, not by pixels
(tests/experiments/test_docs_are_made.py).
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

from analysis.plots.drawn_numbers import agree, digest, numbers_of
from analysis.plots.style import picture
from analysis.report.made_blocks import filled, names_in, stale
from analysis.report.output import Parser, write_files
from experiments.cli import arguments
from experiments.documentation.data import ROOT
from experiments.documentation.figures import FIGURES
from experiments.documentation.recipe_table import recipes_page
from experiments.documentation.tables import TABLES

TEXTS = ("README.md", "docs/results.md")
PAGE = "docs/recipes.md"
KEPT = "figures.json"  # in docs/
DIGEST = "numbers"  # what a picture calls the digest that it carries


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="docs.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="list what is out of date, and write nothing")
    args = parser.parse_args(argv)
    if args.check:
        found = out_of_date()
        print("\n".join(found) or "all figures and tables are up to date")
        return 1 if found else 0
    write_files(ROOT, made())
    print(f"made {', '.join([*TEXTS, PAGE])}: {len(TABLES)} tables; docs/: {len(FIGURES)} figures, {KEPT}")
    return 0


def made() -> dict[str, bytes]:
    """All files by their paths, as they should be."""
    files = {name: filled((ROOT / name).read_text(), TABLES).encode() for name in TEXTS}
    files[PAGE] = f"{recipes_page()}\n".encode()
    numbers = {}
    for name, make in FIGURES.items():
        figure = make()
        numbers[name] = numbers_of(figure)
        files[f"docs/{name}"] = picture(figure, "png", 160, **{DIGEST: digest(numbers[name])})
    files[f"docs/{KEPT}"] = f"{json.dumps(numbers, sort_keys=True)}\n".encode()
    return files


def out_of_date(leave_out: Collection[str] = ()) -> list[str]:
    """Blocks and pictures that the code would make differently today, a line each. leave_out: names that are not
    checked."""
    found = []
    tables = {name: make for name, make in TABLES.items() if name not in leave_out}
    for name in TEXTS:
        text = (ROOT / name).read_text()
        found += [f"{name}: nothing makes the block {block}" for block in names_in(text) if block not in TABLES]
        found += [f"{name}: {line}" for line in stale(text, tables)]
    if (ROOT / PAGE).read_text() != f"{recipes_page()}\n":
        found.append(f"{PAGE} is another")
    kept = kept_numbers()
    for name, make in FIGURES.items():
        if name in leave_out:
            continue
        if name not in kept or not agree(kept[name], numbers_of(make())):
            found.append(f"docs/{name} shows other numbers")
        elif digest(kept[name]) != digest_of(ROOT / "docs" / name):
            found.append(f"docs/{name} is not the picture of the numbers in {KEPT}")
    return found


def kept_numbers() -> dict[str, Any]:
    path = ROOT / "docs" / KEPT
    return json.loads(path.read_text()) if path.exists() else {}


def digest_of(path: Path) -> str:
    """The digest that a picture carries; "" where there is none."""
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
