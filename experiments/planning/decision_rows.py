"""Rows of the decision helper of the report page: the candidates of plan.py --recommend that its laws interpolate, with
their costs in a form that holds for every card.

Hours are products / (rate of bf16 products) + traffic / (memory bandwidth), both of the data sheet and per device; with
gradient checkpointing they are 4 / 3 of that (analysis/planning/throughput_model.py).
"""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from analysis.page.choices import COLUMNS, OwnChoices, Row
from analysis.planning.predicted_error import has_law, own_values, published_models, published_values
from analysis.records.groups import Group
from experiments.planning.candidates import Candidate, needed_bytes, own_candidates, published_candidates
from experiments.planning.cost_estimate import Device, device, forecast
from experiments.planning.phase_costs import fit
from scaling import costs
from scaling.config.experiment import ExperimentConfig
from scaling.costs.hardware import Card
from scaling.errors import ConfigError
from scaling.runs.record import RunRecord

DIGITS = 10
UNLIMITED = 1e40  # of a rate [1/s]: what it takes is lost in rounding


def published_rows(task: str, image: int) -> list[Row]:
    """Candidates of the published laws for images of this side [px], in the order of plan.py --recommend."""
    found = [
        one
        for one in published_candidates(task, published_models(task), image, _unit_device(), None)
        if one.patch.bit_count() == 1
    ]
    patches = [one.patch * (1.0 if task == "classify" else image / one.image) for one in found]
    images = [float(one.image) for one in found]
    error, beyond = published_values(task, [one.model for one in found], patches, images)
    return [_row(one, float(e)) for one, e, out in zip(found, error, beyond, strict=True) if out in ("", "pair")]


def own_choices(groups: Sequence[Group], results: Path) -> Iterator[OwnChoices]:
    """Those of the groups of a results folder, for each task, data set and side of its images: groups with images of at
    most this side, as in plan.py --recommend. Without groups that have no law or no cost model, or whose recipe needs a
    plug-in that is not loaded."""
    known = [(group, config) for group in groups if has_law(group) for config in _config(group, results)]
    known.sort(key=lambda its: -_image(its[0]))
    kinds = dict.fromkeys((str(group.about["task"]), str(group.about["data"])) for group, _ in known)
    for task, data in kinds:
        its = [one for one in known if (one[0].about["task"], one[0].about["data"]) == (task, data)]
        sides = sorted({_image(group) for group, _ in its})
        rows = {side: list(_own_rows([one for one in its if _image(one[0]) <= side], task)) for side in sides}
        first = its[0][0]
        yield OwnChoices(task, data, first.measure, first.unit, {side: found for side, found in rows.items() if found})


def _own_rows(known: Iterable[tuple[Group, ExperimentConfig]], task: str) -> Iterator[Row]:
    groups, configs = zip(*known, strict=True)
    found = list(own_candidates(configs, task, _unit_device()))
    value, beyond = own_values(groups, [one.group for one in found], [one.patch for one in found])
    for one, error, out in zip(found, value, beyond, strict=True):
        if not out:
            yield _row(one, float(error))


def _config(group: Group, results: Path) -> Iterator[ExperimentConfig]:
    """The configuration of the group's first run, where its costs are known by arithmetic."""
    try:
        config = RunRecord.load(results / str(group.points["run_id"].iloc[0])).experiment()
        if costs.recipe_parameters(config) and not math.isnan(forecast(config, _unit_device()).hours):
            yield config
    except (ConfigError, OSError):
        return


def _image(group: Group) -> int:
    return int(group.about["image"])


def _row(one: Candidate, error: float) -> Row:
    """In the order of COLUMNS."""
    runs = [stage.run for stage in one.stages]
    bandwidth = _unit_device(rate=UNLIMITED, traffic=1.0)
    recomputing = bandwidth._replace(grad_checkpointing=True)
    traffic = sum(forecast(run, bandwidth).hours for run in runs)
    recomputed = max(needed_bytes(run, fit(run, recomputing).least_bytes) for run in runs)
    numbers = (one.hours, traffic, one.need_bytes, recomputed, error)
    sizes = (one.model, one.patch, one.image, one.last.tokens, one.last.parameters)
    row: list[str | int | float] = [*sizes, *(float(f"{number:.{DIGITS}g}") for number in numbers)]
    assert len(row) == len(COLUMNS)
    return row


def _unit_device(rate: float = 1.0, traffic: float = UNLIMITED) -> Device:
    """A card without a limit of memory with these rates [FLOPs/s] and [bytes/s]."""
    card = Card("unit", ("unit",), rate, rate, traffic, math.inf)
    return device("a100", 1, Path(os.devnull))._replace(card=card)
