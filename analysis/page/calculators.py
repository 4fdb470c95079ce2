"""Section of the calculators: tokens, parameters, memory, FLOPs and hours of a classifier, and the stretch of its
positions at another resolution, while a reader moves sliders.

The formulas are the terms of cost_terms.py; calculators.js evaluates them, calculators_controls.js shows them.
"""

from analysis.page.content import Content
from analysis.page.cost_terms import CLASSES, FAMILIES, SHORTEST_TILE, cost_terms, spec_of
from analysis.page.section import Json, Section, part
from analysis.planning.throughput_model import TABLE6
from analysis.records.published import model_of
from scaling.costs import CARDS, IMAGENET_IMAGES, optimiser_bytes
from scaling.costs.run_flops import STEP_PASSES
from scaling.model_specs import EXPAND, MODEL_SPECS, TILE_ELEMENTS

NAMES = {"deit": "DeiT", "deit3": "DeiT III", "adventurer": "Adventurer"}
START = {
    "model": "DeiT-Base",
    "image": 224,
    "patch": 16,
    "batch": 1024,
    "way": "fused",
    "images": IMAGENET_IMAGES,
    "epochs": 300,
    "device": "a100",
    "newImage": 448,
    "newPatch": 16,
}


def section(_: Content) -> Section:
    """The calculators, which are the same for all results."""
    html = part("calculators.html").replace("<!-- classes -->", f"{CLASSES:,}")
    script = f"{part('calculators.js')}\n{part('calculators_controls.js')}"
    return Section("calculators", "Calculators", html, script, calculator_data())


def calculator_data() -> dict[str, Json]:
    """What calculators.js and its controls read."""
    devices: list[Json] = [
        {"name": name, "label": _label(name), "rate": round(TABLE6.attention * card.bf16 / 1e12, 1)}
        for name, card in CARDS.items()
    ]
    rate = next(device["rate"] for device in devices if isinstance(device, dict) and device["name"] == START["device"])
    scan: Json = {"shortest": SHORTEST_TILE, "elements": TILE_ELEMENTS["cpu"], "expand": EXPAND}
    return {
        "terms": cost_terms(),
        "scan": scan,
        "passes": STEP_PASSES,
        "state": optimiser_bytes(1),  # per parameter
        "share": TABLE6.attention,  # of the data sheet's rate
        "models": _models(),
        "devices": devices,
        "start": {**START, "rate": rate},
    }


def _models() -> list[Json]:
    """The models of MODEL_SPECS that have the ratios of their family, and one of any size per family."""
    found: list[Json] = []
    for family in FAMILIES:
        for name, spec in MODEL_SPECS.items():
            if spec == spec_of(family, spec.width, spec.depth):
                shown = model_of(name) or f"{NAMES[family]}-{name.split('_')[1].title()}"
                found.append({"name": shown, "family": family, "width": spec.width, "depth": spec.depth})
        found.append({"name": f"{NAMES[family]} of another size", "family": family, "width": 0, "depth": 0})
    return found


def _label(name: str) -> str:
    """Whether the rate of a card is measured: its share of the data sheet was fitted to timings of an A100 alone."""
    return f"{name} (fitted to Table 6)" if name == "a100" else f"{name} (assumed)"
