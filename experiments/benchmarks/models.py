"""Whole models, each in a process of its own: one long image, and where DeiT and Adventurer cross.

Weights are random and images are noise: neither changes what a step costs. Patch sizes that do not fit are listed as
such.
"""

import json
import math
import os
import subprocess
import sys
import time
from typing import TypedDict, cast

import numpy as np
import pandas as pd
import torch
from rich.table import Table
from torch import nn

from experiments.planning.plan_report import number
from scaling import costs
from scaling.backbones.ssd.backend import backend
from scaling.config.edit import make_config
from scaling.costs.hardware import usable_cores
from scaling.engine.environment import Memory, machine
from scaling.engine.trainer import Recomputing
from scaling.errors import first_line
from scaling.model_specs import MODEL_SPECS
from scaling.runs.environment import REPOSITORY
from scaling.tasks.classification import ClassificationTask

LONG = (("adventurer_tiny", 3), ("adventurer_base", 8))  # and the most memory it may take [GiB]
CROSSING = (32, 16, 8, 4, 2)  # patches of a 224 px image [px]
ENOUGH_TOKENS = 3000  # in a step, by the number of images
MEASURED = REPOSITORY / "analysis" / "measured"
WARM = 3  # steps


class Measured(TypedDict, total=False):
    """What `measure` found of a model; failed alone where its process died."""

    seconds: list[float]  # of each step [s]
    batch: int
    weights: int  # with their gradients [bytes]
    peak: int  # above them [bytes]
    scan: str
    failed: str  # the reason


def long() -> Table:
    """Forward and backward of one 224 px image at patch 1, blocks checkpointed."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    table = Table("model", "tokens", "s", "weights [GiB]", "peak above [GiB]", "limit [GiB]", title="patch 1, 224 px")
    for name, limit in LONG:
        got = in_process(name, image=224, patch=1, batch=1, checkpointing=True, device=device)
        if "failed" in got:
            table.add_row(name, f"{224**2:,}", f"- {got['failed']}", "", "", str(limit))
            continue
        weights, peak = got["weights"] / 2**30, got["peak"] / 2**30
        table.add_row(
            name, f"{224**2:,}", number(got["seconds"][0]), f"{weights:.2f}", f"{peak:.2f}", str(limit)
        )  # fmt: skip
    return table


def crossing() -> Table:
    """Seconds per training image of DeiT-Tiny and Adventurer-Tiny by tokens; kept in analysis/measured/crossing.csv."""
    rows = []
    for patch in CROSSING:
        tokens = costs.tokens(224, patch)
        batch = max(1, ENOUGH_TOKENS // tokens)
        for name in ("deit_tiny", "adventurer_tiny"):
            got = in_process(name, image=224, patch=patch, batch=batch, steps=3 if tokens < 10_000 else 1, device="cpu")
            rows.append((name, patch, tokens, batch, np.median(got["seconds"]) / batch))
    frame = pd.DataFrame(rows, columns=["backbone", "patch", "tokens", "batch", "seconds_per_image"])
    frame["measured"], frame["machine"] = time.strftime("%Y-%m-%d"), where()
    frame.to_csv(MEASURED / "crossing.csv", index=False, float_format="%.5g")
    both = frame.pivot(index="tokens", columns="backbone", values="seconds_per_image")
    table = Table("tokens", r"deit_tiny \[s]", r"adventurer_tiny \[s]", "ratio", title="training step per 224 px image")
    for of_image, row in both.iterrows():
        deit, adventurer = row["deit_tiny"], row["adventurer_tiny"]
        table.add_row(f"{of_image:,}", f"{deit:.3f}", f"{adventurer:.3f}", f"{deit / adventurer:.2f}")
    table.caption = f"they cross at {crossing_tokens(frame):,.0f} tokens"
    return table


def crossing_tokens(frame: pd.DataFrame) -> float:
    """Tokens at which both take as long, on straight lines between points in log-log; nan where they do not cross."""
    both = frame.pivot(index="tokens", columns="backbone", values="seconds_per_image").sort_index()
    ahead = np.log((both["deit_tiny"] / both["adventurer_tiny"]).to_numpy(dtype=float))
    at = np.log(both.index.to_numpy(dtype=float))
    for i in np.flatnonzero((ahead[:-1] < 0) & (ahead[1:] >= 0))[-1:]:
        return float(np.exp(at[i] - ahead[i] * (at[i + 1] - at[i]) / (ahead[i + 1] - ahead[i])))
    return math.nan


def where() -> str:
    facts = machine()
    return ", ".join([*facts["gpus"], f"{facts['cores']} cores of {facts['processor']}".replace(",", "")])


def in_process(name: str, **options: object) -> Measured:
    """`measure` in a process of its own, so that memory is its own; {"failed": reason} where it dies."""
    environment = {**os.environ}
    if options.get("scan") == "torch":
        environment["SCALING_SCAN"] = "torch"
    command = [sys.executable, "-m", "experiments.benchmarks.models", json.dumps({"name": name, **options})]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        return {"failed": reason[:60]}


def measure(
    name: str,
    image: int,
    patch: int,
    batch: int,
    steps: int = 1,
    checkpointing: bool = False,
    device: str = "cpu",
    scan: str = "",
    optimise: bool = False,
) -> Measured:
    """Seconds of `steps` training steps (with AdamW or without it), memory of weights and gradients, and the peak above
    them [bytes]. scan is set by the environment."""

    torch.set_num_threads(usable_cores())
    torch.manual_seed(0)
    task = ClassificationTask(
        make_config(
            backbone=name, img_size=image, patch_size=patch, num_classes=1000, global_batch_size=batch, dataset="folder"
        ),
        1000,
    )
    model: nn.Module = task.to(device).train()
    cast(Recomputing, task.backbone.checkpoint_module).set_grad_checkpointing(checkpointing)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    weights = sum(2 * p.numel() * p.element_size() for p in model.parameters())
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    images = torch.randint(0, 256, (batch, 3, image, image), dtype=torch.uint8, device=device)
    labels = torch.arange(batch, device=device)
    memory = Memory(cuda=device == "cuda")
    seconds = []
    warm = WARM if device == "cuda" else int(steps > 1)
    for step in range(warm + steps):
        _wait(device)
        began = time.perf_counter()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        if optimise:
            optimiser.step()
            optimiser.zero_grad(set_to_none=False)
        _wait(device)
        if step >= warm:
            seconds.append(time.perf_counter() - began)
    return {
        "seconds": seconds,
        "batch": batch,
        "weights": weights,
        "peak": memory.peak(),
        "scan": backend(device).reason,
    }


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    options = json.loads(sys.argv[1])
    assert options["name"] in MODEL_SPECS
    try:
        print(json.dumps(measure(**options)))
    except torch.OutOfMemoryError as e:
        print(json.dumps({"failed": "out of memory: " + first_line(e, 100)}))


if __name__ == "__main__":
    main()
