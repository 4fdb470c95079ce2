"""Micro-batch: how many images a device takes at a time. The recipe's batch is unchanged by it: where a device's share
does not fit into memory, it is split into micro-batches whose gradients add up (gradient accumulation)."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import cast

import lightning as L
import psutil
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device

from scaling import costs
from scaling.config.at_shape import model_shape, phase_config, shapes_of
from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import StepShape
from scaling.costs.training_memory import SHARE
from scaling.data.batch import Batch
from scaling.data.datamodule import ImageDataModule
from scaling.engine.environment import conditions
from scaling.engine.memory_key import memory_key
from scaling.engine.micro_batch_sizes import check_sizes
from scaling.errors import ConfigError
from scaling.rng import SampleKey
from scaling.runs.atomic_files import write_atomically
from scaling.runs.teacher import teacher_config
from scaling.tasks.base import TaskModule

Loops = dict[str, dict[str, dict[str, int]]]  # Lightning's counts of batches in a checkpoint
MEMORY = "micro_batch.json"  # in the results folder: micro-batches found so far, by memory_key


def largest(sizes: list[int], planned: int, fits: Callable[[int], bool]) -> int:
    """The largest of sizes (ascending) that fits: start at the planned number of images, double while it fits or halve
    while it does not, then bisect. Raises ConfigError where not even the smallest fits."""
    good, bad = -1, len(sizes)  # indices: fits for sure, does not fit for sure
    at = max([i for i, n in enumerate(sizes) if n <= planned], default=0)
    while bad - good > 1:
        if fits(sizes[at]):
            good = at
        else:
            bad = at
        if bad == len(sizes):
            at = max(good + 1, max([i for i, n in enumerate(sizes) if n <= 2 * sizes[good]]))
        elif good < 0:
            at = min(bad - 1, max([i for i, n in enumerate(sizes) if n <= sizes[bad] // 2], default=0))
        else:
            at = (good + bad) // 2
        at = min(max(at, 0), len(sizes) - 1)
    if good < 0:
        raise ConfigError(
            f"not even a micro-batch of {sizes[0]} fits in this device's memory; try --grad-checkpointing "
            "or a larger patch"
        )
    return sizes[good]


def needed(config: ExperimentConfig, images: int, grad_checkpointing: bool) -> int:
    """Memory that training with so many images at a time takes above the weights and their average, which exist already
    [bytes]; 0: not known. Of a teacher the forward pass and the weights, which come to the device in the first step."""
    there = (2 if config.optim.model_ema_decay else 1) * 4 * costs.recipe_parameters(config)
    policy = costs.MemoryPolicy(grad_checkpointing)
    return costs.memory_bytes(config, images, policy, teacher_config(config)) - there


class MicroBatch(L.Callback):
    """Finds the micro-batch when training begins, and has data and Lightning take it: one for each shape that steps may
    have.

    Lightning counts micro-batches, and expects each step to have equally many. Where shapes differ in this, it counts a
    multiple of all their numbers for every step: the count is moved on before the first micro-batch of a step that has
    fewer. asked: by the user; 0: find it: by trying steps on a CUDA device, elsewhere by the memory that the cost model
    predicts."""

    def __init__(
        self, config: ExperimentConfig, data: ImageDataModule, asked: int, results: Path, grad_checkpointing: bool
    ) -> None:
        self.config, self.data, self.asked, self.grad_checkpointing = config, data, asked, grad_checkpointing
        self.memory = results / MEMORY
        self.micro_batches = 1  # of a step of the model's shape
        self._keys: list[str] = []  # of MEMORY, once sizes have been searched for
        self._loaded: tuple[Loops, int] | None = None  # and steps done

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        check_sizes(self.config, trainer.world_size, self.asked)
        task, own = cast(TaskModule, pl_module), model_shape(self.config)
        of_shape = {
            shape: self._number(shape, trainer, task) for shape in sorted({own, *shapes_of(self.config)}, reverse=True)
        }
        self.micro_batches, self.data.micro_batches_of = of_shape[own], of_shape
        self.data.micro_batches = trainer.accumulate_grad_batches = math.lcm(*of_shape.values())
        if self._loaded is not None:
            _recount(*self._loaded, self.data.micro_batches)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        progress, counted = trainer.fit_loop.epoch_loop.batch_progress, self.data.micro_batches
        if counted == 1 or (progress.current.ready - 1) % counted:
            return
        number = self.data.size_of(batch.shape).micro_batches
        trainer.accumulate_grad_batches = number
        for counts in (progress.total, progress.current):
            for name in ("ready", "started", "processed", "completed"):
                setattr(counts, name, getattr(counts, name) + counted - number)

    def size(self, world: int) -> int:
        """Images that each of `world` devices takes at a time, in steps of the model's shape."""
        return self.config.optim.global_batch_size // world // self.micro_batches

    def _number(self, shape: StepShape, trainer: L.Trainer, task: TaskModule) -> int:
        """Micro-batches of the steps of one shape."""
        config = phase_config(self.config, shape)
        possible = check_sizes(config, trainer.world_size, self.asked)
        found = self.asked or self._found(possible, trainer, task, shape)
        return config.optim.global_batch_size // trainer.world_size // found

    def _found(self, possible: list[int], trainer: L.Trainer, task: TaskModule, shape: StepShape | None = None) -> int:
        """The largest micro-batch that fits, the same on every rank: ranks differ in free memory and in what is
        remembered. shape: of the step; None: the model's."""
        shape = shape or model_shape(self.config)
        config = phase_config(self.config, shape)
        device, world = task.device, trainer.world_size
        room = int(SHARE * _free(device) // (world if device.type == "cpu" else 1))
        fitting = [n for n in possible if needed(config, n, self.grad_checkpointing) <= room]
        planned = max(fitting, default=possible[0])
        if device.type != "cuda":
            return _least(planned, world, device)
        if not costs.recipe_parameters(config):
            planned = 1  # the cost model does not know this model: start at one image
        name = torch.cuda.get_device_name(device)
        key = memory_key(config, conditions(trainer, task, self.grad_checkpointing), name, world)
        self._keys.append(key)
        known = _least(self._known().get(key, 0), world, device)
        if known in possible:
            found = known
        elif world > 1 and task.sharded:
            # Not tried: a rank that runs out of memory in a step leaves the others waiting for its share of weights.
            found = max((n for n in possible if n <= planned), default=possible[0])
        else:
            found = largest(possible, planned, lambda n: _fits(task, self.data, n, shape))
        found = _least(found, world, device)  # every rank the same
        if trainer.is_global_zero and found != known:
            self._remember(key, found)
        return found

    def forget(self) -> None:
        """Training ran out of memory with the remembered sizes: remember half of them."""
        for key in self._keys:
            if known := self._known().get(key):
                self._remember(key, max(1, known // 2))

    def _remember(self, key: str, size: int) -> None:
        sizes_by_key = {**self._known(), key: size}
        write_atomically(self.memory, json.dumps(sizes_by_key, indent=1, sort_keys=True) + "\n")

    def _known(self) -> dict[str, int]:
        try:
            return {str(k): int(v) for k, v in json.loads(self.memory.read_text()).items()}
        except (OSError, ValueError, AttributeError, TypeError, RecursionError):
            return {}

    # A run may be resumed with another micro-batch than before, and Lightning counts micro-batches.

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        loops = cast(dict[str, Loops], checkpoint["loops"])
        self._loaded = loops["fit_loop"], cast(int, checkpoint["global_step"])


def _recount(loops: Loops, steps: int, micro_batches: int) -> None:
    """Rewrite Lightning's counts of batches in a checkpoint, as if all steps had had so many micro-batches. Checkpoints
    are of whole steps; earlier versions also made some within a step, which is then begun again."""
    for counts in (loops["epoch_loop.batch_progress"][span] for span in ("total", "current")):
        lag = {name: counts["ready"] - value for name, value in counts.items() if type(value) is int}  # 0 or 1
        for name, behind in lag.items():
            counts[name] = max(0, steps * micro_batches - behind)


def _free(device: torch.device) -> int:
    """Free memory of a device [bytes]."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    for name, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:  # a container's limit
            limit = int(Path("/sys/fs/cgroup", name).read_text())
            free = min(free, limit - int(Path("/sys/fs/cgroup", used).read_text()))
        except (OSError, ValueError):
            continue
    return max(free, 0)


def _fits(task: TaskModule, data: ImageDataModule, images: int, shape: StepShape) -> bool:
    """Whether a step of so many images (copies of the first one) fits into memory. Leaves no trace."""
    device = task.device
    batch = move_data_to_device(data.train_set.get_batch([SampleKey(0, 0)] * images, shape), device)
    try:
        with task.trainer.precision_plugin.train_step_context():
            task.training_step(batch, 0).backward()
        torch.cuda.synchronize(device)
    except torch.OutOfMemoryError:
        return False
    finally:
        task.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    return True


def _least(found: int, world: int, device: torch.device) -> int:
    """The smallest value of all ranks; all of them have to call."""
    if world == 1:
        return found
    value = torch.tensor(found, device=device)
    torch.distributed.all_reduce(value, torch.distributed.ReduceOp.MIN)
    return int(value)
