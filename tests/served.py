"""Commands without an interpreter for each: a process that has torch, Lightning and OpenMMLab imported (8 s of a core)
forks one for each. What runs is the script as a shell would run it, with its own arguments, environment, output and
status; only imports are not made anew, so tests of imports and of import-time environment take a fresh interpreter.

A sweep that is run so takes the runs' processes from the same server, as its own would have cost the imports once more;
and where pytest-xdist has workers, they share the one that their parent has begun.
"""

import multiprocessing
import multiprocessing.forkserver as forkserver
import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRELOAD = ["scaling.engine.train", "experiments.sweep", "experiments.run", "tests.served", "tests.preloaded"]


SHARED = "PATCH_TESTS_SERVER"  # where the workers' common server listens, and the key that Python 3.14 asks for


def context() -> ForkServerContext:
    """Start processes from the server."""
    served = multiprocessing.get_context("forkserver")
    if SHARED in os.environ:
        address, key = os.environ[SHARED].split()
        server = forkserver._forkserver
        server._forkserver_address, server._forkserver_authkey = address, bytes.fromhex(key.strip("-")) or None
        server.ensure_running = lambda: None
        if server._forkserver_alive_fd is None:
            server._forkserver_alive_fd = os.open(os.devnull, os.O_RDONLY)  # a child is sent one; the parent's counts
    else:
        served.set_forkserver_preload(PRELOAD)
    return served


def share_one_server() -> None:
    """In the parent of pytest-xdist's workers, before it has any: they find it by its address in the environment."""
    context()
    server = forkserver._forkserver
    server.ensure_running()
    key = getattr(server, "_forkserver_authkey", None) or b""
    os.environ[SHARED] = f"{server._forkserver_address} -{key.hex()}"


def stop_server() -> None:
    """At the end of the session: so the time that its children took counts as this session's."""
    if forkserver._forkserver._forkserver_pid is not None:
        for left in multiprocessing.active_children():  # it waits for them
            left.kill()
        forkserver._forkserver._stop()


class Command:
    """A script that is being run, what it says going into files of a folder. before: is called in its process first."""

    def __init__(
        self, folder: Path, script: str, *arguments: object, before: Callable[[], object] | None = None, **env: str
    ) -> None:
        self.folder, self.words = folder, [str(script), *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "80", **env}
        self.process = context().Process(target=_run, args=(self.words, environment, str(folder), before))
        self.process.start()
        self.pid = self.process.pid

    def wait(self, timeout: float = 240) -> subprocess.CompletedProcess:
        """Its status and what it said. Raises TimeoutExpired, and kills it then."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise subprocess.TimeoutExpired(self.words, timeout, *self.said())
        return subprocess.CompletedProcess(self.words, self.process.exitcode, *self.said())

    def said(self) -> list[str]:
        """Its stdout and stderr so far."""
        return [(self.folder / name).read_text() if (self.folder / name).exists() else "" for name in NAMES]


NAMES = ("stdout", "stderr")


def _run(words: list[str], environment: dict[str, str], folder: str, before: Callable[[], object] | None) -> None:
    """In the forked process: become the command."""
    for number, name in enumerate(NAMES, 1):
        handle = os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    share_the_server()
    script = str(ROOT / words[0])
    sys.argv = [script, *words[1:]]
    sys.path[0] = str(Path(script).parent)
    if before is not None:
        before()
    runpy.run_path(script, run_name="__main__")


def share_the_server() -> None:
    """A process that the server has forked asks it for more, where it would have started a server of its own."""
    if forkserver._forkserver._forkserver_alive_fd is not None:
        forkserver._forkserver.ensure_running = lambda: None


def ranks(number: int) -> list[dict[str, str]]:
    """The environment of each of several processes that share a run on this machine, as torchrun would set it."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(number), "NODE_RANK": "0"}
    return [{**shared, "LOCAL_RANK": str(rank)} for rank in range(number)]
