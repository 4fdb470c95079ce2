"""Rows of the decision helper of the report page (analysis/page/decisions.json): the candidates of plan.py --recommend
that its published laws interpolate, with their costs in a form that holds for every card.

Hours are products / (rate of bf16 products) + traffic / (memory bandwidth), both of the data sheet and per device; with
gradient checkpointing they are 4 / 3 of that (analysis/planning/throughput_model.py).
"""

import json
import math
import os
from pathlib import Path

from analysis.claims.applications import applications
from analysis.planning.object_size import NEEDED
from analysis.planning.predicted_error import published_models, published_values
from experiments.planning.candidates import Candidate, needed_bytes, published_candidates
from experiments.planning.choice import ALIKE, FACTORS
from experiments.planning.cost_estimate import Device, device, forecast
from experiments.planning.phase_costs import fit
from scaling.costs import CARDS
from scaling.costs.hardware import Card

IMAGES = {"classify": (64, 128, 224), "segment": (256, 512, 1024), "detect": (512, 800, 1024)}  # sides [px]
DIGITS = 10
UNLIMITED = 1e40  # of a rate [1/s]: what it takes is lost in rounding


def decisions_json() -> str:
    """The file's text. rows: by task and side of the original image, in the order of plan.py --recommend."""
    rows = {task: {str(image): _rows(task, image) for image in images} for task, images in IMAGES.items()}
    cards = [[name, card.bf16, card.traffic, card.memory] for name, card in CARDS.items()]
    prior = [[row.name, list(row.patches), row.lines] for row in applications().values()]
    data = {
        "needed": NEEDED,
        "factors": FACTORS,
        "alike": ALIKE,
        "cards": cards,
        "prior": prior,
        "columns": COLUMNS,
        "rows": rows,
    }
    lines = json.dumps(data, allow_nan=False).replace("[[", "[\n[").replace("], [", "],\n[")
    return f"{lines}\n"


COLUMNS = (
    "model",
    "patch",  # [px]
    "image",  # side that the model sees [px]
    "tokens",
    "parameters",
    "products",  # [FLOP h]
    "traffic",  # [byte h / s]
    "need",  # memory of a card that holds the smallest step [bytes]
    "recomputed",  # the same with gradient checkpointing
    "error",  # predicted [%]
)


def _rows(task: str, image: int) -> list[list[object]]:
    on = _unit_device(rate=1.0, traffic=UNLIMITED)
    found = [
        one for one in published_candidates(task, published_models(task), image, on, None) if one.patch.bit_count() == 1
    ]
    patches = [one.patch * (1.0 if task == "classify" else image / one.image) for one in found]
    images = [float(one.image) for one in found]
    error, beyond = published_values(task, [one.model for one in found], patches, images)
    kept = [n for n in range(len(found)) if beyond[n] in ("", "pair")]
    return [_row(found[n], float(error[n])) for n in kept]


def _row(one: Candidate, error: float) -> list[object]:
    runs = [stage.run for stage in one.stages]
    bandwidth = _unit_device(rate=UNLIMITED, traffic=1.0)
    recomputing = bandwidth._replace(grad_checkpointing=True)
    traffic = sum(forecast(run, bandwidth).hours for run in runs)
    recomputed = max(needed_bytes(run, fit(run, recomputing).least_bytes) for run in runs)
    numbers = (one.hours, traffic, one.need_bytes, recomputed, error)
    sizes = (one.model, one.patch, one.image, one.last.tokens, one.last.parameters)
    return [*sizes, *(float(f"{number:.{DIGITS}g}") for number in numbers)]


def _unit_device(rate: float, traffic: float) -> Device:
    """A card without a limit of memory with these rates [FLOPs/s] and [bytes/s]."""
    card = Card("unit", ("unit",), rate, rate, traffic, math.inf)
    return device("a100", 1, Path(os.devnull))._replace(card=card)
