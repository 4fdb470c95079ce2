"""Seeds of the random numbers of one step: functions of the run's seed and the step, the same for a resumed run.

Below a million steps they are those of the first release, and so are runs' numbers."""

import hashlib

STEPS = 1_000_003  # steps, and ranks below, for which seeds are laid side by side
RANKS = 4099


def step_key(seed: int, step: int, rank: int = 0) -> int:
    """A seed for torch's generators, in [0, 2**64): another one for every seed of a recipe, step and rank. (The CPU's
    generator takes the low 32 bits of it.)"""
    key = (seed * STEPS + step) * RANKS + rank
    if step < STEPS and rank < RANKS and key < 2**63:
        return key
    digest = hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()
    return 2**63 + int.from_bytes(digest[:8], "little") % 2**63


def numpy_key(seed: int, step: int) -> int | list[int]:
    """The same for numpy's: a number below 2**32, or three of them."""
    key = seed * STEPS + step
    return key if step < STEPS and key < 2**32 else [seed, step % 2**32, step >> 32]
