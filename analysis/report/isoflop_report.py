"""What `fit_laws.py --axes patch,params,images` prints and writes: L(N, p, D), isoFLOP curves and directions."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.fitting.model_patch_images import FEWEST, SizeLaw, fit_one_model, fit_sizes, hold_out_largest
from analysis.planning.isoflop import CHANGED, best_patches, directions, isoflop, place_of, verdict
from analysis.plots.isoflop import isoflop_figure
from analysis.plots.style import files
from analysis.records.run_set import RunSet
from analysis.records.size_points import size_points
from analysis.report.axes_report import LEAST_R2, THREE
from analysis.report.output import counted, print_wrapped, write_files
from scaling.errors import ConfigError

STEM = THREE.replace(",", "_")
FORMULAS = {
    "additive": "E + A N^-a + B p^b + C D^-c",
    "surface": "A N^-a D^-c (1 + B p^b N^-d D^-e)",
    "joint": "E + A D^-a + B p^b",
}
LETTERS = "N parameters, p patch [px], D images seen, repetitions included; [95 % range over resampled runs]"
UNITS = {"parameters": "parameters", "images": "images", "patch": "patch side"}


class Answer(NamedTuple):
    """What a law that describes its points is used for: isoFLOP curves, best patch sizes and directions."""

    curves: pd.DataFrame
    best: pd.DataFrame
    place: pd.Series
    steps: pd.DataFrame


def report_isoflop(runs: RunSet, out: Path) -> None:
    """Print the law of each family, and write it, its points, curves and figure to out. Where a family has too few
    sizes, each of its models has a law. Raises ConfigError, with nothing written, where there is no law at all or out
    cannot be written."""
    laws, notes = _laws(size_points(runs))
    if not laws:
        why = notes[0] if notes else "no finished run has a curve.csv"
        raise ConfigError(f"--axes {THREE}: {why}; --axes patch,images needs one model and length only")
    print_wrapped(f"L: test loss [nats]; {LETTERS}")
    answers: dict[str, Answer] = {}
    for name, found in laws.items():
        law = found.law
        print(f"\n{name}")
        print_wrapped(f"L = {FORMULAS[law.form]}, fitted to the ends of {law.n} runs, R2 {law.r2:.3f}")
        if law.r2 < LEAST_R2:
            print_wrapped("This law does not describe the points, so it has no parameters, curves and directions here.")
        else:
            answers[name] = _answer(found)
            _print(found, answers[name])
    print()
    for note in notes:
        print_wrapped(note)
    print(flush=True)
    written = [path.name for path in write_files(out, _files(laws, answers))]
    print_wrapped(f"wrote to {out}: {', '.join(written)}", indent=2)


def _laws(points: pd.DataFrame) -> tuple[dict[str, SizeLaw], list[str]]:
    """By the name of the family or model, families of many runs first; and which have none, and why."""
    laws: dict[str, SizeLaw] = {}
    notes = []
    for family in points["family"].value_counts().index:
        its = points[points["family"] == family]
        about = []
        if number := int(its["at_chance"].sum()):
            about.append(f"{counted(number, 'run')} no better than guessing left out")
            its = its[~its["at_chance"]]
        try:
            laws[family] = fit_sizes(its)
        except ValueError as e:
            found, without = _of_models(family, its)
            laws |= found
            instead = ["each model has a law of patch size and images seen", *without] if found else []
            about += [f"no law of all three ({e})", *instead]
        if about:
            notes.append(f"{family}: {'; '.join(about)}")
    return laws, notes


def _of_models(family: str, points: pd.DataFrame) -> tuple[dict[str, SizeLaw], list[str]]:
    """The laws of single models, and which models have none, and why."""
    laws: dict[str, SizeLaw] = {}
    without = []
    for model, its in points.groupby("model", sort=False):
        try:
            laws[f"{family}, {model}"] = fit_one_model(its)
        except ValueError as e:
            without.append(f"{model}: none ({e})")
    return laws, without


def _answer(found: SizeLaw) -> Answer:
    place, curves = place_of(found.points), isoflop(found)
    return Answer(curves, best_patches(curves), place, directions(found, place))


def _print(found: SizeLaw, answer: Answer) -> None:
    place = answer.place
    for line in _parameters(found):
        print(line)
    held = hold_out_largest(found)
    if held is not None:
        rules = f"{100 * held.last:.1f} % as the next smaller model, {100 * held.half:.1f} % with half of the last gain"
        print_wrapped(f"{held.model} left out and predicted: {100 * held.law:.1f} % error (rms); naive: {rules}.")
    elif "parameters" in found.variables:
        print_wrapped(f"No hold-out of the largest model: that needs {FEWEST + 1} sizes.")
    if answer.curves.empty:
        print_wrapped("No isoFLOP curves: no budget allows two patch sizes at up to twice the lengths of the runs.")
    else:
        print("Best patch size [px] per budget of training FLOPs, by the law:")
    for row in answer.best.itertuples():
        which = f"{row.patch:<3g} [{row.finest:g}, {row.coarsest:g}]"
        print(f"  {row.budget:.1e} FLOPs  {which:14} {row.model}, {row.images:.2g} images{'+' * bool(row.edge)}")
    if not answer.curves.empty and answer.best["edge"].any():
        print_wrapped("+ the coarsest or finest that the lengths of the runs allow for this budget")
    print_wrapped(
        f"Twice the training FLOPs from {place['model']} at patch {place['patch']:g} and {place['images']:,.0f} images "
        f"(the lowest loss, {place['y']:.3g}) change the loss [nats] by:"
    )
    for row in answer.steps.itertuples():
        factor = f"{UNITS[CHANGED[str(row.direction)]]} x {row.factor:.2f}{'*' * bool(row.beyond)}"
        print(f"  {row.direction:16} {row.change:+.3f} [{row.low:+.3f}, {row.high:+.3f}]  {factor}")
    if answer.steps["beyond"].any():
        print_wrapped("* beyond the range of the runs: extrapolated")
    print_wrapped(f"Which lowers it most: {verdict(answer.steps)}.")


def _parameters(found: SizeLaw) -> Iterator[str]:
    smallest = 1e-6 * found.law.y.min()
    for name, (low, high) in found.draws.intervals().items():
        if name == "E" and low <= smallest:
            yield f"  {name} not identified (at most {high:.3g})" if high > smallest else f"  {name} 0 in all draws"
        else:
            yield f"  {name} {found.law.parameters[name]:.3g} [{low:.3g}, {high:.3g}]"


def _files(laws: Mapping[str, SizeLaw], answers: Mapping[str, Answer]) -> dict[str, bytes]:
    """Parameters and points with predictions of all laws; intervals, isoFLOP curves, directions and the figure of those
    that describe their points."""
    rows: list[list[object]] = []
    for name, found in laws.items():
        intervals = found.draws.intervals() if name in answers else {}
        for letter, value in found.law.parameters.items():
            ends = intervals.get(letter, (math.nan, math.nan))
            rows.append([name, found.law.form, letter, value, *ends, found.law.n, found.law.r2])
    columns = ["group", "form", "parameter", "value", "low", "high", "runs", "r2"]
    points = {name: found.points.assign(predicted=found.predict(found.points)) for name, found in laws.items()}
    tables = {
        STEM: pd.DataFrame(rows, columns=columns),
        f"{STEM}_points": _joined(points),
        f"{STEM}_isoflop": _joined({name: answer.curves for name, answer in answers.items()}),
        f"{STEM}_directions": _joined({name: answer.steps.drop(columns="draws") for name, answer in answers.items()}),
    }
    made = {f"{stem}.csv": table.to_csv(index=False).encode() for stem, table in tables.items() if not table.empty}
    drawn = {name: (laws[name].points, its.curves, its.best) for name, its in answers.items() if not its.curves.empty}
    return made | files(STEM, isoflop_figure(drawn)) if drawn else made


def _joined(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The tables as one with a first column group."""
    plain = [pd.DataFrame({"group": name, **table.to_dict("series")}) for name, table in tables.items()]
    return pd.concat(plain, ignore_index=True) if plain else pd.DataFrame()
