"""Several processes share a run (gloo on the CPU): the numbers are those of one.

Compared in float64 (tests/doubles.py), in which a run's whole curve is the same however it is shared, whatever the
processor: in float32 a curve may fork at the first choice that hangs on a last bit."""

import os
import signal
from dataclasses import replace
from functools import partial

import pytest
import torch

from scaling.config.edit import edit
from scaling.config.runtime import RuntimeConfig
from scaling.engine.callbacks.checkpointer import Checkpointer
from scaling.engine.train import train
from scaling.errors import ConfigError
from scaling.runs.record import CHECKPOINT, CURVE, WEIGHTS, RunRecord
from tests.doubles import in_doubles
from tests.experiments.test_sweep import without_laws
from tests.instrument_names import NOISE, without_noise
from tests.served import ranks

ONE = RuntimeConfig(accelerator="cpu", devices="1", threads=1, num_workers=0)
SCHEDULE = ["--patch-embed", "flexible", "--patch-schedule", "16@0.5,8@0.5", "--batch-in", "tokens"]  # 64, 16 images
SMALL = ["--epochs", "2", "--train-images", "64", "--test-images", "26", "--batch", "16"]  # 8 steps
DENSE = ["--patch", "8", *SMALL, "--drop-path", "0.1", "--threads", "1", "--accelerator", "cpu"]
FEW = ["--train-images", "16", "--batch", "8"]  # 4 steps
OPTIONS = [*DENSE, "--mixup", "0.8", "--cutmix", "1.0", "--repeats", "2"]


def results_of(folder):
    (run,) = [path for path in folder.iterdir() if (path / "config.json").exists()]
    rows = [line.split(",")[:5] for line in (run / CURVE).read_text().splitlines()[1:]]
    curve = [[float(cell) for cell in row if cell] for row in rows]
    return RunRecord.load(run), curve, torch.load(run / WEIGHTS, weights_only=True)


def assert_equal_runs(a, b, rel=1e-9):
    (record_a, curve_a, weights_a), (record_b, curve_b, weights_b) = a, b
    assert len(curve_a) == len(curve_b) >= 5
    for row_a, row_b in zip(curve_a, curve_b, strict=True):
        assert row_a == pytest.approx(row_b, rel=rel)
    for name in ("run_id", "group", "config", "status", "tokens", "parameters", "flops_per_image"):
        assert getattr(record_a, name) == getattr(record_b, name)
    assert record_a.test_loss == pytest.approx(record_b.test_loss, rel=rel)
    metrics_a, metrics_b = (  # mmdet pastes masks into images in float32
        {name: value for name, value in without_noise(record.metrics).items() if "mask_ap" not in name}
        for record in (record_a, record_b)
    )
    assert metrics_a == pytest.approx(metrics_b, rel=rel)
    assert weights_a.keys() == weights_b.keys()
    for kind in weights_a:
        for name in weights_a[kind]:
            assert weights_a[kind][name].dtype == torch.float64
            torch.testing.assert_close(weights_a[kind][name], weights_b[kind][name], atol=1e-9, rtol=1e-6)


@pytest.fixture
def run_py(start):
    """run_py(recipe, folder, processes, ...) -> its results; in two processes, as torchrun starts them."""

    def run(config, folder, processes, *more, before=in_doubles):
        options = OPTIONS if "deit" in config or "adventurer" in config else DENSE
        words = [config, *options, "--results", folder, "--devices", processes, *more]
        environments = ranks(processes) if processes > 1 else [{}]
        begun = [start("experiments/run.py", *words, before=before, **its) for its in environments]
        done = [command.wait(120) for command in begun]
        assert [one.stdout.count("starting") for one in done] == [
            1,
            *[0] * (processes - 1),
        ]  # only the first one speaks
        return done

    return run


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return {}, tmp_path_factory.mktemp("alone")


@pytest.fixture
def alone(run_py, known):
    """alone(recipe, ...) -> the results of that run in one process: each is trained once."""
    found, folder = known

    def results(config, *its):
        key = " ".join([config, *its])
        if key not in found:
            run_py(config, folder / str(len(found)), 1, *its)
            found[key] = results_of(folder / str(len(found)))
        return found[key]

    return results


@pytest.mark.parametrize(
    ("name", "strategy", "its", "more"),
    [
        ("shapes.deit_nano", "ddp", ["--ema", "0.9"], []),
        ("shapes.adventurer_nano", "ddp", [], ["--micro-batch", "4"]),
        ("shapes.deit_nano", "fsdp", [], []),
        ("shapes.deit_nano", "ddp", SCHEDULE, ["--micro-batch", "4"]),
        ("shapes.seg_nano", "ddp", ["--head", "upernet", "--augment", "resize_crop_photometric"], []),
        ("shapes.seg_nano", "fsdp", [], ["--micro-batch", "4"]),
        # 7 test images: 4 for one, 3 for the other
        ("shapes.det_nano", "ddp", [*FEW, "--head-channels", "8", "--test-images", "7"], []),
        ("shapes.det_nano", "fsdp", [*FEW, "--head-channels", "8", "--test-images", "7"], []),
    ],
)
def test_two_processes_give_the_run_of_one(tmp_path, run_py, alone, name, strategy, its, more):
    done = run_py(name, tmp_path, 2, "--strategy", strategy, *its, *more)
    assert [one.returncode for one in done] == [0, 0], done
    assert_equal_runs(results_of(tmp_path), alone(name, *its))


def test_two_devices_and_two_micro_batches_give_the_same_noise_of_gradients(tmp_path, run_py):
    """Their small batches are the same; one device with one micro-batch has none."""
    run_py("shapes.deit_nano", tmp_path / "devices", 2, *FEW)
    run_py("shapes.deit_nano", tmp_path / "parts", 1, *FEW, "--micro-batch", "4")
    devices, parts = (
        {name: x for name, x in results_of(tmp_path / folder)[0].metrics.items() if name in NOISE}
        for folder in ("devices", "parts")
    )
    assert devices == pytest.approx(parts, rel=1e-6)
    assert devices["grad_noise"] > 0


def _killed_after(step):
    """In float64, and killed as by kill -9 once that many steps are done."""
    in_doubles()
    real = Checkpointer.on_train_batch_end

    def watched(self, trainer, *rest):
        real(self, trainer, *rest)
        if trainer.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpointer.on_train_batch_end = watched


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_a_run_begun_by_one_is_finished_by_two_and_the_reverse(tmp_path, run_py, alone, first, second):
    cut = run_py("shapes.deit_nano", tmp_path / "cut", first, before=partial(_killed_after, 6))
    assert [one.returncode for one in cut] == [-signal.SIGKILL] * first
    (checkpoint,) = (tmp_path / "cut").glob(f"*/{CHECKPOINT}")
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 4  # of 8
    run_py("shapes.deit_nano", tmp_path / "cut", second)
    assert_equal_runs(results_of(tmp_path / "cut"), alone("shapes.deit_nano"))


def test_a_batch_that_the_devices_cannot_share_is_refused_before_anything_is_written(tmp_path, tiny):
    with pytest.raises(ConfigError, match="batch 16 cannot be divided among 3 devices; nearest that can: 15, 18"):
        train(tiny, tmp_path / "r", replace(ONE, devices="3"))
    assert not (tmp_path / "r").exists()


def test_an_average_and_fsdp_do_not_go_together_yet(tmp_path, tiny):
    with pytest.raises(ConfigError, match="take ddp, or --model-ema-decay none"):
        train(edit(tiny, model_ema_decay=0.9), tmp_path / "r", replace(ONE, strategy="fsdp"))


def test_a_loss_that_is_not_finite_ends_the_run_on_all_devices(tmp_path, run_py):
    """In float32, which is soon at its end; each process by itself: nobody is there to end the other one."""
    done = run_py("shapes.deit_nano", tmp_path, 2, "--lr", "1e25", "--clip", "0", before=None)
    assert [one.returncode for one in done] == [1, 1]
    assert "training loss is nan at step" in done[0].stdout
    assert RunRecord.load(next(tmp_path.iterdir())).status == "failed"


def test_the_runs_of_a_sweep_can_have_two_devices_each(tmp_path, call):
    """In float32, and the second process is started by Lightning, as on a user's machine."""
    words = [*OPTIONS, "--devices", "2", "--jobs", "1", "--results", tmp_path]
    done = call("experiments/sweep.py", "shapes.deit_nano", *words, before=without_laws)
    assert done.returncode == 0, done.stderr + done.stdout
    record, curve, _ = results_of(tmp_path)
    assert record.status == "finished"
    assert record.machine["devices"] == 2
    assert len(curve) == 9
