"""Timing of alternatives on a machine whose speed drifts: a call of each in turn, so that a slow minute slows all; the
memory that a call takes; and the progress of a benchmark."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import track

from scaling.engine.environment import Memory

T = TypeVar("T")


def progress(cases: Sequence[T], what: str) -> Iterable[T]:
    """The cases of a benchmark, with a bar on stderr while they last, where that is a terminal."""
    return track(cases, what, console=Console(stderr=True), transient=True)


def interleaved(
    calls: Mapping[str, Callable[[], object]],
    turns: int,
    warm: int = 1,
    cuda: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each call, one of each in turn; the first `warm` turns are not counted. cuda: wait for the
    device after each call. clock: time.process_time counts this process alone, all of its threads."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(warm + turns):
        for name, call in calls.items():
            began = clock()
            call()
            if cuda:
                torch.cuda.synchronize()
            if turn >= warm:
                seconds[name].append(clock() - began)
    return {name: statistics.median(found) for name, found in seconds.items()}


def peak_of(call: Callable[[], object], cuda: bool = False) -> int:
    """Most memory of a call above what was held before it [bytes]."""
    _trim()
    memory = Memory(cuda)
    call()
    return memory.peak()


def _trim() -> None:
    """Give back what earlier calls freed, so that it counts for nobody (glibc)."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
