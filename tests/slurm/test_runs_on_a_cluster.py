"""Runs on a real SLURM end as they do on one machine, whatever interrupts them: the same bits."""

import math
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from experiments.launch.launcher import Job, submit_all
from experiments.launch.local import LocalPool
from experiments.launch.slurm import SlurmPool
from experiments.launch.slurm_jobs import jobs_folder, read_jobs, reported
from experiments.launch.slurm_queue import queue
from experiments.recipes.shapes import deit_nano
from experiments.stages import linked
from experiments.sweep import arguments
from scaling.config.edit import edit
from scaling.config.runtime import RuntimeConfig
from scaling.runs.record import LOG, WEIGHTS, RunRecord
from tests.conftest import ROOT

CPU = RuntimeConfig(accelerator="cpu", devices="1", threads=1, num_workers=0, max_parallel_runs=1)
SHORT = ["--epochs", "1", "--num-train", "64", "--num-val", "16", "--threads", "1", "--num-workers", "0"]
SIX = ["shapes.deit_nano", "--patch", "16,8", "--seeds", "0,1,2", *SHORT, "--accelerator", "cpu"]
LONG = edit(deit_nano(16), epochs=12, num_train=256, num_val=16)
CASES = ("kill", "scancel", "preempt", "limit")
INTERRUPTED = {case: edit(LONG, seed=seed) for seed, case in enumerate(CASES)}
PAIR = edit(deit_nano(16), epochs=1, num_train=64, num_val=16, seed=7)
CHAIN = linked([edit(PAIR, seed=8, stage=name) for name in ("pretrain", "finetune")])
# A sweep without its report: laws and figures are not the subject.
SWEEP = (
    "import sys; from analysis.report import law_report; law_report.report = lambda *_: []; "
    "from experiments import report; report.write_page = lambda *_, **__: None; "
    "sys.argv[0] = 'experiments/sweep.py'; from experiments.sweep import program; program()"
)


BEGUN: list[subprocess.Popen] = []


def sweep(*words) -> subprocess.Popen:
    begun = subprocess.Popen(
        [sys.executable, "-c", SWEEP, *map(str, words)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    BEGUN.append(begun)
    return begun


def said_by(process: subprocess.Popen) -> SimpleNamespace:
    out, err = process.communicate(timeout=600)
    return SimpleNamespace(status=process.returncode, out=out, err=err)


def told(*words) -> SimpleNamespace:
    return said_by(sweep(*words))


def slurm(*words) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def until(condition, pool=None, seconds=600):  # a busy machine is no failure
    """Wait for a condition, and return its value."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "nothing happened"
        pool.wait(0.1) if pool else time.sleep(0.05)
    return found


def ended(pool, handles) -> dict[str, int]:
    """The statuses of jobs once all of them have ended, by run_id."""
    until(lambda: all(pool.outcome(handle) is not None for handle in handles.values()), pool)
    return {run_id: pool.outcome(handle).status for run_id, handle in handles.items()}


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """local(jobs) -> the results folder of their runs, as this machine alone trains them."""
    results = tmp_path_factory.mktemp("local")

    def trained(jobs) -> Path:
        pool = LocalPool(2, lambda job, event: None)
        handles = submit_all(pool, [replace(job, results=results, settings=local_settings(job)) for job in jobs])
        assert set(ended(pool, handles).values()) == {0}
        return results

    return trained


def local_settings(job) -> RuntimeConfig:
    """Two nodes of one device are two devices here."""
    nodes = job.settings.num_nodes
    return replace(CPU, devices=str(nodes), strategy="ddp" if nodes > 1 else "auto")


@pytest.fixture
def results(cluster, tmp_path):
    yield tmp_path / "results"
    for process in BEGUN:
        process.kill()
        process.wait()
    left = [job for job in read_jobs(tmp_path / "results") if job in queue()]
    if left:
        slurm("scancel", *left)


def assert_same(run_id: str, here: Path, there: Path) -> None:
    """The record and the weights of a run are the same bits in two results folders."""
    import torch

    ours, theirs = RunRecord.load(here / run_id), RunRecord.load(there / run_id)
    for name in ("test_loss", "metrics", "evaluations", "config", "parameters"):
        assert getattr(ours, name) == getattr(theirs, name), name
    mine, its = (torch.load(folder / run_id / WEIGHTS, weights_only=True)["model"] for folder in (here, there))
    assert all(torch.equal(mine[name], its[name]) for name in its)


def assert_alike(run_id: str, here: Path, there: Path) -> None:
    """The same but for rounding: processes on two nodes may add up gradients in another order than two on one."""
    import torch

    ours, theirs = RunRecord.load(here / run_id), RunRecord.load(there / run_id)
    assert ours.config == theirs.config
    assert ours.test_loss == pytest.approx(theirs.test_loss, rel=1e-5)
    assert ours.metrics == pytest.approx(theirs.metrics, rel=1e-3)
    mine, its = (torch.load(folder / run_id / WEIGHTS, weights_only=True)["model"] for folder in (here, there))
    for name in its:
        torch.testing.assert_close(mine[name], its[name], atol=1e-5, rtol=1e-4)


def process_of(job: str, results: Path) -> psutil.Process:
    """The Python process of a job of one task."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "submitit.core._submit" in words and str(jobs_folder(results)) in words:
            environment = process.environ()
            ids = [environment.get(f"SLURM_{name}", "") for name in ("JOB_ID", "ARRAY_JOB_ID", "ARRAY_TASK_ID")]
            if job in (ids[0], "_".join(ids[1:])):
                return process
    raise AssertionError(f"job {job} has no process")


def stopped(handles, results) -> dict[str, psutil.Process]:
    """The process of each run once it has trained an epoch, stopped where it stands: so it does not end too early."""
    found: dict[str, psutil.Process] = {}

    def all_stopped() -> bool:
        for case, one in handles.items():
            log = one.folder / LOG
            if case not in found and log.is_file() and "epoch 1" in log.read_text():
                found[case] = process_of(one.id, results)
                found[case].suspend()
        return len(found) == len(handles)

    until(all_stopped)
    return found


def end_soon(job: str) -> None:
    """Let the time limit of a job that runs come in 45 to 105 s: SLURM looks for limits every 30 s."""
    *_, minutes, seconds = slurm("squeue", "--noheader", "--array", f"--jobs={job}", "--format=%M").strip().split(":")
    limit = math.ceil((60 * int(minutes) + int(seconds) + 45) / 60)
    slurm("scontrol", "update", f"JobId={job}", f"TimeLimit={limit}")


def signalled(process: psutil.Process) -> bool:
    """Whether SIGUSR1 waits for a process, or has ended it."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except FileNotFoundError:
        return True
    return bool(int(re.search(r"ShdPnd:\s*(\w+)", status).group(1), 16) & 1 << (signal.SIGUSR1 - 1))


def start_now(job: str, pool) -> None:
    """A job that was requeued begins at once, where SLURM would wait two minutes."""
    until(lambda: queue().get(job) and queue()[job].reason == "BeginTime", pool)
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now", "TimeLimit=60")


def test_runs_that_are_interrupted_in_any_way_end_with_the_same_bits(cluster, local, results):
    def jobs(cases):
        settings = replace(CPU, slurm="time=60,warn=10")
        return [Job(INTERRUPTED[case], results, settings) for case in cases]

    pool = SlurmPool(0, lambda job, event: None)
    handles = submit_all(pool, jobs(CASES))
    pool.wait(0)
    of = {case: handles[INTERRUPTED[case].run_id] for case in CASES}
    at = stopped(of, results)
    at["kill"].kill()
    slurm("scancel", of["scancel"].id)
    end_soon(of["limit"].id)
    node = queue()[of["preempt"].id].node
    slurm("sbatch", "--partition=urgent", f"--nodelist={node}", "--output=/dev/null", "--wrap=sleep 1")
    until(lambda: signalled(at["limit"]))
    with suppress(psutil.NoSuchProcess):
        at["limit"].resume()
    start_now(of["preempt"].id, pool)
    start_now(of["limit"].id, pool)
    statuses = ended(pool, handles)
    assert {case: statuses[INTERRUPTED[case].run_id] for case in CASES} == {
        "kill": 1,
        "scancel": 1,
        "preempt": 0,
        "limit": 0,
    }
    assert "ended (FAILED" in of["kill"].outcome.text
    assert "ended (CANCELLED" in of["scancel"].outcome.text
    for case, by in (("scancel", "SIGTERM"), ("preempt", "SIGTERM"), ("limit", "SIGUSR1")):
        first = reported(results, of[case].id)[INTERRUPTED[case].run_id][0]
        assert re.search(rf"at step [1-9]\d*, by {by}", first.text), (case, first)  # it was resumed from a checkpoint

    again = SlurmPool(0, lambda job, event: None)
    assert set(ended(again, submit_all(again, jobs(("kill", "scancel")))).values()) == {0}
    expected = local(jobs(CASES))
    for run in INTERRUPTED.values():
        assert_same(run.run_id, results, expected)


def test_two_nodes_share_a_run_and_a_stage_waits_for_the_one_before_it(cluster, local, results):
    pool = SlurmPool(0, lambda job, event: None)
    jobs = [
        Job(PAIR, results, replace(CPU, num_nodes=2)),
        *(Job(run, results, CPU) for run in reversed(CHAIN)),
    ]
    handles = submit_all(pool, jobs)
    pool.wait(0)
    first, second = (handles[run.run_id].id for run in CHAIN)
    assert f"afterok:{first}" in slurm("scontrol", "show", "job", second)
    assert set(ended(pool, handles).values()) == {0}
    assert RunRecord.load(results / PAIR.run_id).machine["nodes"] == 2
    expected = local(jobs)
    assert_alike(PAIR.run_id, results, expected)
    for run in CHAIN:
        assert_same(run.run_id, results, expected)


def test_a_sweep_of_six_runs_on_two_nodes_goes_on_without_the_command_that_began_it(cluster, local, results):
    words = [*SIX, "--results", results, "--launcher", "slurm", "--slurm", "partition=pair,runs=2"]
    first = sweep(*words)
    until(lambda: len(read_jobs(results)) == 3)
    first.send_signal(signal.SIGINT)
    left = said_by(first)
    assert left.status == 130
    assert f"--results {results} --status` shows them, --cancel instead of --status ends them" in left.out
    assert not left.err
    jobs = read_jobs(results)
    status = told("--status", "--results", results)
    assert status.status == 0
    assert "6 runs" in status.out
    assert "queued" in status.out

    joined = told(*words)
    assert joined.status == 0, joined.out + joined.err
    assert read_jobs(results) == jobs  # no run was given a second job
    for job, runs in jobs.items():
        assert {run_id: len(its) for run_id, its in reported(results, job).items()} == dict.fromkeys(runs, 1)
    runs, _ = arguments([*SIX, "--results", str(results)])
    expected = local([Job(run, results, CPU) for run in runs])
    for run in runs:
        assert_same(run.run_id, results, expected)
    assert "6 runs: 6 finished" in told("--status", "--results", results).out


def test_jobs_that_wait_keep_other_launchers_off_and_are_cancelled(cluster, results):
    words = [*SIX, "--results", results]
    waiting = sweep(*words, "--launcher", "slurm", "--slurm", "begin=now+1hour")
    until(lambda: read_jobs(results))
    assert "6 runs: 6 queued" in told("--status", "--results", results).out
    refused = told(*words)
    assert refused.status == 2
    assert refused.err.count("\n") == 1
    assert "6 of SLURM's jobs are for these runs" in refused.err
    assert "6 jobs cancelled" in told("--cancel", "--results", results).out
    end = said_by(waiting)
    assert end.status == 1
    assert end.out.count("it was cancelled before it began") >= 6
    assert not list(results.glob("classify-*"))


def test_what_slurm_cannot_do_is_one_line(cluster, results):
    words = [*SIX, "--launcher", "slurm", "--results"]
    hidden = cluster / "hidden" / "results"
    blind = sweep(*words, hidden, "--slurm", "partition=blind") if "n5" in slurm("sinfo", "-h", "-t", "idle") else None
    for option, why in (("partition=nowhere", "Invalid partition"), ("constraint=large", "Invalid feature")):
        done = told(*words, results, "--slurm", option)
        assert (done.status, done.err.count("\n")) == (2, 1), done
        assert why in done.err
        assert option in done.err
        assert not results.exists()
    if blind:
        done = said_by(blind)
        assert (done.status, done.err.count("\n")) == (2, 1), done
        assert "can the compute nodes see this folder?" in done.err


def test_a_dead_slurmctld_is_one_line(cluster, results):
    pid = int((cluster / "slurmctld.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    until(lambda: not psutil.pid_exists(pid))
    try:
        done = told(*SIX, "--launcher", "slurm", "--results", results)
        assert (done.status, done.err.count("\n")) == (2, 1), done
        assert "SLURM does not answer" in done.err
        assert not results.exists()
    finally:
        subprocess.run(["slurmctld", "-f", os.environ["SLURM_CONF"]], check=True)
        until(lambda: "UP" in subprocess.run(["scontrol", "ping"], capture_output=True, text=True).stdout)
