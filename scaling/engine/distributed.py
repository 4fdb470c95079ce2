"""Which of several processes that share a run this is. Standard library only."""

import os


def is_first_process() -> bool:
    """Whether this process writes and speaks: the only one, or that of rank 0, which torchrun, SLURM and Lightning say
    in the environment."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK"))
