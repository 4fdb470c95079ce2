"""The launchers that a sweep can use, by the name of its option --launcher."""

from collections.abc import Callable

from experiments.launch.launcher import Launcher, Watch
from experiments.launch.local import LocalPool

LAUNCHERS: dict[str, Callable[[int, Watch], Launcher]] = {"local": LocalPool}  # made of jobs at a time, and who watches
