"""Signals that ask a run to stop: Ctrl-C, a scheduler's SIGTERM and SIGUSR1, a terminal that closes (SIGHUP)."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from scaling.errors import TrainingInterrupted

Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None  # None: not set from Python
# Windows has two of them.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]


def catch(handler: Callable[[signal.Signals], None]) -> dict[signal.Signals, Handler]:
    """Have handler called in this process at any of SIGNALS. Returns the handlers before, for `release`; of a thread
    that is not the main one, which gets no signals, none. Under nohup SIGHUP stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    ours, before = os.getpid(), {}

    def called(number: int, frame: FrameType | None) -> None:
        if os.getpid() == ours:  # processes that are forked to read images leave it to this one
            handler(signal.Signals(number))

    for wanted in SIGNALS:
        if wanted.name == "SIGHUP" and signal.getsignal(wanted) is signal.SIG_IGN:
            continue
        before[wanted] = signal.signal(wanted, called)
    return before


def release(before: dict[signal.Signals, Handler]) -> None:
    """Put handlers back that `catch` has replaced."""
    for wanted, handler in before.items():
        signal.signal(wanted, signal.SIG_DFL if handler is None else handler)


@contextmanager
def at_once() -> Iterator[None]:
    """Inside, a signal raises TrainingInterrupted where the process stands."""
    before = catch(_stop)
    try:
        yield
    finally:
        release(before)


def _stop(wanted: signal.Signals) -> None:
    raise TrainingInterrupted(wanted.name)


def as_ctrl_c() -> None:
    """For programs: every one of SIGNALS raises KeyboardInterrupt from here on."""
    for wanted in SIGNALS[1:]:
        if wanted.name != "SIGHUP" or signal.getsignal(wanted) is not signal.SIG_IGN:
            signal.signal(wanted, signal.default_int_handler)
