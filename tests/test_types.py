"""A type says what a value is: typing.Any is used at the border to OpenMMLab, whose packages have no types, alone."""

import ast

import pytest

from tests.conftest import ROOT

BORDER = ROOT / "scaling" / "heads"
FILES = [p for top in ("scaling", "experiments", "analysis", "tests") for p in sorted((ROOT / top).rglob("*.py"))]


def uses_of_any(source: str) -> list[int]:
    """The lines that import Any from typing or name it as an attribute of typing, under any name."""
    lines, modules = [], set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {a.asname or a.name for a in node.names if a.name in ("typing", "typing_extensions")}
        elif isinstance(node, ast.ImportFrom) and node.module in ("typing", "typing_extensions"):
            lines += [a.lineno for a in node.names if a.name in ("Any", "*")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "Any" and ast.unparse(node.value) in modules:
            lines.append(node.lineno)
    return sorted(lines)


def test_no_type_is_any():
    assert len(FILES) > 500
    found = [(path.relative_to(ROOT), line) for path in FILES for line in uses_of_any(path.read_text())]
    wrong = [f"{path}:{line}" for path, line in found if not (ROOT / path).is_relative_to(BORDER)]
    assert not wrong, f"typing.Any outside scaling/heads: {', '.join(wrong)}"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("from typing import Any", [1]),
        ("import os\nfrom typing import Any as Anything, cast", [2]),
        ("from typing import *", [1]),
        ("from typing_extensions import (\n    cast,\n    Any,\n)", [3]),
        ("import typing\nx: typing.Any = 1", [2]),
        ("import typing as t\nx: dict[str, t.Any] = {}", [2]),
        ("if True:\n    from typing import Any", [2]),
        ("from typing import cast\nANY = float('inf')  # Any", []),
        ("from unittest.mock import Any", []),
    ],
)
def test_every_way_to_any_is_found(source, lines):
    assert uses_of_any(source) == lines
