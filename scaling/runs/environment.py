"""What a run ran on, how, and how much memory it took."""

import contextlib
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from scaling.costs.conditions import SINGLE, Conditions
from scaling.costs.hardware import processor_name, usable_cores
from scaling.model_specs import has_scan

REPOSITORY = Path(__file__).resolve().parents[2]
STRATEGIES = {"SingleDeviceStrategy": SINGLE, "DDPStrategy": "ddp", "ModelParallelStrategy": "fsdp"}  # Lightning's
# Installed packages that numbers depend on.
PACKAGES = ("torch", "torchvision", "lightning", "timm", "torchmetrics", "numpy", "mamba-ssm", "causal-conv1d")
DENSE = ("mmdet", "mmcv", "mmcv-lite", "mmengine", "mmsegmentation", "pycocotools", "faster-coco-eval")


def versions() -> dict[str, str]:
    """Of what the numbers depend on."""
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


def machine() -> dict[str, Any]:
    """Processor, cores, what torch takes of it and threads as they are now, memory [bytes], GPUs. No host name: records
    are shared."""
    return {
        "system": platform.system(),
        "processor": processor_name(),
        "cores": usable_cores(),
        "instructions": torch.backends.cpu.get_cpu_capability(),  # AVX2 ...; last bits hang on it
        "float32_products": torch.get_float32_matmul_precision(),  # highest, or rounded as a GPU likes it
        "threads": torch.get_num_threads(),
        "memory": psutil.virtual_memory().total,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def conditions(trainer: Any, task: Any, recompute: bool, workers: int = 0, jobs: int = 1) -> Conditions:
    """How Lightning's trainer trains a task: what came of the settings, as far as trainer and task can say."""
    from scaling.backbones.ssd.ssd_scan import backend

    device = trainer.strategy.root_device.type
    return Conditions(
        device=device,
        nodes=trainer.num_nodes,
        strategy=STRATEGIES.get(type(trainer.strategy).__name__, type(trainer.strategy).__name__),
        precision=str(trainer.precision),
        scan=backend(device).road if has_scan(task.recipe.backbone) else "",
        compile=task.backbone._compiled_call_impl is not None,
        recompute=recompute,
        channels_last=task.channels_last,
        threads=torch.get_num_threads(),
        workers=workers,
        jobs=jobs,
    )


def uses_cuda(accelerator: str) -> bool:
    """Whether Lightning will take a CUDA device for this choice of accelerator."""
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


class Memory:
    """The most memory that was held since this was made, above what was held then: the allocator's on a CUDA device,
    else this process's resident memory (on macOS above its largest value so far)."""

    def __init__(self, cuda: bool) -> None:
        self.cuda = cuda
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        with contextlib.suppress(OSError):  # Linux: a new high-water mark from here on
            Path("/proc/self/clear_refs").write_text("5")
        self.base = torch.cuda.memory_allocated() if cuda else psutil.Process().memory_info().rss

    def peak(self) -> int:
        """[bytes]"""
        return (torch.cuda.max_memory_allocated() if self.cuda else _high_water_mark()) - self.base


def _high_water_mark() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
