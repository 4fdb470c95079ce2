"""SLURM's commands: which jobs of this user wait or run, how one ended, and requests to cancel or requeue. No torch."""

import getpass
import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from scaling.errors import ConfigError, first_line

SECONDS = 60.0  # that a command may take: a controller that is down is tried several times
WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD")
AT_ONCE = 500  # jobs in one command


class Queued(NamedTuple):
    """A job, or a task of an array, that has not ended."""

    state: str  # as squeue has it: PENDING, RUNNING, COMPLETING ...
    reason: str  # why it waits
    start: str  # when it began or is expected to, ISO 8601 local time; "": unknown
    node: str

    @property
    def waits(self) -> bool:
        return self.state in WAITING


class SlurmSilentError(ConfigError):
    """SLURM does not answer."""


def check_slurm() -> None:
    """Raise ConfigError unless jobs can be submitted from this host."""
    for command in ("sbatch", "squeue", "scancel", "scontrol"):
        if shutil.which(command) is None:
            raise ConfigError(
                f"no SLURM on this host: there is no {command}; start from a login node, or with --launcher local"
            )
    _call("scontrol", "ping")


def check_lines(lines: Sequence[tuple[str, str]]) -> None:
    """Raise ConfigError where SLURM would refuse a job with these lines of sbatch; submits nothing."""
    words = [f"--{name}" + ("" if value == "yes" else f"={value}") for name, value in lines]
    try:
        _call("sbatch", "--test-only", *words, "--wrap=true")
    except SlurmSilentError:
        raise
    except ConfigError as e:
        raise ConfigError(f"SLURM refuses such jobs ({e}); asked for: {' '.join(words)}") from e


def queue() -> dict[str, Queued]:
    """This user's jobs that wait or run, by job ID: "12", of an array "12_3". Raises SlurmSilentError."""
    text = _call("squeue", "--noheader", "--array", "--user", getpass.getuser(), "--format=%i|%T|%r|%S|%N")
    return dict(map(_queued, filter(None, text.splitlines())))


def _queued(line: str) -> tuple[str, Queued]:
    job, state, reason, start, node = line.split("|")
    try:
        start = datetime.fromisoformat(start).isoformat(" ", "minutes")
    except ValueError:  # N/A
        start = ""
    return job, Queued(state, "" if reason == "None" else reason, start, node)


def ending(job: str) -> str:
    """How a job ended, in SLURM's words, as "TIMEOUT"; empty where it has forgotten that (after
    MinJobAge), and for a task of an array that was cancelled while it waited."""
    try:
        text = _call("scontrol", "--oneliner", "show", "job", job)
    except ConfigError:
        return ""
    facts = dict(word.split("=", 1) for word in text.split() if "=" in word)
    reason = facts.get("Reason", "None")
    return facts.get("JobState", "") + ("" if reason == "None" else f", {reason}")


def cancel(jobs: Sequence[str]) -> None:
    """End jobs: those that wait at once; those that run have SLURM's KillWait to save a checkpoint. Raises
    ConfigError."""
    for i in range(0, len(jobs), AT_ONCE):
        _call("scancel", "--quiet", *jobs[i : i + AT_ONCE])


def requeue(job: str) -> None:
    """Have SLURM start a job again once its processes have ended. Raises ConfigError."""
    _call("scontrol", "requeue", job)


def _call(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired as e:
        raise SlurmSilentError(f"SLURM does not answer ({words[0]} took {SECONDS:g} s); try again later") from e
    except OSError as e:
        raise ConfigError(f"no SLURM on this host: {words[0]} cannot be run ({e.strerror})") from e
    said = last_message(done.stderr) or last_message(done.stdout)
    if done.returncode and (words[:2] == ("scontrol", "ping") or any(word in said.lower() for word in SILENT)):
        raise SlurmSilentError(f"SLURM does not answer ({said}); is slurmctld running? try again later")
    if done.returncode:
        raise ConfigError(f"{words[0]}: {said}")
    return done.stdout


NAMED = re.compile(r"^[a-z]+: ((error|fatal): )?")  # how lines of SLURM's commands begin
SILENT = ("unable to contact slurm", "connection refused", "timed out", "connect failure")


def last_message(text: str) -> str:
    """The last line that a command of SLURM printed, without its own name: the one with the reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return first_line(ValueError(NAMED.sub("", lines[-1]))) if lines else ""
