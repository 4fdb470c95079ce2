"""Plug-ins of tests: those of docs/extending.md, and the state of a process that loads one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scaling.backbones.registry import FAMILIES
from scaling.config import plugin_files, tree
from scaling.config.data import OWN_SETS
from scaling.model_specs import MODEL_SPECS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extending.md"
REGISTRIES = (FAMILIES, MODEL_SPECS, OWN_SETS)  # that plug-ins of tests add to in this process


def documented() -> dict[str, str]:
    """The files of the page: name -> code."""
    return {name: code for code, name in re.findall(r"```python\n(# (\w+\.py)\n.*?)```", PAGE.read_text(), re.DOTALL)}


def written(folder: Path, name: str) -> Path:
    """One of the files, in a folder."""
    path = folder / name
    path.write_text(documented()[name])
    return path


@contextmanager
def no_plugin() -> Iterator[None]:
    """Inside, this process has no plug-in yet; afterwards what one has added is gone."""
    before, saved = list(plugin_files._loaded), [dict(registry) for registry in REGISTRIES]
    plugin_files._loaded.clear()
    try:
        yield
    finally:
        plugin_files._loaded[:] = before
        tree._parts.clear()  # parts with names of the plug-in
        for registry, was in zip(REGISTRIES, saved, strict=True):
            registry.clear()
            registry.update(was)


def without_pictures() -> None:
    """Called in the process of a sweep: its figures are not made into files."""
    import analysis.plots.style
    import analysis.report.checklist

    analysis.plots.style.picture = lambda figure, ending, dpi=160: ending.encode()
    analysis.report.checklist._draws = lambda law: {}
