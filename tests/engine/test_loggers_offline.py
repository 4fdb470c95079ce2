"""A run with TensorBoard, W&B and MLflow, offline: what each is given, where their files are, and that nothing else
changes."""

import os
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from experiments.sweep_report import report
from scaling.config.edit import edit
from scaling.config.runtime import RuntimeConfig
from scaling.engine.loggers import QUIET, check_loggers
from scaling.engine.train import train
from scaling.engine.trainer import hush
from scaling.errors import ConfigError
from scaling.runs.record import CURVE, WEIGHTS
from tests.conftest import TINY

pytest.importorskip("wandb")
pytest.importorskip("mlflow")
hush()

ALL = "tensorboard,wandb,mlflow"
OURS = (*QUIET, "WANDB_CACHE_DIR", "MLFLOW_TRACKING_URI", "WANDB_API_KEY", "NETRC")
CPU = {"accelerator": "cpu", "threads": 1, "num_workers": 0}


def connect_nowhere(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise AssertionError(f"a connection to {address}")
    return CONNECT(self, address)


CONNECT = socket.socket.connect


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A run with all loggers and the report of its sweep, from an empty folder and an empty home; and the same run
    without."""
    place, patch = tmp_path_factory.mktemp("loggers"), pytest.MonkeyPatch()
    for name in ("home", "cwd"):
        (place / name).mkdir()
    for name in OURS:  # set first, so that it is restored to what it was
        patch.setenv(name, "")
        patch.delenv(name)
    patch.setenv("HOME", str(place / "home"))
    patch.setenv("WANDB_MODE", "offline")
    patch.chdir(place / "cwd")
    patch.setattr(socket.socket, "connect", connect_nowhere)
    before = set(threading.enumerate())
    config = edit(TINY, epochs=1)
    record = train(config, place / "results", RuntimeConfig(**CPU, logger=ALL))
    report([config], {}, place / "results", {record.run_id}, ALL)
    train(config, place / "plain", RuntimeConfig(**CPU))
    alive = [thread for thread in set(threading.enumerate()) - before if not thread.daemon]
    yield SimpleNamespace(place=place, results=place / "results", record=record, alive=alive)
    patch.undo()


def test_a_run_has_the_same_bits_with_and_without_loggers(logged):
    one, other = (
        torch.load(logged.place / name / logged.record.run_id / WEIGHTS, weights_only=True)["model"]
        for name in ("results", "plain")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    curves = [(logged.place / name / logged.record.run_id / CURVE).read_text() for name in ("results", "plain")]
    without_times = [[line.split(",")[:5] for line in curve.splitlines()] for curve in curves]
    assert without_times[0] == without_times[1]


def test_all_files_are_in_the_results_folder(logged):
    assert not list((logged.place / "cwd").iterdir())
    written = [path for path in (logged.place / "home").rglob("*") if path.is_file()]
    assert not [path for path in written if "matplotlib" not in path.parts]  # its list of fonts
    assert {"wandb", "mlflow", "analysis", logged.record.run_id} <= {path.name for path in logged.results.iterdir()}


def test_no_thread_of_a_logger_keeps_the_process_alive(logged):
    assert not [thread.name for thread in logged.alive]


def scalars_and_more(folder):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulators.EventAccumulator(str(folder), {"images": 0, "scalars": 0, "tensors": 0})
    events.Reload()
    return events


def test_tensorboard_has_losses_parameters_predictions_and_laws(logged):
    events = scalars_and_more(logged.results / logged.record.run_id / "tensorboard")
    assert events.Scalars("final_test_loss")[-1].value == pytest.approx(logged.record.test_loss)
    assert {f"predictions/{n}" for n in range(4)} <= set(events.Tags()["images"])
    hyper = (logged.results / logged.record.run_id / "tensorboard" / "hparams.yaml").read_text()
    assert "global_batch_size: 16" in hyper
    laws = scalars_and_more(logged.results / "analysis" / "tensorboard").Tags()
    assert "law" in laws["images"]
    assert any("report" in name for name in laws["tensors"])


def test_mlflow_has_losses_parameters_predictions_and_laws(logged):
    from mlflow.tracking import MlflowClient

    client = MlflowClient((logged.results / "mlflow").as_uri())
    found = {
        run.info.run_name: run for one in client.search_experiments() for run in client.search_runs([one.experiment_id])
    }
    run = found[logged.record.run_id]
    assert run.info.status == "FINISHED"
    assert run.data.metrics["final_test_loss"] == pytest.approx(logged.record.test_loss)
    assert run.data.params["optim/global_batch_size"] == "16"
    assert [one.path for one in client.list_artifacts(run.info.run_id, "predictions")] == [
        f"predictions/{n}.png" for n in range(4)
    ]
    (laws,) = (one for name, one in found.items() if name.startswith("laws-"))
    kept = {one.path for one in client.list_artifacts(laws.info.run_id)}
    assert {"law.png", "law.pdf", "laws.csv", "report.md"} <= kept


def test_wandb_has_losses_parameters_predictions_and_laws(logged):
    (run,) = logged.results.glob(f"wandb/offline-run-*-{logged.record.run_id}")
    (content,) = run.glob("*.wandb")
    assert all(word in content.read_bytes() for word in (b"final_test_loss", b"global_batch_size", b"predictions"))
    assert len(list(run.glob("files/media/images/predictions*.png"))) == 4
    (laws,) = logged.results.glob("wandb/offline-run-*-laws-*")
    assert {"law.png", "laws.csv", "report.md"} <= {path.name for path in (laws / "files").iterdir()}


def test_wandb_without_a_key_is_refused_before_a_run(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="no key: run `wandb login`, or set WANDB_MODE=offline"):
        check_loggers("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_loggers("wandb")
    assert Path(os.environ["HOME"]) == tmp_path
