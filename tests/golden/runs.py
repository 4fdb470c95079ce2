"""Small runs of every shipped recipe in float64, and the numbers that they are held to.

A run has two epochs of two steps (detection and segmentation: of two images, else of four) on images drawn by seed.
Recipes that become the same small recipe are run once.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from tests.doubles import doubled
from tests.golden import adapter

EXPECTED = Path(__file__).with_name("losses.json")
PATCH = 8  # px
VARIANTS: dict[str, tuple[str, adapter.Flat]] = {  # options that no shipped recipe sets
    "deit3": ("cifar10.deit_nano", {"backbone": "deit3_nano", "position": "learned"}),
    "timm": ("cifar10.deit_nano", {"backbone": "timm:test_vit", "position": "learned"}),
    "extended tokens": ("cifar10.deit_nano", {"patch": 4, "extend": 8}),
    "alternate scan, held-out images, centre crop": (
        "folder.adventurer_nano",
        {"flip": "alternate", "val_split": 0.3, "eval_every": 1, "crop": 0.875},
    ),
    "official positions": ("cifar10.adventurer_stages", {"compat": "official"}),
    "three_augment without mixing": (
        "imagenet.deit_tiny",
        {"augment": "three_augment", "rand_augment": "", "mixup": 0.0, "cutmix": 0.0},
    ),
    "upernet in sliding windows": ("ade20k.adventurer_tiny", {"head": "upernet", "slide": 24}),
    "images without objects": ("folder.det_nano", {"empty_images": "keep", "position": "learned"}),
}


class Numbers(TypedDict):
    """What a run is held to."""

    steps: list[dict[str, float]]
    curve: list[dict[str, float]]
    test_loss: float
    metrics: dict[str, float]
    counts: dict[str, int]
    weights: dict[str, float]
    weight_names: str


class Golden(TypedDict):
    """The contents of EXPECTED."""

    resized: float
    cases: dict[str, list[str]]
    runs: dict[str, Numbers]


def cases() -> dict[str, list[adapter.Flat]]:
    """Small recipes by the name of the shipped recipe or variant: those that it starts from first."""
    found = {name: [adapter.small(flat) for flat in _at_patch(name)] for name in adapter.recipe_names()}
    for name, (recipe, changed) in VARIANTS.items():
        found[name] = [adapter.small(flat, **changed) for flat in _at_patch(recipe)]
    return {name: _with_predecessors(flats) for name, flats in found.items()}


def _at_patch(name: str) -> list[adapter.Flat]:
    flats = adapter.stages(name, PATCH)
    assert flats, f"{name} does not fit patch {PATCH}"
    return flats


def _with_predecessors(flats: list[adapter.Flat]) -> list[adapter.Flat]:
    ordered: list[adapter.Flat] = []
    for flat in flats:
        before = adapter.predecessor(flat)
        for one in [*(_with_predecessors([before]) if before else []), flat]:
            if one not in ordered:
                ordered.append(one)
    return ordered


def resizes_bytes(flat: adapter.Flat) -> bool:
    """Whether torchvision resizes its images, as it does dense tasks' image files."""
    return flat["task"] != "classify" and flat["data"] != "shapes"


def values(flat: adapter.Flat, results: Path) -> Numbers:
    """The numbers of a run that is trained now."""
    adapter.load_dense_heads()  # what is imported later would stay in float32
    with doubled(), _watched() as steps:
        record, curve, weights = adapter.run(flat, results)
    assert all(t.dtype == torch.float64 for state in weights.values() for t in state.values() if t.is_floating_point())
    return {
        "steps": steps,
        "curve": curve,
        "test_loss": record["test_loss"],
        "metrics": record["metrics"],
        "counts": {name: record[name] for name in ("tokens", "parameters", "flops_per_image")},
        "weights": {kind: projection(state.values()) for kind, state in weights.items()},
        "weight_names": hashlib.sha256(json.dumps(sorted(weights["model"])).encode()).hexdigest()[:16],
    }


def projection(tensors: Iterable[Tensor]) -> float:
    """A number that every entry of the tensors is in, in whatever order the tensors come: the root of the sum over
    tensors of squares of sums of entries times cos(1), cos(2) ..."""
    sums = (float(t.double().flatten() @ torch.arange(1, t.numel() + 1).double().cos()) for t in tensors)
    return math.sqrt(sum(s * s for s in sums))


@contextmanager
def _watched() -> Iterator[list[dict[str, float]]]:
    """A row for each optimiser step: loss [nats], norm of the gradients before they are clipped, projection of the
    weights after the step."""
    rows: list[dict[str, float]] = []
    learned: list[Tensor] = []
    losses: list[float] = []
    norms: list[float] = []
    backward = Tensor.backward

    def begun(optimizer: torch.optim.Optimizer, *_: object) -> None:
        learned[:] = [p for group in optimizer.param_groups for p in group["params"]]

    def noted(loss: Tensor, *args: object, **more: object) -> None:
        backward(loss, *args, **more)
        losses.append(loss.item())
        norms.append(math.sqrt(sum(float(p.grad.double().square().sum()) for p in learned if p.grad is not None)))

    def done(optimizer: torch.optim.Optimizer, *_: object) -> None:
        rows.append({"loss": sum(losses), "grad_norm": norms[-1], "weights": projection(p.detach() for p in learned)})
        losses.clear()

    hooks = register_optimizer_step_pre_hook(begun), register_optimizer_step_post_hook(done)
    Tensor.backward = noted  # type: ignore[method-assign]
    try:
        yield rows
    finally:
        Tensor.backward = backward  # type: ignore[method-assign]
        for hook in hooks:
            hook.remove()


def expected() -> Golden:
    return json.loads(EXPECTED.read_text())
