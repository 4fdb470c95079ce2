"""How Adventurer's mixer and its scan cut up their work: memory follows from it, and what is said of memory, too.

Standard library only, so that the cost model reads it without torch.
"""

# Tokens of a chunk: of 16 to 129, those from 43 to 86 were fastest at widths 64 and 256; shorter as decays need.
CHUNKS = (64, 32, 16)
# Numbers in a stretch of x (tokens * channels), on a CPU for every thread: the arrays stay in the cores' second-level
# caches, and every waking of a thread is for as much work as it can be.
STRETCH = {"cpu": 2**18, "other": 2**24}
LEAST_CHUNKS = 4  # in a stretch: a state is as large as a chunk, and one a stretch is kept
# Inputs of up to so many numbers (images * tokens * inner channels) keep what backward needs: about 20 times as much as
# they have. Recomputing made steps of the nano models 1.2 to 1.3 times as long.
KEPT = 2**20


def chunk_length(length: int, best: int = CHUNKS[0]) -> int:
    """Tokens of a chunk near `best`: one that divides the length if there is one from half to 1.25 times of it
    (nothing to pad), or else the even split that pads least. A sequence of at most 1.5 * best is one chunk."""
    if length <= best * 3 // 2:
        return length
    dividing = [size for size in range(best // 2, best * 5 // 4 + 1) if length % size == 0]
    if dividing:
        return min(dividing, key=lambda size: abs(size - best))
    return -(-length // -(-length // best))
