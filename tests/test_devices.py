"""Two processes share a run (gloo on the CPU): the numbers are those of one."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from scaling.recipe import BadInput
from scaling.record import CHECKPOINT, CURVE, WEIGHTS, RunRecord
from scaling.train import Settings, train
from tests.conftest import ROOT

ONE = Settings(accelerator="cpu", devices="1", threads=1, workers=0)
DENSE = [
    *("--patch", "8", "--epochs", "2", "--train-images", "128", "--test-images", "50", "--batch", "32"),
    *("--drop-path", "0.1", "--threads", "1", "--accelerator", "cpu"),
]
OPTIONS = [*DENSE, "--mixup", "0.8", "--cutmix", "1.0", "--repeats", "2"]


def results_of(folder):
    (run,) = [path for path in folder.iterdir() if (path / "recipe.json").exists()]
    rows = [line.split(",")[:5] for line in (run / CURVE).read_text().splitlines()[1:]]
    curve = [[float(cell) for cell in row if cell] for row in rows]
    return RunRecord.load(run), curve, torch.load(run / WEIGHTS, weights_only=True)


def assert_equal_runs(a, b):
    (record_a, curve_a, weights_a), (record_b, curve_b, weights_b) = a, b
    assert len(curve_a) == len(curve_b) > 8
    for row_a, row_b in zip(curve_a, curve_b, strict=True):
        assert row_a == pytest.approx(row_b, rel=1e-5)
    for name in ("run_id", "group", "recipe", "status", "tokens", "parameters", "flops_per_image"):
        assert getattr(record_a, name) == getattr(record_b, name)
    assert record_a.test_loss == pytest.approx(record_b.test_loss, rel=1e-5)
    assert record_a.metrics == pytest.approx(record_b.metrics, rel=1e-4)
    assert weights_a.keys() == weights_b.keys()
    for kind in weights_a:
        for name in weights_a[kind]:
            torch.testing.assert_close(weights_a[kind][name], weights_b[kind][name], atol=1e-4, rtol=1e-3)


def run_py(call, recipe, folder, *more):
    options = OPTIONS if "deit" in recipe or "adventurer" in recipe else DENSE
    done = call("experiments/run.py", recipe, *options, "--results", folder, *more)
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.count("starting") == 1  # the second process says nothing
    return results_of(folder)


@pytest.mark.parametrize(
    ("recipe", "strategy", "more"),
    [
        ("shapes.deit_nano", "ddp", ["--ema", "0.9"]),
        ("shapes.adventurer_nano", "ddp", ["--micro-batch", "4"]),
        ("shapes.deit_nano", "fsdp", []),
        ("shapes.adventurer_nano", "fsdp", ["--micro-batch", "8"]),
        ("shapes.seg_nano", "ddp", ["--head", "upernet", "--augment", "scale_crop_distort"]),
        ("shapes.seg_nano", "fsdp", ["--micro-batch", "4"]),
    ],
)
def test_two_processes_give_the_run_of_one(tmp_path, call, recipe, strategy, more):
    same = [] if "--micro-batch" in more else more
    one = run_py(call, recipe, tmp_path / "one", "--devices", "1", *same)
    two = run_py(call, recipe, tmp_path / "two", "--devices", "2", "--strategy", strategy, *more)
    assert_equal_runs(two, one)


def test_detection_by_two_processes_is_that_of_one_but_for_choices_that_are_near_ties(tmp_path, call):
    """Which of two boxes that lie almost alike is kept may hang on the last bit of a sum."""
    small = ["--head-channels", "8", "--epochs", "1", "--test-images", "13"]  # 7 images for one, 6 for the other
    (one, curve, _), (two, its_curve, _) = (
        run_py(call, "shapes.det_nano", tmp_path / n, "--devices", n, "--strategy", "ddp", *small) for n in "12"
    )
    for row, its in zip(curve, its_curve, strict=True):
        assert its == pytest.approx(row, rel=1e-3)
    assert two.test_loss == pytest.approx(one.test_loss, rel=1e-3)
    assert two.metrics.keys() == one.metrics.keys()


@pytest.mark.parametrize(("first", "second"), [(("1",), ("2", "--strategy", "ddp")), (("2",), ("1",))])
def test_a_run_begun_by_one_is_finished_by_two_and_the_reverse(tmp_path, call, first, second):
    command = [sys.executable, str(ROOT / "experiments/run.py"), "shapes.deit_nano", *OPTIONS, "--epochs", "40"]
    command += ["--results", str(tmp_path / "cut"), "--devices"]
    begun = subprocess.Popen([*command, *first], start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "cut").glob(f"*/{CHECKPOINT}")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
    (checkpoint,) = (tmp_path / "cut").glob(f"*/{CHECKPOINT}")
    assert 0 < torch.load(checkpoint, weights_only=True)["global_step"] < 160
    two = run_py(call, "shapes.deit_nano", tmp_path / "cut", "--epochs", "40", "--devices", *second)
    one = run_py(call, "shapes.deit_nano", tmp_path / "one", "--epochs", "40", "--devices", "1")
    assert two[0].test_loss == pytest.approx(one[0].test_loss, rel=1e-3)
    assert [row[-1] for row in two[1]] == pytest.approx([row[-1] for row in one[1]], rel=1e-3)


def test_a_batch_that_the_devices_cannot_share_is_refused_before_anything_is_written(tmp_path, tiny):
    with pytest.raises(BadInput, match="batch 16 cannot be divided among 3 devices; nearest that can: 15, 18"):
        train(tiny, tmp_path / "r", replace(ONE, devices="3"))
    assert not (tmp_path / "r").exists()


def test_an_average_and_fsdp_do_not_go_together_yet(tmp_path, tiny):
    with pytest.raises(BadInput, match="take ddp, or --ema 0"):
        train(replace(tiny, ema=0.9), tmp_path / "r", replace(ONE, strategy="fsdp"))


def test_the_runs_of_a_sweep_can_have_two_devices_each(tmp_path, call):
    words = [*OPTIONS, "--devices", "2", "--jobs", "1", "--results", tmp_path]
    done = call("experiments/sweep.py", "shapes.deit_nano", *words)
    assert done.returncode == 0, done.stderr + done.stdout
    record, curve, _ = results_of(tmp_path)
    assert record.status == "finished"
    assert len(curve) == 9


def test_a_loss_that_is_not_finite_ends_the_run_on_all_devices(tmp_path, call):
    words = [*OPTIONS, "--devices", "2", "--lr", "1e25", "--clip", "0", "--results", tmp_path]
    done = call("experiments/run.py", "shapes.deit_nano", *words, timeout=90)
    assert done.returncode == 1
    assert "training loss is nan at step" in done.stdout
    assert RunRecord.load(next(tmp_path.iterdir())).status == "failed"
