"""What `fit_laws.py --axes patch,images` prints and writes: L(p, D) of each group, and under-training."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.fitting.curve_hold_out import HeldOutPoints, hold_out_images, hold_out_patch
from analysis.fitting.undertraining import PatchImagesLaw, fit_patch_images
from analysis.plots import style
from analysis.plots.curves import curve_figure
from analysis.plots.printed import chosen
from analysis.records.curve_points import curve_points, ends
from analysis.records.run_set import RunSet
from analysis.records.training_length import labels_of_any_length
from analysis.report.law_table import NAIVE
from analysis.report.output import counted, print_wrapped, write_files
from analysis.report.tokens_report import TOKENS
from scaling.errors import ConfigError
from scaling.runs.record import CURVE

AXES_LAWS = {"patch,images": fit_patch_images}  # by the value of --axes
THREE = "patch,params,images"  # the value of --axes that isoflop_report.py answers
FROM_SHARE = 1 / 16  # of a run's images: earlier points are of the warm-up, which follows no power law
DIVERGED = 10  # relative error of a prediction [1], from which its digits have no meaning
LEAST_R2 = 0.9  # of log L, below which the output calls a law one that does not describe the points
NOTES = (
    "Points within a run are not annealed: their loss is higher than that of a run of that length (arXiv 2203.15556), "
    "so B D^-beta may be overstated.",
    f"Points before {FROM_SHARE:g} of a run are left out: during warm-up the loss follows no power law.",
)
NO_INTERVAL = "No intervals: they need two seeds at every patch size and length."
LETTERS = {"E": "E", "A": "B", "a": "beta", "B": "A", "b": "alpha"}  # of the joint form -> of the printed law


class Fitted(NamedTuple):
    """The law of one group and the points that it was fitted to. of: which points, and why, as a sentence."""

    law: PatchImagesLaw
    points: pd.DataFrame
    of: str


def report_axes(axes: str, runs: RunSet, out: Path) -> None:
    """Print the law of each group, and write it, its points and a figure to out. Raises ConfigError where no group has
    points for one, the axes are unknown, or out cannot be written."""
    if axes not in AXES_LAWS:
        raise ConfigError(f"unknown --axes {axes!r}; choose from: {'; '.join((*AXES_LAWS, THREE, TOKENS))}")
    fitted, refused = axes_laws(axes, runs)
    if not fitted:
        why = refused[0] if refused else f"no finished run has {'images' if runs.from_csv else f'a {CURVE}'}"
        more = "" if runs.from_csv else "; runs trained with --test-points 8 have test losses on the way"
        raise ConfigError(f"no law of {axes}: {why}{more}")
    print("L(p, D) = E + A p^alpha + B D^-beta; p patch [px], D images seen; [95 % range]")
    for name, (law, points, of) in fitted.items():
        print(f"\n{name}: {law.law.n} points, R2 {law.law.r2:.3f}")
        print_wrapped(of)
        if law.law.r2 < LEAST_R2:
            print_wrapped("This law does not describe the points; its parameters are not printed.")
        else:
            _print_parameters(law)
        for sentence in _held_out(points):
            print_wrapped(sentence)
    within = any((one.points["share"] < 1).any() for one in fitted.values())
    if notes := [*(NOTES if within else ()), *refused]:
        print()
    for note in notes:
        print_wrapped(note)
    print(flush=True)
    stem = axes.replace(",", "_")
    write_files(out, _files(stem, fitted))
    print_wrapped(f"wrote to {out}: {stem}.csv|{chosen().endings}, {stem}_points.csv", indent=2)


def axes_laws(axes: str, runs: RunSet, draws: int = 1000) -> tuple[dict[str, Fitted], list[str]]:
    """The laws by the name of their group, and why other groups have none. draws: of the bootstrap. Raises ConfigError
    as curve_points."""
    points, done = curve_points(runs), runs.finished
    names = labels_of_any_length(done.assign(group=done["any_length"]))
    fitted: dict[str, Fitted] = {}
    refused = []
    for group, every in points.groupby("group", sort=False):
        name = names[str(group)]
        its, lack = ends(every)
        of = f"Fitted to the ends of {len(its)} finished runs of {its['images'].nunique()} lengths, which are annealed."
        if lack:
            its = every[every["share"] >= FROM_SHARE]
            of = f"Fitted to curves within runs and their ends: {lack}."
        try:
            fitted[name] = Fitted(AXES_LAWS[axes](its, draws), its, of)
        except ValueError as e:
            refused.append(f"{name}: {e}")
    return fitted, refused


def _files(stem: str, fitted: Mapping[str, Fitted]) -> dict[str, bytes]:
    """Parameters and shares with intervals, points with predictions, and the figure."""
    rows: list[list[object]] = []
    points = []
    for name, (law, its, _) in fitted.items():
        values = {name: law.law.parameters[name] for name in LETTERS}
        shares = {f"share {p:g}": share for p, share in law.shares.items()}
        for what, value in {**values, **shares}.items():
            low, high = law.interval(what) or (math.nan, math.nan)
            rows.append([name, LETTERS.get(what, what), value, low, high, law.law.n, law.law.r2])
        predicted = law.law.predict(its["images"], its["patch"])
        points.append(its.assign(group=name, predicted=predicted))
    law_table = pd.DataFrame(rows, columns=["group", "parameter", "value", "low", "high", "points", "r2"])
    return {
        f"{stem}.csv": law_table.to_csv(index=False).encode(),
        f"{stem}_points.csv": pd.concat(points).to_csv(index=False).encode(),
        **style.files(stem, curve_figure({name: (one.law.law, one.points) for name, one in fitted.items()})),
    }


def _print_parameters(law: PatchImagesLaw) -> None:
    if law.draws.empty:
        print_wrapped(NO_INTERVAL)
    for line in _lines(law):
        print(line.rstrip())


def _lines(law: PatchImagesLaw) -> list[str]:
    lines = []
    for name, letter in LETTERS.items():
        interval = law.interval(name)
        if name == "E" and interval is not None and interval[0] <= 1e-6 * law.law.y.min():
            most = f"at most {interval[1]:.3g}" if interval[1] > 1e-6 * law.law.y.min() else "all refits are at 0"
            lines.append(f"  {letter:6} not identified ({most})")
        else:
            lines.append(f"  {letter:6} {law.law.parameters[name]:.3g} {_text(interval)}")
    lines.append("  share of L - E that more images would remove, at the largest D:")
    lines += [
        f"  patch {p:<4g} {100 * s:.0f} % {_text(law.interval(f'share {p:g}'), 100, '.0f')}"
        for p, s in law.shares.items()
    ]
    return lines


def _held_out(points: pd.DataFrame) -> Iterator[str]:
    """How well the law predicts points that it was not fitted to, beside naive rules, a sentence for each hold-out."""
    for hold_out in (hold_out_patch, hold_out_images):
        try:
            yield held_out_sentence(hold_out(points))
        except ValueError as e:
            yield f"No hold-out: {e}."


def held_out_sentence(held: HeldOutPoints) -> str:
    errors = dict(zip(("law", *NAIVE), (held.law, held.last, held.half), strict=True))
    texts = ", ".join(f"{name} {_error(error)}" for name, error in errors.items())
    best = min(errors, key=lambda name: errors[name])
    verdict = f"closest: {best}" + (", so the law extrapolates no better than a naive rule" if best in NAIVE else "")
    return f"{held.what.capitalize()} left out ({counted(held.n, 'point')}), mean error: {texts}; {verdict}."


def _error(error: float) -> str:
    return f"{100 * error:.1f} %" if error < DIVERGED else "diverges"


def _text(interval: tuple[float, float] | None, times: float = 1, digits: str = ".3g") -> str:
    if interval is None:
        return ""
    return f"[{times * interval[0]:{digits}}, {times * interval[1]:{digits}}]"
