"""The only file of tests/golden that imports the code under test: when that is moved or renamed, this file follows and
the expected values stay.

A configuration is passed around as the flat mapping of version 1 of recipe.json, which the golden files were taken
with.
"""

import csv
import inspect
import json
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import torch
from torch import Tensor

from analysis.records.run_set import load
from experiments import plan, sweep
from experiments.cli import resolve as cli
from experiments.run import arguments as run_command
from experiments.stages import chain_of
from experiments.studies.catalogue import STUDIES
from scaling.config.canonical import canonical
from scaling.config.flat import to_flat
from scaling.config.legacy import from_flat
from scaling.config.runtime import RuntimeConfig
from scaling.engine.train import train
from scaling.engine.trainer import hush
from scaling.errors import ConfigError
from scaling.heads.openmmlab import ready
from scaling.model_specs import MODEL_SPECS, ModelSpec
from scaling.runs.record import HEADLINES, RunRecord
from tests.instrument_names import without_instruments

Value = str | int | float | bool
Flat = dict[str, Value]
CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0)
ADDED_SIZES = {"deit3_pico": ModelSpec("deit3", 24, 3, 96, 8)}  # the shipped ones of this family are large
DATA_ROOTS = {"cifar10": "golden_cifar10", "imagenet": "golden_imagenet", "ade20k": "golden_ade20k"}
DATA_ROOTS |= {"camvid": "golden_camvid", "coco": "golden_coco", "nuclei": "golden_nuclei"}
OWN_FOLDERS = {"classify": "golden_classes", "segment": "golden_scenes", "detect": "golden_objects"}
CLASSES = {"classify": 3, "segment": 4, "detect": 3}
IMAGES = {  # px: side in the shipped recipe -> in the small one
    "classify": {16: 16, 32: 16, 64: 32, 128: 16, 224: 32},
    "segment": {32: 32, 128: 32, 512: 32},
    "detect": {64: 64, 224: 32, 256: 64, 1024: 64},
}
SIDES = {0: 0, 192: 48, 256: 64, 800: 64, 1024: 64, 1333: 96}  # px, the same of short_side and long_side


class Outcome(NamedTuple):
    """What a finished run left, under the names of this version."""

    record: dict[str, object]  # record.json
    curve: list[
        dict[str, float]
    ]  # rows of curve.csv, without the seconds, the metric and instruments, which came later
    weights: dict[str, dict[str, Tensor]]  # weights.pt: "model" and, with an average, "model_ema"


def recipe_names() -> list[str]:
    """Every shipped recipe that version 1 could express, such as "imagenet.deit_base": none that is flexible or
    packed."""
    later = ("flexi", "navit_", "rectangles_")
    return sorted(name for name in cli.recipes() if not name.partition(".")[2].startswith(later))


def study_names() -> list[str]:
    """Every study that version 1 could express and sweep.py takes instead of a recipe, such as "table5"."""
    kinds = ("table5", "figure2", "figure3", "figure4", "learning_rate")
    return sorted(name for name in STUDIES if name.endswith(kinds))


def takes_image(name: str) -> bool:
    """Whether the recipe is a function of the image size too."""
    return "image" in inspect.signature(cli.recipes()[name]).parameters


def stages(name: str, patch: int, **image: int) -> list[Flat] | None:
    """The stages of a shipped recipe at a patch size [px]; None where the patch does not fit its image."""
    try:
        return [to_flat(stage) for stage in chain_of(cli.recipes()[name](patch, **image))]
    except ConfigError:
        return None


def identity(flat: Flat) -> tuple[str, str]:
    """run_id and group."""
    config = from_flat(flat)
    return config.run_id, config.group


def from_json(text: str) -> Flat:
    """What a recipe.json holds, all fields."""
    return to_flat(from_flat(json.loads(text)))


def resolved(arguments: list[str]) -> list[Flat]:
    """The stages that `python experiments/run.py ARGUMENTS` trains."""
    return [to_flat(stage) for stage in run_command(arguments)[0]]


def planned(program: str, arguments: list[str]) -> list[Flat]:
    """The runs of `python experiments/PROGRAM.py ARGUMENTS`, sweep or plan."""
    return [to_flat(config) for config in {"sweep": sweep, "plan": plan}[program].arguments(arguments)[0]]


def record(folder: Path) -> Flat:
    """What a run's record.json holds."""
    return _first_fields(RunRecord.load(folder))


def run_table(results: Path) -> pd.DataFrame:
    """A row a run of a results folder: run_id, group, patch, status, test_loss ... Fails where one cannot be read."""
    runs = load(results)
    assert not runs.corrupt
    assert not runs.unfinished
    return runs.frame


def predecessor(flat: Flat) -> Flat | None:
    """The recipe of the run that this one starts from."""
    return from_json(flat["start"]) if flat["start"] else None


def small(flat: Flat, **changed: Value) -> Flat:
    """The recipe with all that makes it large made small: model, images, their number, batch, steps, classes. What else
    tells recipes apart stays. changed: fields that replace the recipe's, in earlier stages of its task too."""
    before, flat = predecessor(flat), {**flat, **changed}
    task, batch = flat["task"], 4 if flat["task"] == "classify" else 2
    timm = flat["backbone"] if flat["backbone"].startswith("timm:") else ""
    embedded = flat["data"] == "shapes"
    classes = flat["classes"] if embedded or flat["data"] == "nuclei" else CLASSES[task]
    made = {
        "data_root": "" if embedded else DATA_ROOTS.get(flat["data"], OWN_FOLDERS[task]),
        "backbone": timm or flat["backbone"].partition("_")[0] + "_pico",
        "head_channels": min(flat["head_channels"], 16),
        "image": IMAGES[task][flat["image"]],
        "short_side": SIDES[flat["short_side"]],
        "long_side": SIDES[flat["long_side"]],
        "classes": classes,
        "class_names": ",".join(flat["class_names"].split(",")[:classes]),
        "unlabelled": min(flat["unlabelled"], classes) if flat["unlabelled"] != 255 else 255,
        "train_images": 2 * batch,
        "test_images": batch,
        "batch": batch,
        "lr_batch": max(1, flat["lr_batch"] * batch // flat["batch"]) if flat["lr_batch"] else 0,
        "epochs": 2,
        "steps": 4 if flat["steps"] else 0,
        "warmup_epochs": 0.5 if flat["warmup_epochs"] else 0.0,
        "warmup_steps": min(flat["warmup_steps"], 1),
        "milestones": "1" if flat["milestones"] else "",
        "eval_every": min(flat["eval_every"], 1),
    }
    if before:
        inherited = changed if before["task"] == task else {}
        made["start"] = canonical(from_flat(small(before, **inherited)))
    return to_flat(from_flat({**flat, **made}))


def run(flat: Flat, results: Path) -> Outcome:
    """Train, evaluate and record a recipe on one thread of the CPU."""
    hush()
    record = train(from_flat(flat), results, CPU)
    folder = results / record.run_id
    with open(folder / "curve.csv", newline="") as f:
        rows = [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(f)]
    left_out = ("seconds", *(metric for metric, _ in HEADLINES.values()))
    rows = [without_instruments(row) for row in rows]
    curve = [{name: value for name, value in row.items() if name.removeprefix("val_") not in left_out} for row in rows]
    weights = torch.load(folder / "weights.pt", weights_only=True)
    found = json.loads((folder / "record.json").read_text())
    found["metrics"] = without_instruments(found["metrics"])
    return Outcome(found, curve, weights)


def run_again(flat: Flat, results: Path) -> Flat:
    """The record that the same call gives for a run that lies finished in results."""
    return _first_fields(train(from_flat(flat), results, CPU))


def _first_fields(record: RunRecord) -> Flat:
    """The fields that records had when the fixtures were made: evaluations, phases, the teacher's FLOPs came later, and
    the configuration was a recipe."""
    later = ("evaluations", "teacher_flops_per_image", "phases", "config")
    first = {name: value for name, value in asdict(record).items() if name not in later}
    return {**first, "recipe": to_flat(record.experiment())}


def load_dense_heads() -> None:
    """Import OpenMMLab's libraries."""
    ready()


def add_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the small models known that are not shipped."""
    for name, size in ADDED_SIZES.items():
        monkeypatch.setitem(MODEL_SPECS, name, size)
