"""The software of a run: versions of packages, and the commit of this code. Standard library only."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# Installed packages that numbers depend on.
PACKAGES = ("torch", "torchvision", "lightning", "timm", "torchmetrics", "numpy", "mamba-ssm", "causal-conv1d")
DENSE = ("mmdet", "mmcv", "mmcv-lite", "mmengine", "mmsegmentation", "pycocotools", "faster-coco-eval")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in (*PACKAGES, *DENSE):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def git_commit() -> str:
    """The checkout's commit, with -dirty where tracked files differ from it; empty where there is no git."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        dirty = "-dirty" if git("status", "--porcelain", "--untracked-files=no") else ""
        return git("rev-parse", "HEAD") + dirty
    except (OSError, subprocess.SubprocessError):
        return ""
