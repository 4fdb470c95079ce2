"""KeptInside: values that are computed once inside a block, while what they are of is not expected to change."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

T = TypeVar("T")


class KeptInside:
    """Outside of a block nothing is kept."""

    def __init__(self) -> None:
        self._values: dict[Hashable, object] | None = None

    @property
    def inside(self) -> bool:
        """Whether this is within a block."""
        return self._values is not None

    @contextmanager
    def block(self) -> Iterator[None]:
        """Nested blocks share the values of the outermost one."""
        outer = self._values
        self._values = {} if outer is None else outer
        try:
            yield
        finally:
            self._values = outer

    def value(self, key: Hashable, make: Callable[[], T]) -> T:
        """What make returns; made once per key inside a block, and not to be changed."""
        if self._values is None:
            return make()
        if key not in self._values:
            self._values[key] = make()
        return cast(T, self._values[key])

    def clear(self) -> None:
        """Free the values."""
        if self._values is not None:
            self._values.clear()
