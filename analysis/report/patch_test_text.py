"""Patch tests as text: whether a smaller patch size is better, in a table with what the seeds could have found, and of
the smallest patch size in one clause."""

from collections.abc import Iterator

import pandas as pd

from analysis.records.patch_tests import patch_tests
from analysis.report.printfuncs import p_text

EXPLAINED = (
    "Change of the loss from the first patch size to the second. p: t test of log loss, adjusted for the number of "
    "steps (Holm). exact p: sign-flip test of the pairs, not adjusted; {least}. found in 80 %: the decrease that such "
    "a test finds in 80 % of cases or more, if the spread between seeds is the one found here."
)


def patch_test_lines(points: pd.DataFrame) -> Iterator[str]:
    """A table of the steps and what its columns mean; nothing where no step has a test. points: of a group."""
    table = patch_tests(points)
    if not (table["test"] != "").any():
        return
    yield "| patch [px] | change [%], 95 % interval | p | exact p | found in 80 % [%] | test | verdict |"
    yield "| --- | --- | ---: | ---: | ---: | --- | --- |"
    for step in table.to_dict("records"):
        which = f"{step['coarse']:g} to {step['fine']:g}"
        change = f"{100 * step['change']:+.1f}"
        if not step["test"]:
            yield f"| {which} | {change} | - | - | - | too few seeds, or seeds that do not differ | untested |"
            continue
        change += f" [{100 * step['low']:+.1f}, {100 * step['high']:+.1f}]"
        exact = "-" if step["p_exact"] != step["p_exact"] else f"{step['p_exact']:.2g}"
        p = p_text(step["p_holm"])
        least = f"{-100 * step['detectable']:.1f}"
        yield f"| {which} | {change} | {p} | {exact} | {least} | {step['test']} | {step['verdict']} |"
    seeds = int(points.groupby("patch")["seed"].nunique().max())
    smallest = f"{seeds} seeds allow no p below {2 / 2**seeds:.2g}"
    yield "\n" + EXPLAINED.format(least=smallest)


def smallest_patch(points: pd.DataFrame) -> str:
    """Whether the smallest patch size is better than the next, as a clause: the verdict of patch_tests, the change of
    the loss with its 95 % interval [%], and p by Holm. points: of a group, as for patch_tests."""
    table = patch_tests(points)
    if table.empty:
        return "one patch size"
    step = table.iloc[-1]
    which = f"{step['fine']:g} vs {step['coarse']:g} px {step['verdict']}, {_percent(step['change'])}"
    if not step["test"]:
        single = points.loc[points["patch"].isin([step["fine"], step["coarse"]]), "patch"].value_counts().max() == 1
        return f"{which} ({'one seed; add --seeds 0,1,2' if single else 'seeds of one patch size do not differ'})"
    ends = f"[{_percent(step['low'])}, {_percent(step['high'])}]"
    p = p_text(step["p_holm"])
    equals = "" if p.startswith("<") else "= "
    return f"{which} {ends}, p {equals}{p} ({step['test'].replace(' t test', '')})"


def _percent(change: float) -> str:
    """A relative change [%], with a decimal below 10."""
    return f"{100 * change:+.0f}" if abs(change) >= 0.1 else f"{100 * change:+.1f}"
