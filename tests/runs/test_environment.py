"""What is installed is what the lock says, and what must never be installed cannot be."""

import re
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.conftest import ROOT


def locked() -> dict[str, str]:
    """Exact version by name, for this Python and system."""
    found = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        match = re.match(r"([a-z0-9._-]+)==([^ ;\\]+)(?: ; ([^\\]+))?", line)
        if match and (not match[3] or Marker(match[3].strip()).evaluate()):
            found[match[1]] = match[2]
    return found


def test_every_installed_version_is_the_locked_one():
    if Path(sys.prefix).name != ".venv":
        pytest.skip("not the project's own environment: it holds what its owner chose")
    lock = locked()
    installed = {re.sub(r"[-_.]+", "-", d.metadata["Name"]).lower(): d.version for d in distributions()}
    for name in ("pip", "uv", "patch-scaling", "setuptools"):
        installed.pop(name, None)
    assert {n: v for n, v in installed.items() if lock.get(n) != v} == {}


def declared(name: str) -> SpecifierSet:
    for line in re.findall(r'^\s*"([^"]+)",', (ROOT / "pyproject.toml").read_text(), re.M):
        if Requirement(line).name == name:
            return Requirement(line).specifier
    raise AssertionError(f"{name} is not declared")


def test_the_compromised_releases_of_lightning_cannot_be_installed():
    for package in ("lightning", "pytorch-lightning"):
        assert "2.6.2" not in declared(package)
        assert "2.6.3" not in declared(package)
        assert "2.6.6" in declared(package)
    assert locked()["lightning"] not in ("2.6.2", "2.6.3")


def test_the_torch_that_has_no_torchvision_is_not_taken():
    assert "2.13.0" not in declared("torch")
    assert "2.11.0" in declared("torch")


def test_every_locked_file_has_a_hash_and_no_address():
    text = (ROOT / "requirements.lock").read_text()
    names = re.findall(r"^[a-z0-9._-]+==", text, re.M)
    assert len(names) > 100
    assert len(re.findall(r"==[^\n]*\\\n    --hash=sha256:", text)) == len(names)
    assert "://" not in text
