"""Table 6 of arXiv 2502.03738 on this machine: hours of an ImageNet-1k epoch and memory of an image by patch size.

Whole training steps (forward, backward, AdamW; bf16 on a GPU, float32 on a CPU) of DeiT and Adventurer, each in a
process of its own, at the largest batch of a power of two that fits; the median after steps that are not counted.
For each also the paper's value for an A100 and the prediction of analysis/planning/throughput_model.py for this card. A
patch size that does not fit is listed with the bytes that it needs. On a CPU the same at small images. Rows are kept in
results/table6.csv.
"""

import itertools
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.table import Table

from analysis.planning.throughput_model import MIB, image_bytes, image_seconds, number_bytes
from analysis.records.published import table6_cells
from analysis.report.output import write_files
from experiments.benchmarks.models import Measured, in_process, where
from experiments.planning.plan_report import number
from scaling import costs
from scaling.backbones.ssd.backend import backend
from scaling.config.edit import make_config
from scaling.config.experiment import ExperimentConfig
from scaling.costs.hardware import CPU, Card, card_called, card_of
from scaling.costs.training_memory import step_bytes
from scaling.engine.environment import machine
from scaling.model_specs import has_scan

# image [px], sizes, patches [px], the most images in a step
PLANS = {"cuda": (224, ("base", "tiny"), (16, 8, 4, 2, 1), 256), "cpu": (64, ("tiny",), (16, 8, 4, 2), 8)}
TIMED = {"cuda": 10, "cpu": 3}  # steps
RESULTS = Path("results")


def table6() -> Table:
    """The table, printed and kept."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    image, sizes, patches, most = PLANS[device]
    card = card_of(" ".join(machine()["gpus"][:1])) if device == "cuda" else card_called(CPU)
    rows = []
    for size, patch, family in itertools.product(sizes, patches, ("deit", "adventurer")):
        name = f"{family}_{size}"
        rows += [row(name, image, patch, most, device, scan, card) for scan in scans(name, device)]
    frame = pd.DataFrame(rows)
    write_files(RESULTS, {"table6.csv": frame.to_csv(index=False).encode()})
    return shown(frame, image, device)


def scans(backbone: str, device: str) -> list[str]:
    """The implementations of a backbone's main operation on a device."""
    if not has_scan(backbone):
        return ["sdpa"]
    return ["mamba-ssm", "torch"] if backend(device).name == "mamba-ssm" else ["torch"]


def row(name: str, image: int, patch: int, most: int, device: str, scan: str, card: Card | None) -> dict[str, object]:
    """One model at one patch size: measured, predicted (nan where the card is not known), published (nan: another size
    or image). hours of an epoch of ImageNet-1k at this image size; memory of an image [MiB]."""
    config = make_config(
        dataset="imagenet", backbone=name, img_size=image, patch_size=patch, num_classes=1000, global_batch_size=most
    )
    got = largest_batch(config, most, device, scan)
    found: dict[str, object] = {
        "model": name,
        "image": image,
        "patch": patch,
        "scan": scan,
        "batch": got.get("batch", 0),
    }
    found |= {"measured": time.strftime("%Y-%m-%d"), "machine": where(), "failed": got.get("failed", "")}
    rate, memory = math.nan, math.nan
    if "failed" not in got:
        moments = 8 * costs.recipe_parameters(config)  # AdamW's: made in the first step, and no image's
        rate = got["batch"] / float(np.median(got["seconds"]))
        memory = (got["peak"] - moments) / got["batch"] / MIB
    predicted, kept = math.nan, math.nan
    if card is not None:
        cores = max(1, card.cores)  # its seconds are one core's, and all of them work on a step
        predicted = image_seconds(config, card, got.get("batch") or 1) / cores * costs.IMAGENET_IMAGES / 3600
        kept = image_bytes(config, got.get("batch") or 1, number_bytes(config, card)) / MIB
    hours = costs.IMAGENET_IMAGES / rate / 3600
    found |= {
        "images_per_second": rate,
        "hours": hours,
        "hours_predicted": predicted,
        "hours_paper": paper(config, "epoch"),
    }
    found |= {"memory": memory, "memory_predicted": kept, "memory_paper": paper(config, "memory")}
    return found | {"wants": float(step_bytes(config, 1, costs.MemoryPolicy(number=2 if device == "cuda" else 4)))}


def largest_batch(config: ExperimentConfig, most: int, device: str, scan: str) -> Measured:
    """The measurement at the largest batch of a power of two that fits; {"failed": ...} where not one image does."""
    got: Measured = {}
    batch = most
    while batch:
        sides = {"image": config.model.img_size, "patch": config.model.patch_size}
        got = in_process(
            config.model.backbone, **sides, batch=batch, steps=TIMED[device], device=device, scan=scan, optimise=True
        )
        if "failed" not in got:
            return got
        batch //= 2
    return got


def paper(config: ExperimentConfig, metric: str) -> float:
    """Published value in Table 6 [h or MB]; its memory is that of a ViT, by arithmetic Base."""
    cells = table6_cells()
    model = {"deit_base": "DeiT-Base", "adventurer_base": "Adventurer-Base"}.get(config.model.backbone, "")
    if metric == "memory":
        model = "ViT" if config.model.backbone == "deit_base" else ""
    its = cells[(cells["model"] == model) & (cells["metric"] == metric) & (cells["patch"] == config.model.patch_size)]
    return float(its["published"].iloc[0]) if len(its) and config.model.img_size == 224 else math.nan


def shown(frame: pd.DataFrame, image: int, device: str) -> Table:
    """Published, predicted and measured values in one table."""
    heads = ("model", "px", "batch", "img/s", "h", "h pred.", "h paper", "MiB", "pred.", "paper")
    table = Table(*heads, title=f"Table 6 here: training at {image} px on {device}", padding=(0, 0, 0, 0))
    table.columns[0].no_wrap = True
    table.caption = (
        "h: an epoch of ImageNet-1k at this image size; MiB: memory per image in training; pred.: by arithmetic and "
        "two efficiencies (analysis/planning/throughput_model.py); paper: Table 6 of arXiv 2502.03738, on an A100"
    )
    for r in frame.to_dict("records"):
        name = f"{r['model']} ({r['scan']})" if r["scan"] == "mamba-ssm" else str(r["model"])
        if r["failed"]:
            wants = f"wants {r['wants'] / 2**30:.1f} GiB for an image: {r['failed']}"
            table.add_row(name, str(r["patch"]), "-", wants, *[""] * 6)
            continue
        numbers = [r[k] for k in ("images_per_second", "hours", "hours_predicted", "hours_paper")]
        numbers += [r[k] for k in ("memory", "memory_predicted", "memory_paper")]
        table.add_row(name, str(r["patch"]), str(r["batch"]), *map(_short, numbers))
    return table


def _short(value: float) -> str:
    return "" if math.isnan(value) else number(value)
