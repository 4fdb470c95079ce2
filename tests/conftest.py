"""What the tests share: small recipes, and the entry points as a user calls them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scaling.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for a network


@pytest.fixture(autouse=True)
def one_thread():
    """Two test processes share two cores."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture
def tiny() -> Recipe:
    """A run of 12 steps that takes a second: three epochs of 4."""
    return Recipe(
        data="shapes",
        backbone="deit_nano",
        image=16,
        patch=8,
        classes=12,
        epochs=3,
        batch=16,
        train_images=64,
        test_images=40,
        drop_path=0.2,
        lr=1e-3,
    )


@pytest.fixture
def call():
    """call("experiments/run.py", ...) -> finished process, from the repository's root, output captured as text."""

    def run(script: str, *arguments: str, timeout: float = 240, **env: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, str(ROOT / script), *map(str, arguments)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "COLUMNS": "80", **env},
        )

    return run
