"""What a user and the setup decide of the scan, without torch: planning reads it, too."""

import importlib.util
import os

KERNELS = "scaling.backbones.ssd._tile_kernels"  # as setuptools builds it (pyproject.toml)


def torch_is_chosen() -> bool:
    """SCALING_SCAN=torch: torch's operations in place of all kernels."""
    return os.environ.get("SCALING_SCAN", "") == "torch"


def kernels_file() -> str | None:
    """The compiled kernels of a CPU, where they are built and chosen."""
    found = None if torch_is_chosen() else importlib.util.find_spec(KERNELS)
    return None if found is None else found.origin
