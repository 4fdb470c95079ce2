"""Patch tests in Markdown: whether a smaller patch size is better, and what the seeds could have found."""

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
