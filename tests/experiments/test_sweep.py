import builtins
import csv
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from analysis.records.run_set import load
from analysis.report import law_report
from experiments import report
from experiments.cli.arguments import runtime
from experiments.launch.eta import Clock, weight
from experiments.launch.launcher import Job, submit_all
from experiments.launch.local import LOOK_SECONDS, LocalPool, parallel_runs
from experiments.launch.outcome import Outcome, recorded
from experiments.launch.worker import run_quietly
from experiments.planning import cost_estimate
from experiments.stages import linked
from experiments.sweep import arguments, main, print_plan
from scaling.config.edit import edit, make_config
from scaling.errors import ConfigError
from scaling.runs.record import RunRecord
from scaling.runs.run_folder import hold, open_run
from tests.analysis.test_cost_model import record
from tests.conftest import ROOT

SMALL = ["--epochs", "2", "--train-images", "128", "--test-images", "32", "--threads", "1"]


def without_laws():
    """Before a sweep whose subject is its runs: nothing is fitted or drawn of them, and there is no page."""
    law_report.report = lambda *_: []
    report.write_page = lambda *_, **__: None


def folders(results):
    return sorted(p for p in results.iterdir() if p.name.startswith("classify-"))


def test_a_sweep_trains_fits_draws_and_the_next_one_has_it_all(call, tmp_path):
    words = ["shapes.deit_nano", "--patch", "16,8,4", *SMALL, "--results", tmp_path]
    done = call("experiments/sweep.py", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(folders(tmp_path)) == 3
    for folder in folders(tmp_path):
        assert {p.name for p in folder.iterdir()} >= {"config.json", "record.json", "curve.csv", "last.ckpt", "log.txt"}
    frame = load(tmp_path).frame
    assert frame.patch.tolist() == [16, 8, 4]
    assert frame.group.nunique() == 1
    assert "left to do: 3 runs" in done.stdout
    for word in ("patch", "tokens", "params", "FLOPs", "loss", "top-1", "images", "memory", "time", "law.png"):
        assert word in done.stdout
    assert max(map(len, done.stdout.replace(str(tmp_path), "").splitlines())) <= 80
    assert (tmp_path / "analysis" / "law.png").stat().st_size > 10_000
    assert "report:" in done.stdout
    assert (tmp_path / "report" / "index.html").stat().st_size > 1_000_000

    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("classify-*/*")}
    again = call("experiments/sweep.py", *words)
    assert again.returncode == 0
    assert again.stdout.count("have deit_nano p") == 3
    assert "left to do" not in again.stdout
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("classify-*/*")} == before


def test_a_damaged_record_and_a_damaged_checkpoint_are_said_and_their_runs_done_again(call, tmp_path):
    words = ["shapes.deit_nano", "--patch", "16,8", *SMALL, "--results", tmp_path]
    call("experiments/sweep.py", *words, before=without_laws)
    by_patch = {f.name.split("-")[-3]: f for f in folders(tmp_path)}
    losses = {patch: RunRecord.load(f).test_loss for patch, f in by_patch.items()}
    (by_patch["p16"] / "record.json").write_text("{")
    (by_patch["p8"] / "record.json").unlink()
    (by_patch["p8"] / "last.ckpt").write_bytes(b"no checkpoint")
    done = call("experiments/sweep.py", *words, before=without_laws)
    assert done.returncode == 0, done.stdout
    assert "record.json is no run record" in done.stdout
    assert "cannot be used" in done.stdout
    assert {patch: RunRecord.load(f).test_loss for patch, f in by_patch.items()} == losses


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(call, tmp_path):
    done = call("experiments/sweep.py", "shapes.deit_nano", "--patch", "8,4", "--results", tmp_path / "r", "--dry-run")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["run", "run"]
    assert not (tmp_path / "r").exists()


def test_a_dry_run_knows_runs_that_can_be_resumed_and_those_that_are_under_way(capsys, tmp_path):
    words = ["shapes.deit_nano", "--patch", "8,4", "--results", str(tmp_path), "--dry-run"]
    first, second = (open_run(run, tmp_path) for run in arguments(words)[0])
    for folder in (first, second):
        (folder / "last.ckpt").touch()
    with hold(second):
        assert main(words) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["resume", "running"]


def test_a_run_that_dies_takes_nothing_with_it(call, tmp_path):
    """One run's loss explodes, one process is killed from outside; the others finish, and the status is 1."""
    words = ["shapes.deit_nano", "--patch", "16,8", *SMALL, "--results", tmp_path]
    first = call("experiments/sweep.py", *words, "--lr", "1e30", "--clip", "0", "--warmup-epochs", "0")
    assert first.returncode == 1
    assert first.stdout.count("FAILED") == 2
    assert "training loss is nan at step" in first.stdout
    assert "learning rate" in first.stdout
    assert all(RunRecord.load(f).status == "failed" for f in folders(tmp_path))
    good = call("experiments/sweep.py", *words, before=without_laws)
    assert good.returncode == 0


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


LONG = ["--epochs", "24", "--train-images", "128", "--test-images", "32", "--threads", "1"]


def test_ctrl_c_leaves_everything_resumable(call, tmp_path):
    """Two runs at a time: both save themselves, and the same command ends both. They are alike, and long: neither ends
    before the other has begun."""
    long = [*LONG, "--epochs", "32"]
    words = ["shapes.deit_nano", "--patch", "2", "--seeds", "0,1", *long, "--jobs", "2", "--results", tmp_path]
    process = subprocess.Popen(
        [sys.executable, ROOT / "experiments/sweep.py", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        start_new_session=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    wait_for(lambda: len(list(tmp_path.glob("classify-*/last.ckpt"))) == 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the sweep and to the runs
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 130, said
    assert "the same command resumes" in said
    assert not list(tmp_path.glob("classify-*/record.json"))
    done = call("experiments/sweep.py", *words, before=without_laws)
    assert done.returncode == 0, done.stdout
    for folder in folders(tmp_path):
        steps = [int(r.split(",")[0]) for r in (folder / "curve.csv").read_text().splitlines()[1:]]
        assert steps == sorted(steps)
        assert steps[-1] == 32 * 128 // 32


def test_two_sweeps_over_one_folder_train_no_run_twice(start, tmp_path):
    words = ["shapes.deit_nano", "--patch", "16,8", *LONG, "--jobs", "1", "--results", tmp_path]
    a = start("experiments/sweep.py", *words, before=without_laws)
    wait_for(lambda: list(tmp_path.glob("classify-*/last.ckpt")))
    b = start("experiments/sweep.py", *words, before=without_laws)
    done = [command.wait(150) for command in (a, b)]
    said = [one.stdout for one in done]
    assert [one.returncode for one in done] == [0, 0], done
    assert any("running in another process; checked again at the end" in text for text in said), said
    assert len(folders(tmp_path)) == 2
    for folder in folders(tmp_path):  # training losses with each step once are of a run that was trained once
        with (folder / "curve.csv").open() as f:
            steps = [int(row["step"]) for row in csv.DictReader(f) if row["train_loss"]]
        assert len(steps) == len(set(steps))
    # Each sweep has both runs in the end: one trained them, the other saw the records or waited for them.
    for text in said:
        assert (
            len({line.split()[2] for line in text.splitlines() if line[:4] in ("ok  ", "have") and "loss" in line}) == 2
        )


def test_a_process_that_is_killed_is_reported_and_the_sweep_goes_on(start, tmp_path):
    words = ["shapes.deit_nano", "--patch", "16,8", *LONG, "--epochs", "40", "--jobs", "1", "--results", tmp_path]
    sweep = start("experiments/sweep.py", *words, before=without_laws)
    wait_for(lambda: list(tmp_path.glob("classify-*-p16-*/last.ckpt")))
    (log,) = tmp_path.glob("classify-*-p16-*/log.txt")
    (trainer,) = [p for p in psutil.process_iter() if log.samefile(output_of(p))]
    trainer.kill()
    done = sweep.wait(150)
    assert done.returncode == 1, done
    assert "killed by SIGKILL" in done.stdout
    by_patch = {("p16" if "-p16-" in f.name else "p8"): (f / "record.json").exists() for f in folders(tmp_path)}
    assert by_patch == {"p16": False, "p8": True}


def output_of(process):
    """The file that a process prints into, if it is one that can be seen."""
    with suppress(OSError):
        return (Path("/proc") / str(process.pid) / "fd/1").resolve(strict=True)
    return "/dev/null"


def _little_room():
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


def test_a_disk_that_takes_no_more_is_said_in_one_line_and_loses_nothing(call, tmp_path):
    """A limit on the size of files stands in for a full disk: the checkpoint cannot be written, the rest can."""
    words = ["shapes.deit_nano", "--patch", "16", *SMALL, "--results", tmp_path]
    done = call("experiments/run.py", *words, before=_little_room)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "File too large" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    (folder,) = folders(tmp_path)
    assert recorded(folder) is None
    assert not (folder / "last.ckpt").exists()


def test_the_clock_learns_start_up_and_speed_of_each_backbone():
    clock = Clock()
    seconds = {"deit_nano": (3.0, 2e-12), "adventurer_nano": (9.0, 5e-12)}
    runs = {name: [make_config(backbone=name, patch_size=p, num_train=4096) for p in (16, 8, 4, 2)] for name in seconds}
    assert math.isnan(clock.eta(runs["deit_nano"]))
    for name, (start_up, per_flop) in seconds.items():
        for run in runs[name][:3]:
            clock.add(run, start_up + per_flop * weight(run))
    wanted = sum(start_up + per_flop * weight(runs[name][3]) for name, (start_up, per_flop) in seconds.items())
    assert clock.eta([runs[name][3] for name in seconds]) == pytest.approx(wanted, rel=1e-6)


class Instant:
    """A pool whose jobs end when they are told to. begun: run_ids in order."""

    def __init__(self, monkeypatch, tmp_path):
        self.begun, self.tmp_path = [], tmp_path
        monkeypatch.setattr(LocalPool, "_start", lambda pool, job: self.begun.append(job))
        self.pool = LocalPool(2, lambda job, event: None)

    def submit(self, *runs):
        return list(submit_all(self.pool, [Job(run, self.tmp_path, {}) for run in runs]).values())

    def wait(self):
        self.pool.wait(0.0)
        return [job.job.run for job in self.begun]


@pytest.mark.parametrize(("cores", "runs"), [({3}, 1), ({2, 3}, 2), (set(range(16)), 2)])
def test_runs_at_a_time_are_for_the_cores_that_may_be_used(cores, runs, monkeypatch):
    # As under taskset or in a job of a cluster.
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: cores, raising=False)
    assert parallel_runs(0, "cpu") == runs
    assert parallel_runs(3, "cpu") == 3


def test_a_stage_waits_until_the_one_before_it_has_ended(tiny, monkeypatch, tmp_path):
    first, second = linked([edit(tiny, stage="pretrain"), edit(tiny, stage="finetune")])
    other, instant = edit(tiny, seed=1), Instant(monkeypatch, tmp_path)
    before, after, third = instant.submit(second, first, other)  # the order of handles is that of submission
    assert [job.job.run for job in (before, after, third)] == [first, second, other]
    assert instant.wait() == [first, other]
    before.outcome = Outcome(0, "done")
    assert instant.wait() == [first, other, second]


def test_runs_that_another_process_finished_are_counted_before_their_turn(tiny, monkeypatch, tmp_path):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    runs = [edit(tiny, seed=seed) for seed in range(3)]
    instant = Instant(monkeypatch, tmp_path)
    instant.pool.parallel = 0  # all have to wait
    handles = instant.submit(*runs)

    def ended(seconds):
        clock[0] += seconds
        instant.wait()
        return [job.outcome is not None and job.outcome.found for job in handles]

    assert ended(0) == [False, False, False]
    record(runs[1], tmp_path, 1.0)
    (tmp_path / runs[2].run_id).mkdir()
    (tmp_path / runs[2].run_id / "record.json").write_text("{")  # damaged: to be done again
    assert ended(LOOK_SECONDS - 1) == [False, False, False]  # not at every event of a run: there may be thousands
    assert ended(1) == [False, True, False]
    instant.pool.parallel = 1
    assert instant.wait() == [runs[0], runs[2]]


def test_a_stage_whose_earlier_one_failed_is_not_begun(tiny, monkeypatch, tmp_path):
    first, second = linked([edit(tiny, stage="pretrain"), edit(tiny, stage="finetune")])
    instant = Instant(monkeypatch, tmp_path)
    before, after = instant.submit(first, second)
    instant.wait()
    before.outcome = Outcome(1, "no")
    assert instant.wait() == [first]
    assert instant.pool.outcome(after)[:2] == (1, f"not begun: its earlier stage, {first.run_id}, failed")
    # One whose earlier stage is not of this sweep is begun: the run finds out by itself.
    instant.submit(edit(second, seed=2))
    assert len(instant.wait()) == 2


def test_a_stop_during_the_imports_is_a_stop(tmp_path, tiny, monkeypatch):
    real = builtins.__import__

    def interrupted(name, *rest, **more):
        if name == "scaling.engine.train":
            raise KeyboardInterrupt
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", interrupted)
    outcome = run_quietly(tiny, tmp_path, {}, lambda event: None)
    assert (outcome.status, outcome.text) == (130, "stopped; the same command resumes it")


def said_of(capsys, *words) -> str:
    runs, args = arguments([*map(str, words)])
    print_plan(runs, args, runtime(args))
    return " ".join(capsys.readouterr().out.split())


def test_a_long_sweep_is_not_begun_without_yes(call, tmp_path):
    """ImageNet on the cores of this machine: the plan, then one line that says the hours and what would do."""
    results = tmp_path / "results"
    words = ["imagenet.deit_base", "--patch", "16,8", "--accelerator", "cpu", "--results", results]
    done = call("experiments/sweep.py", *words)
    assert done.returncode == 2, done
    assert "left to do: 2 runs" in done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert re.search(
        r"error: the plan is [\d,]+ machine-h on \d+ cores of this machine, above the limit of 24 h; --yes", done.stderr
    )
    assert not results.exists()


def test_yes_or_a_higher_limit_begins_a_long_sweep(capsys, tmp_path):
    words = ["imagenet.deit_base", "--patch", "16", "--accelerator", "cpu", "--results", tmp_path]
    with pytest.raises(ConfigError, match="above the limit of 24 h; --yes begins it"):
        said_of(capsys, *words)
    for more in (["--yes"], ["--limit", "1e9"]):
        assert "left to do: 1 run," in said_of(capsys, *words, *more)
    with pytest.raises(ConfigError, match="above the limit of 0 h"):
        said_of(capsys, "shapes.deit_nano", "--patch", "16", "--limit", "0", "--results", tmp_path)
    assert not list(tmp_path.iterdir())


def test_finished_runs_do_not_count(capsys, tmp_path):
    words = ["imagenet.deit_base", "--patch", "16,8", "--accelerator", "cpu", "--results", tmp_path]
    runs, _ = arguments([*map(str, words)])
    record(runs[0], tmp_path, 100.0)
    (patch,) = {runs[1].model.patch_size}
    said = said_of(capsys, *words, "--yes")
    assert "left to do: 1 run," in said
    assert f"patch {patch} total" in said
    record(runs[1], tmp_path, 100.0)
    assert said_of(capsys, *words) == ""


def test_a_card_without_rates_stops_no_sweep(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(cost_estimate, "gpus_here", lambda: ["NVIDIA GeForce GTX 1080"])
    said = said_of(capsys, "imagenet.deit_base", "--results", tmp_path)
    assert said.startswith("no plan: no data sheet for this machine's NVIDIA GeForce GTX 1080")


def test_a_sweep_on_a_gpu_is_planned_for_all_of_them(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(cost_estimate, "gpus_here", lambda: ["NVIDIA A100-SXM4-80GB"] * 8)
    with pytest.raises(ConfigError, match=r"the plan is [\d,]+ GPU-h on 8 x a100, above the limit of 24 h"):
        said_of(capsys, "imagenet.adventurer_base", "--patch", "16,8", "--results", tmp_path)
    assert "GPU-min" in said_of(capsys, "shapes.deit_nano", "--patch", "16,8", "--results", tmp_path)


def test_the_plan_of_a_sweep_needs_no_torch(tmp_path):
    code = (
        "import sys\n"
        "from experiments import sweep\nfrom experiments.cli import arguments as cli\n"
        f"runs, args = sweep.arguments(['shapes.deit_nano,shapes.adventurer_nano', '--results', {str(tmp_path)!r}])\n"
        "sweep.print_plan(runs, args, cli.runtime(args))\n"
        "assert not {'torch', 'pandas', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
