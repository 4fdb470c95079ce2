"""The launcher of a SLURM cluster, its jobs and the state of runs, with a queue that is made up; a real one:
tests/slurm."""

import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import sweep, sweep_status
from experiments.launch import registry, slurm, slurm_jobs, slurm_queue, slurm_request, slurm_task
from experiments.launch.launcher import Job, submit_all
from experiments.launch.outcome import Outcome
from experiments.launch.progress_file import PROGRESS, ProgressFile, read_progress
from experiments.launch.slurm import SlurmPool
from experiments.launch.slurm_options import SlurmOptions, in_job, parse
from experiments.launch.slurm_queue import Queued
from experiments.stages import linked
from scaling.config.edit import edit
from scaling.config.runtime import RuntimeConfig
from scaling.errors import ConfigError
from scaling.runs.events import Event, Progress
from scaling.runs.record import CHECKPOINT, LOG, RunRecord
from scaling.runs.run_folder import hold, open_run
from tests.toy_task import run, toy_recipe, toy_runs

CPU = RuntimeConfig(accelerator="cpu", devices="1", threads=1, num_workers=0, max_parallel_runs=1)
RECIPE = toy_recipe(epochs=2, steps_per_epoch=3, eval_every=0)
WAITS = Queued("PENDING", "Priority", "2026-11-28 20:00", "")
RUNS = Queued("RUNNING", "", "2026-11-28 20:00", "n1")
NAMES = st.text("abcxyz", min_size=1, max_size=9)
VALUES = st.lists(st.text("aZ09:|&[]+.-", min_size=1, max_size=5), min_size=1, max_size=3).map(",".join)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_any_line_of_sbatch_is_read_as_it_was_written_commas_in_values_too(lines):
    assert dict(parse(",".join(f"{name}={value}" for name, value in lines.items())).lines) == lines


def test_options_of_the_launcher_are_told_from_lines_of_sbatch():
    text = "partition=gpu, gpus=2,runs=3,nodelist=n1,n2,factor=1.5,warn=60,card=A100,exclusive=yes"
    lines = (("partition", "gpu"), ("nodelist", "n1,n2"), ("exclusive", "yes"))
    assert parse(text) == SlurmOptions(gpus=2, runs=3, factor=1.5, warn=60, card="a100", lines=lines)
    assert parse("") == SlurmOptions()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("gpu", "'gpu' is no KEY=VALUE"),
        ("gpus=0", "gpus=0 must be a whole number above 0"),
        ("runs=x", "runs=x must be a whole number"),
        ("factor=0.5", "factor=0.5 must be a number between 1 and 100"),
        ("card=nothing", "unknown GPU 'nothing'"),
        ("nodes=2", "nodes: it is set by --num-nodes"),
        ("output=x", "output: it is set by the launcher"),
        ("partition=", "partition: it has no value"),
        ("Big=1", "'Big' is no long option"),
        ("cpus-per-task=some", "cpus-per-task=some must be a whole number"),
    ],
)
def test_options_that_cannot_be_are_refused_with_what_would_do(text, why):
    with pytest.raises(ConfigError, match=why):
        parse(text)


def test_a_job_has_as_many_devices_as_gpus_or_one_processor():
    assert in_job(RuntimeConfig()) == RuntimeConfig(accelerator="cpu", devices="1", threads=1)
    assert in_job(RuntimeConfig(slurm="cpus-per-task=4")).threads == 4
    with_gpus = in_job(RuntimeConfig(slurm="gpus=4"))
    assert (with_gpus.accelerator, with_gpus.devices, with_gpus.threads) == ("gpu", "4", None)
    for wrong, why in (
        (RuntimeConfig(accelerator="gpu"), "1 devices per node and 0 GPUs"),
        (RuntimeConfig(devices="2", slurm="gpus=4"), "2 devices per node and 4 GPUs"),
        (RuntimeConfig(accelerator="cpu", slurm="gpus=1"), "with --accelerator cpu"),
        (RuntimeConfig(devices="0,1"), "a number of devices per node"),
    ):
        with pytest.raises(ConfigError, match=why):
            in_job(wrong)
    with pytest.raises(ConfigError, match="--slurm is for --launcher slurm"):
        registry.settings_for("local", RuntimeConfig(slurm="gpus=1"))


def test_a_job_asks_for_the_plans_time_and_memory_with_the_factor(tmp_path):
    def asked(**settings):
        job = Job(RECIPE, tmp_path, in_job(RuntimeConfig(**settings)))
        return dict(slurm_request.request_of(job, parse(job.settings.slurm)).lines(runs=4))

    assert asked(accelerator="cpu", slurm="partition=main")["time"] == "10"
    assert asked(accelerator="cpu", slurm="partition=main")["mem"] == "4G"
    assert asked(slurm="factor=4")["mem"] == "7G"
    given = asked(slurm="time=1:00:00,mem=2G,cpus-per-task=3", devices="2", num_nodes=2)
    assert given == {
        "time": "1:00:00",
        "mem": "2G",
        "cpus-per-task": "3",
        "nodes": "2",
        "ntasks-per-node": "2",
    }
    on_gpus = asked(slurm="gpus=2,card=a100")
    assert (on_gpus["gpus-per-node"], on_gpus["cpus-per-task"], "mem" in on_gpus) == ("2", "8", False)
    with pytest.raises(ConfigError, match="card=a100"):
        asked(slurm="gpus=2")


@given(st.floats(1e-6, 1e5))
def test_minutes_are_rounded_up_by_a_fifth_at_most(minutes):
    assert minutes <= slurm_request._rounded(minutes) <= max(0.5, 1.2 * minutes)


@pytest.fixture
def cluster(monkeypatch):
    """A queue that is made up. submitted: (request, after, run_ids of each job) of each submission; queued: jobs."""
    made = SimpleNamespace(submitted=[], queued={}, cancelled=[], refused=None)

    def submit_tasks(folder, tasks, results, settings, request, after, parallel):
        first = str(len(made.submitted) + 1)
        ids = [f"{first}_{i}" for i in range(len(tasks))] if len(tasks) > 1 else [first]
        named = [[type(RECIPE).from_dict(config).run_id for config in task] for task in tasks]
        made.submitted.append((request, after, dict(zip(ids, named, strict=True))))
        made.queued.update(dict.fromkeys(ids, WAITS))
        return ids

    monkeypatch.setattr(slurm, "submit_tasks", submit_tasks)
    monkeypatch.setattr(slurm, "ASK_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(slurm_queue, "queue", lambda: dict(made.queued))
    monkeypatch.setattr(slurm_queue, "check_lines", lambda lines: None)
    monkeypatch.setattr(slurm_queue, "ending", lambda job: made.refused or "")
    monkeypatch.setattr(slurm_queue, "cancel", lambda jobs: made.cancelled.extend(jobs))
    return made


def jobs(runs, results, **settings):
    return [Job(one, results, replace(CPU, slurm="time=10,runs=2", **settings)) for one in runs]


def test_alike_runs_are_an_array_several_per_job_and_a_stage_waits_for_its_own(cluster, tmp_path):
    seeds = [edit(RECIPE, seed=seed) for seed in range(5)]
    chain = linked([edit(RECIPE, seed=9, stage=stage) for stage in ("pretrain", "finetune")])
    pool = SlurmPool(3, lambda job, event: None)
    handles = submit_all(pool, jobs([*seeds, *chain], tmp_path))
    pool.wait(0)
    (_, none, first), (_, after, second) = cluster.submitted
    ids = [one.run_id for one in (*seeds, chain[0])]
    assert first == {"1_0": ids[:2], "1_1": ids[2:4], "1_2": ids[4:]}
    assert none == ()
    assert (after, second) == (("1_2",), {"2": [chain[1].run_id]})
    assert slurm_jobs.read_jobs(tmp_path) == {**first, **second}
    assert {run_id: handle.id for run_id, handle in handles.items()} == {
        run_id: job for job, its in (*first.items(), *second.items()) for run_id in its
    }


def test_a_run_that_has_a_job_gets_no_second_one_until_that_has_ended(cluster, tmp_path):
    def submitted():
        pool = SlurmPool(0, lambda job, event: None)
        (handle,) = submit_all(pool, jobs([RECIPE], tmp_path)).values()
        pool.wait(0)
        return handle.id

    assert [submitted(), submitted()] == ["1", "1"]
    with pytest.raises(ConfigError, match=r"1 of SLURM's jobs are for these runs \(1\)"):
        slurm_jobs.check_not_queued([RECIPE], tmp_path)
    slurm_jobs.check_not_queued([edit(RECIPE, seed=1)], tmp_path)
    cluster.queued.clear()
    slurm_jobs.check_not_queued([RECIPE], tmp_path)
    assert submitted() == "2"


def test_two_commands_that_submit_at_once_are_one_too_many(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_jobs, "LOCK_SECONDS", 0.0)
    pool = SlurmPool(0, lambda job, event: None)
    submit_all(pool, jobs([RECIPE], tmp_path))
    with slurm_jobs.submitting(tmp_path), pytest.raises(ConfigError, match="another sweep is submitting"):
        pool.wait(0)
    assert not cluster.submitted


def seen(pool, handle, looks=1):
    for _ in range(looks):
        pool.wait(0)
    return pool.outcome(handle)


def test_jobs_end_as_their_records_their_reports_or_slurm_have_it(cluster, tmp_path):
    runs = linked([edit(RECIPE, stage=stage) for stage in ("pretrain", "finetune")])
    others = [edit(RECIPE, seed=seed) for seed in (1, 2)]
    pool = SlurmPool(0, lambda job, event: None)
    first, second, third, _ = submit_all(pool, jobs([*runs, *others], tmp_path)).values()
    pool.wait(0)
    assert [seen(pool, handle) for handle in (first, second)] == [None, None]
    cluster.queued.clear()
    slurm_jobs.report_outcome(tmp_path, first.id, first.run_id, Outcome(130, "stopped"))
    slurm_jobs.report_outcome(tmp_path, first.id, first.run_id, Outcome(1, "ValueError: no"))
    assert seen(pool, first) == Outcome(1, "ValueError: no")
    cluster.refused = "CANCELLED, DependencyNeverSatisfied"
    assert seen(pool, second, slurm.UNSEEN).text == f"not begun: its earlier stage, {first.run_id}, failed"
    assert third.outcome.status == 1
    assert "CANCELLED" in third.outcome.text

    again = SlurmPool(0, lambda job, event: None)
    (handle,) = submit_all(again, jobs([edit(RECIPE, seed=3)], tmp_path)).values()
    again.wait(0)
    cluster.queued.clear()
    cluster.refused = "FAILED, JobLaunchFailure"
    found = seen(again, handle, slurm.UNSEEN)
    assert found.status == 2
    assert "can the compute nodes see this folder?" in found.text


def test_a_silent_slurm_ends_no_job(cluster, tmp_path, monkeypatch):
    notes = []
    pool = SlurmPool(0, lambda job, event: notes.append(event.text))
    (handle,) = submit_all(pool, jobs([RECIPE], tmp_path)).values()
    pool.wait(0)

    def silent():
        raise slurm_queue.SlurmSilentError("SLURM does not answer")

    monkeypatch.setattr(slurm_queue, "queue", silent)
    assert seen(pool, handle, 5) is None
    assert notes == ["SLURM does not answer; jobs continue meanwhile"]


@pytest.fixture
def task(monkeypatch, tmp_path):
    """task(runs, cut=step, by=signal) -> the status with which a job ends; toy runs, signals as before afterwards."""
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCONT)}
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    made = SimpleNamespace(requeued=[])
    monkeypatch.setattr(slurm_task, "requeue", made.requeued.append)
    (tmp_path / slurm_jobs.FOLDER).mkdir()

    def ended(runs, cut=0, by=signal.SIGUSR1):
        train = slurm_task.run_quietly

        def cutting(config, results, settings, report, wait):
            def show(event):
                report(event)
                if event.kind == "train" and cut and event.progress.step == cut - 1:
                    os.kill(os.getpid(), by)

            return train(config, results, settings, show, wait)

        with monkeypatch.context() as patch:
            patch.setattr(slurm_task, "run_quietly", cutting)
            with pytest.raises(SystemExit) as end:
                slurm_task.run_task([one.to_dict() for one in runs], str(tmp_path), CPU)
        return end.value.code

    made.ended = ended
    with toy_runs():
        yield made
    for one, handler in before.items():
        signal.signal(one, handler)


def test_at_its_time_limit_a_job_starts_again_and_its_run_resumes_with_the_same_bits(task, tmp_path):
    other = edit(RECIPE, seed=1)
    assert task.ended([RECIPE, other], cut=4) == 0
    assert task.requeued == ["7"]
    assert (tmp_path / RECIPE.run_id / CHECKPOINT).exists()
    assert task.ended([RECIPE, other]) == 0
    assert task.requeued == ["7"]
    texts = {run_id: [one.status for one in its] for run_id, its in slurm_jobs.reported(tmp_path, "7").items()}
    assert texts == {RECIPE.run_id: [130, 0], other.run_id: [0]}
    plain = run(RECIPE, tmp_path / "plain")
    assert RunRecord.load(tmp_path / RECIPE.run_id).test_loss == plain.test_loss


def test_a_job_that_is_cancelled_or_preempted_is_saved_and_asks_for_nothing(task, tmp_path):
    assert task.ended([RECIPE], cut=4, by=signal.SIGTERM) == 0
    assert not task.requeued
    assert (tmp_path / RECIPE.run_id / CHECKPOINT).exists()
    assert "by SIGTERM" in slurm_jobs.reported(tmp_path, "7")[RECIPE.run_id][0].text


def test_a_job_that_trains_no_step_is_not_started_for_ever(task, tmp_path, monkeypatch):
    def no_step(config, results, settings, report, wait):
        return Outcome(130, "stopped", signal="SIGUSR1")

    monkeypatch.setattr(slurm_task, "run_quietly", no_step)
    assert [task.ended([RECIPE]) for _ in range(3)] == [0, 0, 1]
    assert task.requeued == ["7", "7"]
    assert "no step within the time limit" in slurm_jobs.reported(tmp_path, "7")[RECIPE.run_id][-1].text


def test_a_job_with_a_run_that_failed_trains_the_others_and_fails(task, tmp_path, monkeypatch):
    broken, train = edit(RECIPE, seed=2), slurm_task.run_quietly

    def failing(config, *args):
        return Outcome(1, "ValueError: no") if config == broken else train(config, *args)

    monkeypatch.setattr(slurm_task, "run_quietly", failing)
    assert task.ended([broken, RECIPE]) == 1
    assert RunRecord.load(tmp_path / RECIPE.run_id).status == "finished"
    assert slurm_jobs.reported(tmp_path, "7")[broken.run_id][0].status == 1


def test_the_status_has_every_state_and_fits_a_terminal(cluster, tmp_path, capsys):
    runs = [edit(RECIPE, seed=seed) for seed in range(6)]
    pool = SlurmPool(0, lambda job, event: None)
    submit_all(pool, [Job(one, tmp_path, replace(CPU, slurm="time=10")) for one in runs[:4]])
    pool.wait(0)
    running, failed, lost, queued, stopped, finished = runs
    cluster.queued = {"1_0": RUNS, "1_3": WAITS}
    slurm_jobs.report_outcome(tmp_path, "1_1", failed.run_id, Outcome(1, "ValueError: no"))
    with toy_runs():
        run(finished, tmp_path)
    for one in (running, failed, stopped):
        open_run(one, tmp_path)
    (tmp_path / failed.run_id / LOG).write_text("first\nlast line of a log\n")
    (tmp_path / stopped.run_id / CHECKPOINT).touch()
    (tmp_path / running.run_id / PROGRESS).write_text(
        '{"epoch": 2, "epochs": 4, "step": 30, "steps": 60, "loss": 0.5, "images_per_second": 10, "eta": 7200.4}'
    )
    with hold(tmp_path / running.run_id):
        assert sweep.main(["--status", "--results", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert printed.startswith("6 runs: 1 finished, 1 to do, 1 stopped, 1 failed, 1 queued, 1 running")
    assert [line.split() for line in lines if not line.startswith(" ")][1:] == [
        ["running", running.run_id],
        ["queued", queued.run_id],
        ["failed", failed.run_id],
        ["stopped", stopped.run_id],
        ["to", "do", lost.run_id],
        ["finished", finished.run_id],
    ]
    for text in ("epoch 2/4 step 30/60 loss 0.500 ETA 2:00:00", "on n1", "Priority", "ValueError: no", "last line of"):
        assert text in printed, text
    assert max(map(len, printed.replace(str(tmp_path), "").splitlines())) <= 80
    assert sweep_status.cancel([], tmp_path) == 0
    assert cluster.cancelled == ["1_0", "1_3"]


def test_progress_is_in_the_folder_while_a_run_is_trained_and_not_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.launch.progress_file.SECONDS", 0.0)
    folder = open_run(RECIPE, tmp_path)
    file = ProgressFile(RECIPE, tmp_path)
    file.remove()
    file.show(Event("train", Progress(epoch=1, step=3, eta=50.0)))
    os.utime(folder / PROGRESS, (0, (folder / PROGRESS).stat().st_mtime - 20))
    found = read_progress(folder)
    assert found.progress.step == 3
    assert 0 <= found.eta <= 30
    file.remove()
    assert {path.name for path in folder.iterdir()} == {"config.json"}
    assert read_progress(folder) is None
