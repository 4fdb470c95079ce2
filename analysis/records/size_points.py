"""Finished runs by model size, patch size and images seen: the points of a law L(N, p, D).

A family of runs differs in the size of its backbone, patch size, length and seed only. N is the number of parameters at
the smallest patch of each model, as in analysis/fitting/joint.py. Only the end of a run is a point: before, the
learning rate is not annealed.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.records.chance_level import at_chance
from analysis.records.curve_points import curve_points
from analysis.records.run_set import RunSet
from analysis.records.training_length import keys_of_any_length, labels_of_any_length
from scaling.config.canonical import as_json
from scaling.config.experiment import ExperimentConfig
from scaling.costs.run_flops import STEP_PASSES
from scaling.errors import ConfigError
from scaling.runs.record import RunRecord


def size_points(runs: RunSet) -> pd.DataFrame:
    """A row per finished run with a curve: run_id, model, parameters [1], patch [px], images (seen, new or repeated),
    seed, y (test loss [nats]), flops_per_image (forward), training_flops [FLOPs], family (a short name) and at_chance
    (nothing was learned). Raises ConfigError for runs of a CSV file, which have no curves, and for a damaged curve."""
    if runs.from_csv:
        raise ConfigError("--axes patch,params,images needs a results folder; a CSV file has no recipes")
    done = runs.finished
    facts = done[["run_id", "parameters", "patch", "seed", "flops_per_image"]].assign(model=done["backbone"])
    facts["family"], facts["at_chance"] = _families(done), at_chance(done)
    ends = curve_points(runs).query("share == 1")[["run_id", "images", "y"]]
    points = facts.merge(ends, on="run_id")
    points["training_flops"] = STEP_PASSES * points["flops_per_image"] * points["images"]
    smallest = points.sort_values("patch").groupby(["family", "model"])["parameters"].first().rename("N")
    points["parameters"] = points.join(smallest, on=["family", "model"])["N"].astype(float)
    return points


def families(configs: Sequence[ExperimentConfig]) -> list[str]:
    """The canonical form of each recipe without size of backbone, patch size, length and seed."""
    return keys_of_any_length(configs, lambda its: [_without_size(config) for config in its])


def _without_size(config: ExperimentConfig) -> str:
    values = json.loads(config.canonical)
    values["backbone"] = _family_name(values["backbone"])
    values.get("further", {}).get("model", {}).get("patch_embed", {}).pop("patch_size", None)
    return as_json({name: value for name, value in values.items() if name not in ("patch", "seed")})


def _family_name(backbone: str) -> str:
    return backbone.replace("-", "_").split("_")[0]


def _families(done: pd.DataFrame) -> pd.Series:
    """The short name of each run's family."""
    recipes = families([RunRecord.load(Path(folder)).experiment() for folder in done["folder"].astype(str)])
    numbers = [f"family {number + 1}" for number in pd.factorize(pd.Series(recipes, dtype=object))[0]]
    backbones = [_family_name(name) for name in done["backbone"]]
    names = labels_of_any_length(done.assign(group=numbers, backbone=backbones))
    return pd.Series([names[number] for number in numbers], done.index, dtype=object)
