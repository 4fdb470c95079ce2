"""Pages of the web site that docs/ does not hold: README.md as the first page, the changelog, the help of every
program, and the API from docstrings."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from experiments.documentation.data import ROOT

PROGRAMS = (  # modules, in the order of a user's work
    "experiments.run",
    "experiments.sweep",
    "experiments.search",
    "experiments.report",
    "experiments.plan",
    "analysis.fit_laws",
    "experiments.predict",
    "experiments.export",
    "analysis.representations",
    "analysis.sharpness",
    "analysis.gradients",
    "analysis.batch_statistics",
    "experiments.class_shares",
    "experiments.benchmark",
    "experiments.gpu_report",
    "experiments.docs",
    "experiments.website",
)
API: dict[str, tuple[str, tuple[str, ...]]] = {  # title and modules, by page
    "api/records.md": ("API of records", ("scaling.runs.record.RunRecord", "analysis.records.run_set")),
    "api/models.md": ("API of models", ("scaling", "scaling.inference.trained", "scaling.inference.predictions")),
    "api/laws.md": (
        "API of laws",
        (
            "analysis.fitting.lineshapes",
            "analysis.fitting.laws",
            "analysis.fitting.result",
            "analysis.fitting.joint",
        ),
    ),
    "api/extension.md": (
        "API for extension",
        (
            "scaling.config.step_shapes",
            "scaling.backbones.base",
            "scaling.backbones.patch_embeds",
            "scaling.backbones.position_encoding",
            "scaling.tasks.base",
            "scaling.data.batch",
            "scaling.costs.registry",
        ),
    ),
}
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def pages() -> dict[str, str]:
    """All of them, by their path in the site."""
    return {
        "index.md": first_page((ROOT / "README.md").read_text()),
        "CHANGELOG.md": first_page((ROOT / "CHANGELOG.md").read_text()),
        "programs.md": programs_page({name: help_of(name) for name in PROGRAMS}),
        **{path: api_page(title, modules) for path, (title, modules) in API.items()},
    }


def first_page(text: str) -> str:
    """A page of the repository's root as one of the site, where docs/ is the root."""
    return text.replace("](docs/", "](")


def inside_only(page: str, text: str, known: set[str]) -> str:
    """A page without links to files that are not in the site, such as source code: their text stays, as code where it
    is a path. page: its path in the site; known: those of all files."""

    def of(match: re.Match[str]) -> str:
        words, target = match[1], match[2]
        if "://" in target or os.path.normpath((Path(page).parent / target).as_posix()) in known:
            return match[0]
        return words

    return LINK.sub(of, text)


def programs_page(helps: Mapping[str, str]) -> str:
    """The help of programs, by module."""
    parts = [
        "# Programs",
        "",
        "What `--help` prints. Fields of a recipe are options too: [configuration](config.md).",
    ]
    for module, text in helps.items():
        path = f"{module.replace('.', '/')}.py"
        parts += ["", f"## {path}", "", "```", text.rstrip(), "```"]
    return "\n".join([*parts, ""])


def help_of(module: str) -> str:
    """What a program prints for --help, in 80 columns."""
    command = [sys.executable, "-m", module, "--help"]
    asked = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=asked).stdout


def api_page(title: str, modules: tuple[str, ...]) -> str:
    """A page that mkdocstrings fills from the docstrings of modules."""
    return "\n".join([f"# {title}", "", *(f"::: {module}\n" for module in modules)])
