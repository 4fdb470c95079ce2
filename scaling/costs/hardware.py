"""Accelerators and processors: rates and memory by data sheet. No torch.

Rates of matrix products are dense ones; data sheets print twice as much "with sparsity". A bf16 product accumulates in
float32. Sources are NVIDIA's data sheets "A100 Tensor Core GPU" (SXM), "H100 Tensor Core GPU", "H200 Tensor Core
GPU" (SXM), "L40S", and appendix A of the white paper "Ada GPU Architecture" (RTX 4090).
"""

import os
import platform
import re
from pathlib import Path
from typing import NamedTuple

from scaling.errors import ConfigError

GHZ = 2.5  # of a processor whose clock rate is not reported
# float32 FLOPs per core and cycle: two units of 16, 8 or 4 numbers, each a multiplication and an addition.
SIMD = {"avx512f": 64, "avx2": 32, "asimd": 16, "": 16}
CORE_TRAFFIC = 10e9  # memory traffic per core [bytes/s]: a round number; servers have several GB/s per core


class Card(NamedTuple):
    """One computing device: a GPU, or one core of a processor."""

    name: str  # on the command line
    words: tuple[str, ...]  # that the name reported by the driver and by torch contains, all of them
    bf16: float  # dense products of bf16 [FLOPs/s]
    float32: float  # arithmetic in float32, outside tensor cores [FLOPs/s]
    traffic: float  # to and from its memory [bytes/s]
    memory: float  # [bytes]
    cores: int = 0  # of the processor, whose one core is described here; 0: a GPU


_CARDS = (  # the first that matches a name is used
    Card("a100-40gb", ("A100", "40GB"), 312e12, 19.5e12, 1.555e12, 40e9),
    Card("a100", ("A100",), 312e12, 19.5e12, 2.039e12, 80e9),
    Card("h100-pcie", ("H100", "PCIe"), 756e12, 51e12, 2.0e12, 80e9),
    Card("h100", ("H100",), 989e12, 67e12, 3.35e12, 80e9),
    Card("h200", ("H200",), 989e12, 67e12, 4.8e12, 141e9),
    Card("l40s", ("L40S",), 362e12, 91.6e12, 0.864e12, 48e9),
    Card("rtx4090", ("4090",), 165.2e12, 82.6e12, 1.008e12, 24e9),
)
CARDS = {card.name: card for card in _CARDS}
CPU = "cpu"


def card_of(device: str) -> Card | None:
    """The card with a name as the driver and torch report it, "NVIDIA A100-SXM4-80GB"; None: not in the table."""
    return next((card for card in _CARDS if all(word in device for word in card.words)), None)


def card_called(name: str) -> Card:
    """The card with a name as users write it: a100, A100, "RTX 4090", 4090; cpu is this machine's processor. Raises
    ConfigError for an unknown name."""
    plain = re.sub(r"nvidia|geforce|[\s_]", "", name.lower())
    if plain == CPU:
        return processor()
    if plain.replace("rtx", "") == "4090":
        plain = "rtx4090"
    if plain not in CARDS:
        raise ConfigError(f"unknown GPU {name!r}; known: {', '.join([*CARDS, CPU])}")
    return CARDS[plain]


def peak_flops(device: str) -> float:
    """Data-sheet rate of a card's bf16 products [FLOPs/s]. device: name as torch reports it. 0: not in the table."""
    card = card_of(device)
    return card.bf16 if card else 0.0


def gpus_here() -> list[str]:
    """Names of this machine's GPUs, as NVIDIA's driver lists them in /proc; torch would take seconds to import."""
    found = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    lines = [line for path in found for line in path.read_text().splitlines()]
    return [line.split(":", 1)[1].strip() for line in lines if line.startswith("Model:")]


def processor() -> Card:
    """This machine's processor, one core of which is a device: clock rate times SIMD width. An assumption, not a
    measurement; records of earlier runs on the machine correct it."""
    facts = _cpu_facts()
    flags = facts.get("flags", facts.get("features", "")).split()
    width = next(flops for flag, flops in SIMD.items() if not flag or flag in flags)
    named = re.search(r"([\d.]+)\s*GHz", facts.get("model name", ""))
    hertz = 1e9 * float(named.group(1)) if named else 1e6 * float(facts.get("cpu mhz", 1e3 * GHZ))
    return Card(CPU, (processor_name(),), width * hertz, width * hertz, CORE_TRAFFIC, _memory(), usable_cores())


def processor_name() -> str:
    """Model name of this machine's processor, as records have it."""
    return _cpu_facts().get("model name", "") or platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may use [1]."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> float:
    """Memory of this machine [bytes]."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return 8e9


def _cpu_facts() -> dict[str, str]:
    """Entries of /proc/cpuinfo for the first core; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, value in pairs}
