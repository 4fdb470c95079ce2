"""Which image goes into which row: bin packing of sequence lengths.

An image is never split. Plans are pure functions of the lengths, so every worker process, device and resumed run makes
the same one. NaViT (arXiv 2307.06304, appendix A.3) packs greedily, each image into the first row with room; its rows
have a fixed length, here too: `capacity`. What is left of a row is padding.

first-fit    images as they come, each into the first open row with room (the paper)
best-fit     images as they come, each into the open row with the least room that suffices
decreasing   first-fit, longest image first: at most 11/9 of the fewest rows, plus one (Johnson 1973; Dosa 2007)
balanced     rows that are filled evenly (longest image first, into the emptiest row) and cut at the longest of them;
             their number is the first with hardly any padding, else the one with the least
"""

import heapq
from collections.abc import Callable, Sequence

from scaling.errors import ConfigError

LITTLE = 0.001  # share of padding for which no better plan is looked for: large batches have hundreds of rows
Rows = list[list[int]]  # indices of the images of each row, ascending


def first_fit(lengths: Sequence[int], capacity: int, window: int = 0) -> Rows:
    """Rows for images of these lengths [tokens], in their order. window: number of rows that stay open, the oldest of
    which is closed for a new one; 0: all stay open. Raises ConfigError for an image longer than a row."""
    return _greedy(lengths, range(len(lengths)), capacity, window, lambda rooms, n: next(iter(rooms)))


def best_fit(lengths: Sequence[int], capacity: int, window: int = 0) -> Rows:
    """As first_fit, but each image goes where the least room is left."""
    return _greedy(lengths, range(len(lengths)), capacity, window, lambda rooms, n: min(rooms, key=rooms.__getitem__))


def first_fit_decreasing(lengths: Sequence[int], capacity: int) -> Rows:
    """first_fit of the images from long to short; among equals the first one first."""
    return _greedy(lengths, _long_to_short(lengths), capacity, 0, lambda rooms, n: next(iter(rooms)))


def balanced(lengths: Sequence[int], capacity: int) -> Rows:
    """Rows of about equal lengths: of all numbers of rows from the fewest that may do to twice those of
    first_fit_decreasing, the first whose padding is at most LITTLE, or else the one with the fewest places in rows that
    are cut at the longest."""
    best = first_fit_decreasing(lengths, capacity)
    if not best:
        return []
    tokens, most = sum(lengths), min(2 * len(best), len(lengths))
    places = len(best) * _longest(lengths, best)
    for count in range(-(-tokens // capacity), most + 1):
        if places <= tokens / (1 - LITTLE):
            break
        plan = _even(lengths, count)
        longest = _longest(lengths, plan)
        if longest <= capacity and count * longest < places:
            best, places = plan, count * longest
    return best


def _even(lengths: Sequence[int], count: int) -> Rows:
    """So many rows: the longest image first, into the emptiest row (Graham 1969)."""
    filled = [(0, row) for row in range(count)]
    rows: Rows = [[] for _ in range(count)]
    for image in _long_to_short(lengths):
        used, row = heapq.heappop(filled)
        heapq.heappush(filled, (used + lengths[image], row))
        rows[row].append(image)
    return [sorted(row) for row in rows]


def _longest(lengths: Sequence[int], rows: Rows) -> int:
    return max(sum(lengths[image] for image in row) for row in rows)


PLANS: dict[str, Callable[[Sequence[int], int], Rows]] = {
    "first-fit": first_fit,
    "best-fit": best_fit,
    "decreasing": first_fit_decreasing,
    "balanced": balanced,
}


CUT = ("balanced",)  # plans whose rows are cut at the longest


def row_length(plan: str, rows: Rows, lengths: Sequence[int], capacity: int) -> int:
    """Places in each row of a plan."""
    return _longest(lengths, rows) if plan in CUT and rows else capacity


def padding_share(rows: Rows, lengths: Sequence[int], row_length: int) -> float:
    """Share of the tokens of rows of row_length that belong to no image [1]."""
    tokens = sum(lengths[image] for row in rows for image in row)
    return 1 - tokens / (len(rows) * row_length) if rows else 0.0


def _long_to_short(lengths: Sequence[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda image: -lengths[image])


def _greedy(
    lengths: Sequence[int],
    order: Sequence[int],
    capacity: int,
    window: int,
    choose: Callable[[dict[int, int], int], int],
) -> Rows:
    """choose: one of the open rows with room (number of the row: room, oldest first) for so many tokens."""
    rows: Rows = []
    room: dict[int, int] = {}  # of the open rows, oldest first
    for image in order:
        length = lengths[image]
        if not 0 < length <= capacity:
            raise ConfigError(f"an image of {length} tokens does not fit in a sequence of {capacity}")
        enough = {row: free for row, free in room.items() if free >= length}
        if enough:
            row = choose(enough, length)
        else:
            row = len(rows)
            rows.append([])
            room[row] = capacity
            if window and len(room) > window:
                del room[next(iter(room))]
        rows[row].append(image)
        room[row] -= length
    return [sorted(row) for row in rows]
