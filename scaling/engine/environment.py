"""The machine that a run is trained on, how it is trained there, and how much memory that takes."""

import contextlib
import platform
import resource
import sys
from pathlib import Path
from typing import TypedDict

import lightning as L
import psutil
import torch

from scaling.costs.conditions import SINGLE, Conditions
from scaling.costs.hardware import processor_name, usable_cores
from scaling.tasks.base import TaskModule

STRATEGIES = {"SingleDeviceStrategy": SINGLE, "DDPStrategy": "ddp", "ModelParallelStrategy": "fsdp"}  # Lightning's


class Machine(TypedDict):
    """The machine in a record; without a host name: records are shared."""

    system: str
    processor: str
    cores: int
    instructions: str  # that torch uses: AVX2 ...; last bits depend on it
    float32_products: str  # highest, or rounded as a GPU likes it
    threads: int  # that torch uses
    memory: int  # [bytes]
    gpus: list[str]


def machine() -> Machine:
    """Facts of this machine."""
    return {
        "system": platform.system(),
        "processor": processor_name(),
        "cores": usable_cores(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "float32_products": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "memory": psutil.virtual_memory().total,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def conditions(
    trainer: L.Trainer, task: TaskModule, grad_checkpointing: bool, num_workers: int = 0, max_parallel_runs: int = 1
) -> Conditions:
    """How Lightning's trainer trains a task: the settings as they were resolved."""
    device = trainer.strategy.root_device.type
    return Conditions(
        device=device,
        nodes=trainer.num_nodes,
        strategy=STRATEGIES.get(type(trainer.strategy).__name__, type(trainer.strategy).__name__),
        precision=str(trainer.precision),
        scan=task.backbone.scan_backend(device),
        compile=task.backbone._compiled_call_impl is not None,
        recompute=grad_checkpointing,
        channels_last=task.channels_last,
        threads=torch.get_num_threads(),
        workers=num_workers,
        jobs=max_parallel_runs,
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
