"""What the tests share: small recipes, runs that are trained once, and the entry points as a user calls them."""

import gc
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from scaling.config.edit import make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.runtime import RuntimeConfig
from tests import served

ROOT = Path(__file__).resolve().parents[1]


hypothesis.settings.register_profile("without times", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("without times")


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for a network
    # Programs run with this code, whichever checkout is installed in the environment.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        served.share_one_server()


def pytest_sessionfinish() -> None:
    served.stop_server()
    gc.unfreeze()  # triton's binding would take what is still frozen for leaked, and say so at length


def pytest_collection_finish() -> None:
    """What imports and collection have made stays to the end: it is not looked through for garbage again and again,
    which took a twentieth of the suite's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(autouse=True)
def one_thread():
    """Two test processes share two cores."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


TINY = make_config(
    dataset="shapes",
    backbone="deit_nano",
    img_size=16,
    patch_size=8,
    num_classes=3,
    epochs=3,
    global_batch_size=16,
    num_train=64,
    num_val=40,
    drop_path=0.2,
    lr=1e-3,
)


@pytest.fixture
def tiny() -> ExperimentConfig:
    """A run of 12 steps that takes a second: three epochs of 4."""
    return TINY


@pytest.fixture
def doubles() -> Iterator[None]:
    """All that is float32 in this process is float64 (tests/doubles.py)."""
    from tests.doubles import doubled

    with doubled():
        yield


@pytest.fixture
def unsaved(monkeypatch) -> None:
    """Figures are drawn and not made into files, and a report has no bootstraps: where neither is the subject. Files of
    figures: test_drawing.py; bootstraps: test_law_table.py."""
    monkeypatch.setattr("analysis.plots.style.picture", lambda figure, ending, dpi=160: ending.encode())
    monkeypatch.setattr("analysis.report.checklist._draws", lambda law: {})


@pytest.fixture
def unbanded(monkeypatch) -> None:
    """Laws have no band, which takes longer than all else of a fit: where none is looked at. Bands: test_laws.py."""
    none = np.array([math.nan])
    monkeypatch.setattr(
        "analysis.fitting.laws.Fit.band", lambda law, x: (none.repeat(np.size(x)), none.repeat(np.size(x)))
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """trained(recipe) -> the results folder of a finished run of it, on one thread of the CPU: trained once a session.
    Whoever changes what is in it takes a copy."""
    from scaling.engine.train import train
    from scaling.engine.trainer import hush

    done: dict[str, Path] = {}

    def results_of(config: ExperimentConfig) -> Path:
        if config.run_id not in done:
            hush()
            results = tmp_path_factory.mktemp("trained")
            train(config, results, RuntimeConfig(accelerator="cpu", threads=1, num_workers=0))
            done[config.run_id] = results
        return done[config.run_id]

    return results_of


@pytest.fixture
def start(tmp_path_factory) -> Iterator:
    """start("experiments/run.py", ...) -> a served.Command that is under way; it is killed where a test leaves it."""
    begun: list[served.Command] = []

    def begin(
        script: str, *arguments: object, before: Callable[[], object] | None = None, **env: str
    ) -> served.Command:
        begun.append(served.Command(tmp_path_factory.mktemp("said"), script, *arguments, before=before, **env))
        return begun[-1]

    yield begin
    for command in begun:
        command.process.kill()
        command.process.join()


@pytest.fixture
def call(start):
    """call("experiments/run.py", ...) -> finished process, from the repository's root, output captured as text."""

    def run(
        script: str,
        *arguments: object,
        timeout: float = 240,
        before: Callable[[], object] | None = None,
        **env: str,
    ) -> subprocess.CompletedProcess:
        return start(script, *arguments, before=before, **env).wait(timeout)

    return run


@pytest.fixture
def call_afresh():
    """As call, in an interpreter of its own: where imports or the start of the process are the subject."""

    def run(script: str, *arguments: object, timeout: float = 240, **env: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, str(ROOT / script), *map(str, arguments)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "COLUMNS": "80", **env},
        )

    return run
