"""Lightning's loggers by name."""

import pytest

from scaling.config.runtime import RuntimeConfig
from scaling.engine.loggers import QUIET, make_loggers, names_of
from scaling.engine.train import train
from scaling.engine.trainer import hush
from scaling.errors import ConfigError

hush()


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What a logger sets there is unset again."""
    for name in (*QUIET, "WANDB_CACHE_DIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("csv", []),  # there always is one
        ("wandb", ["wandb"]),
        (" mlflow, tensorboard,,csv,mlflow ", ["mlflow", "tensorboard"]),
    ],
)
def test_names_are_separated_by_commas(text, names):
    assert names_of(text) == names


@pytest.mark.parametrize("text", ["tensorbord", "csv,tensorbord"])
def test_an_unknown_logger_is_refused_with_the_nearest(text):
    with pytest.raises(ConfigError, match="unknown logger 'tensorbord'; did you mean tensorboard"):
        names_of(text)


def test_an_unknown_logger_is_refused_before_anything_is_written(tmp_path, tiny):
    with pytest.raises(ConfigError, match="did you mean wandb"):
        train(tiny, tmp_path, RuntimeConfig(accelerator="cpu", logger="wandbb"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "maker"), [("tensorboard", "TensorBoardLogger"), ("wandb", "WandbLogger"), ("mlflow", "MLFlowLogger")]
)
def test_a_package_that_is_not_there_is_named(tmp_path, tiny, monkeypatch, name, maker):
    def missing(*_, **__):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(f"lightning.pytorch.loggers.{maker}", missing)
    with pytest.raises(ConfigError, match=f"logger {name} needs a package .* pip install {name}"):
        make_loggers(name, tmp_path / tiny.run_id, tiny.run_id, tiny.group, tiny.to_dict())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("maker", ["WandbLogger", "MLFlowLogger"])
def test_a_run_is_found_by_its_own_names_and_all_of_its_recipe(tmp_path, tiny, monkeypatch, maker):
    made = {}

    class Logger:
        def __init__(self, **words):
            made.update(words)

        def log_hyperparams(self, values):
            made["values"] = values

    monkeypatch.setattr(f"lightning.pytorch.loggers.{maker}", Logger)
    name = {"WandbLogger": "wandb", "MLFlowLogger": "mlflow"}[maker]
    (logger,) = make_loggers(name, tmp_path / tiny.run_id, tiny.run_id, tiny.group, tiny.to_dict())
    assert isinstance(logger, Logger)
    assert made["values"] == tiny.to_dict()
    assert {tiny.run_id, tiny.group} <= set(map(str, made.values()))
    assert str(tmp_path) in made.get("save_dir", made.get("tracking_uri"))  # nothing outside the results folder


def test_tensorboard_gets_the_curve_and_the_results_in_the_runs_folder(tmp_path, tiny):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    record = train(tiny, tmp_path, RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, logger="tensorboard"))
    events = accumulator.EventAccumulator(str(tmp_path / tiny.run_id / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("train_loss")] == list(range(1, 13))
    assert events.Scalars("final_test_loss")[-1].value == pytest.approx(record.test_loss)
