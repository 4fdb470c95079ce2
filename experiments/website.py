"""The documentation as a web site, in one folder that any browser opens, without a network.

python experiments/website.py               # results/site/index.html
python experiments/website.py --out DIR
Contents: README.md, the pages of docs/, the help of every program, the API from docstrings. Links to pages or headings
that do not exist are errors. Needs the extra `docs` (zensical, mkdocstrings). Navigation: documentation/site.yml.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import yaml

from analysis.report.output import NotWritten, Parser
from experiments.cli import arguments
from experiments.documentation.data import ROOT
from experiments.documentation.site_pages import inside_only, pages
from scaling.errors import ConfigError

SETTINGS = ROOT / "experiments" / "documentation" / "site.yml"
MARK = "search.json"  # a file that every such site has


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="website.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/site"), metavar="DIR", help="default: results/site")
    args = parser.parse_args(argv)
    check(args.out)
    build(args.out)
    print(f"wrote {args.out / 'index.html'}")
    return 0


def check(out: Path) -> None:
    """Raise ConfigError where the site cannot be built, or where out holds something else."""
    if importlib.util.find_spec("zensical") is None or importlib.util.find_spec("mkdocstrings") is None:
        raise ConfigError(
            "the site needs zensical and mkdocstrings (Python 3.11 or newer): make setup, or pip install -e '.[docs]'"
        )
    if out.exists() and not (out.is_dir() and ((out / MARK).exists() or not any(out.iterdir()))):
        raise ConfigError(f"{out} holds something else than a site of this program; choose another folder with --out")


def build(out: Path) -> None:
    """Write the site to out, in place of an older one. Raises ConfigError where a page has a link that leads nowhere,
    and NotWritten."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".site-") as folder:
            work = Path(folder)
            collect(work / "docs")
            (work / "mkdocs.yml").write_text(settings())
            _run(work)
            if out.exists():
                shutil.rmtree(out)
            os.rename(work / "site", out)
    except OSError as e:
        raise NotWritten(out, e) from e


def collect(folder: Path) -> None:
    """All sources of the site."""
    shutil.copytree(ROOT / "docs", folder)
    for name, text in pages().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    known = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    for path in folder.rglob("*.md"):
        page = path.relative_to(folder).as_posix()
        path.write_text(inside_only(page, path.read_text(), known))


def settings() -> str:
    """site.yml with the folders of a build; docstrings are read from the source, which is not imported."""
    found = yaml.safe_load(SETTINGS.read_text())
    python = next(one["mkdocstrings"] for one in found["plugins"] if isinstance(one, dict) and "mkdocstrings" in one)
    python["handlers"]["python"]["paths"] = [str(ROOT)]
    return yaml.safe_dump({**found, "docs_dir": "docs", "site_dir": "site"}, sort_keys=False)


def _run(work: Path) -> None:
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", "mkdocs.yml"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ConfigError(f"the site was not built: {' '.join(lines[:4])}")


def program() -> NoReturn:
    """The console script patch-site."""
    arguments.guarded(main)


if __name__ == "__main__":
    program()
