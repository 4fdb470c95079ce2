"""The tables of docs/results/budget.md. A function returns the lines of one block."""

import functools

import pandas as pd

from analysis.planning import measured_pareto, surface_selection
from analysis.planning.allocation import best, configurations, published_surface
from experiments.documentation.data import table
from experiments.planning import budget

BUDGETS = (1e19, 1e20, 1e21, 1e22)  # FLOPs


@functools.cache
def points() -> pd.DataFrame:
    return measured_pareto.measured(budget.training_flops)


@functools.cache
def configured() -> pd.DataFrame:
    return configurations(published_surface(), training=budget.training_flops)


def _flops(value: float) -> str:
    return f"{value:.1e}".replace("e+", "e")


def measured_best() -> list[str]:
    """The Pareto frontier of the measured configurations."""
    on = points()[points()["frontier"]]
    rows = [
        [r["model"], f"{r['patch']:g}", f"{r['image']:g}", _flops(r["training_flops"]), f"{r['y']:.1f}"]
        for r in on.to_dict("records")
    ]
    return table(["model", "patch [px]", "image [px]", "FLOPs", "top-1 error [%]"], rows)


def measured_steps() -> list[str]:
    """Reduction of the error per factor of e in FLOPs, by smaller patches and by larger models."""
    rows = [
        [f"{r['image']:g}", r["model"], f"{r['by_patch']:.2f}", f"{r['by_model']:.2f}"]
        for r in measured_pareto.steps(points()).to_dict("records")
    ]
    return table(["image [px]", "from, at patch 16", "to patch 8", "to the next model"], rows, left=(1,))


def picks() -> list[str]:
    """The configuration that the law selects for each budget, and the share of resampled laws that agree."""
    won = surface_selection.wins(published_surface(), configured(), BUDGETS, draws=budget.DRAWS)
    rows = []
    for r in best(configured(), BUDGETS).to_dict("records"):
        its = won[won["budget"] == r["budget"]]
        mine = (its["model"] == r["model"]) & (its["patch"] == r["patch"]) & (its["image"] == r["image"])
        others = [f"{o.model} {o.patch:g}/{o.image:g}: {100 * o.share:.0f} %" for o in its[~mine].head(2).itertuples()]
        name = f"{r['model']} {r['patch']:g}/{r['image']:g}"
        error = f"{r['predicted']:.1f} [{r['low']:.1f}, {r['high']:.1f}]"
        share = f"{100 * its.loc[mine, 'share'].sum():.0f} %"
        rows.append([f"{r['budget']:.0e}".replace("+", ""), name, error, share, ", ".join(others), r["beyond"]])
    head = ["budget [FLOPs]", "selected, patch/image [px]", "error [%]", "share", "alternatives", "extrapolates in"]
    return table(head, rows, left=(0, 1, 4, 5))


def surface_forms() -> list[str]:
    surface = published_surface()
    names = {
        "surface": "A N^-a I^-c (1 + B p^b N^-d I^-e)",
        "floored": "F (1 + (M/N)^a) I^-c (1 + B p^b N^-d I^-e)",
    }
    rows = [
        [names[r["form"]], str(r["parameters"]), f"{r['rms']:.1f} %", f"{r['largest']:.1f} %", f"{r['aicc']:.1f}"]
        for r in surface_selection.forms_weighed(surface).to_dict("records")
    ]
    return table(["law", "parameters", "rms residual", "largest", "AICc"], rows)


def released_models() -> list[str]:
    rows = [
        [
            f"{r['model']} {r['patch']:g}/{r['image']:g}",
            f"{r['measured']:.1f}",
            f"{r['predicted']:.1f} [{r['low']:.1f}, {r['high']:.1f}]",
        ]
        for r in surface_selection.released(published_surface()).to_dict("records")
    ]
    return table(["model, patch/image [px]", "error as released [%]", "predicted"], rows)
