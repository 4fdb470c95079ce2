"""What `fit_laws.py --axes tokens` prints and writes: laws of test loss over tokens per image, whatever patch size and
image size they come from, of runs with evaluations at several image sizes too.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.fitting.laws import fit
from analysis.fitting.model import DEFAULT_FORMS
from analysis.fitting.result import Fit
from analysis.fitting.shared_runs import fit_runs
from analysis.plots import style
from analysis.plots.printed import chosen
from analysis.plots.tokens import tokens_figure
from analysis.records.run_set import RunSet
from analysis.records.shared_weights import are_shared
from analysis.records.token_points import token_points
from analysis.report.output import counted, print_wrapped, write_files
from scaling.errors import ConfigError

TOKENS = "tokens"  # the value of --axes
FEWEST = 3  # distinct numbers of tokens
STEM = "tokens_law"


class TokensLaw(NamedTuple):
    """The laws of one group, by DEFAULT_FORMS as far as there are enough points, and their points."""

    laws: list[Fit]
    points: pd.DataFrame


def report_tokens(runs: RunSet, out: Path) -> None:
    """Print the laws of each group, and write them, their points and a figure to out. Raises ConfigError where no group
    has enough points, or out cannot be written."""
    fitted, refused = token_laws(token_points(runs))
    if not fitted:
        raise ConfigError(f"no law of tokens: {refused[0] if refused else 'no finished run has an evaluation'}")
    print("L(T), T tokens per image; [95 % range]")
    for name, (laws, points) in fitted.items():
        sizes = " ".join(f"{size:g}" for size in sorted(points["image"].unique()))
        patches = " ".join(f"{patch:g}" for patch in sorted(points["patch"].unique(), reverse=True))
        print(f"\n{name}")
        of = f"{counted(len(points), 'evaluation')} of {counted(points['run_id'].nunique(), 'run')}"
        print_wrapped(f"{of}; patch {patches} px, images of {sizes} px", indent=2)
        for law in laws:
            print_wrapped(f"{law.form}: {law.summary('T')}", indent=2)
        if why := laws[0].why_no_intervals:
            print_wrapped(f"no intervals: {why}", indent=2)
    for line in refused:
        print_wrapped(line)
    print(flush=True)
    write_files(out, _files(fitted))
    print_wrapped(f"wrote to {out}: {STEM}.csv|{chosen().endings}, {STEM}_points.csv", indent=2)


def token_laws(points: pd.DataFrame) -> tuple[dict[str, TokensLaw], list[str]]:
    """The laws by the name of their group, and why other groups have none. points: of token_points."""
    fitted: dict[str, TokensLaw] = {}
    refused = []
    for name, its in points.groupby("group", sort=False):
        distinct = its["tokens"].nunique()
        if distinct < FEWEST:
            seen = counted(distinct, "number")
            refused.append(f"{name}: {seen} of tokens; a law needs {FEWEST}: more patch sizes or --eval-img-sizes")
            continue
        fitted[str(name)] = TokensLaw([_law(its, form) for form in DEFAULT_FORMS], its)
    return fitted, refused


def _law(points: pd.DataFrame, form: str) -> Fit:
    if are_shared(points):
        return fit_runs(points["tokens"], points["y"], points["run_id"], form)
    return fit(points["tokens"], points["y"], form)


def _files(fitted: Mapping[str, TokensLaw]) -> dict[str, bytes]:
    """Parameters with intervals, points, and the figure."""
    rows = [
        [name, law.form, parameter, law.parameters[parameter], low, high, law.n, law.r2]
        for name, (laws, _) in fitted.items()
        for law in laws
        for parameter, (low, high) in law.intervals.items()
    ]
    table = pd.DataFrame(rows, columns=["group", "form", "parameter", "value", "low", "high", "points", "r2"])
    every = pd.concat([one.points for one in fitted.values()])
    return {
        f"{STEM}.csv": table.to_csv(index=False).encode(),
        f"{STEM}_points.csv": every.to_csv(index=False).encode(),
        **style.files(STEM, tokens_figure({name: (one.laws, one.points) for name, one in fitted.items()})),
    }
