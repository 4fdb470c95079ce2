"""Hierarchical fits as text: one sentence per table of the paper, or per data set of own runs."""

import math
from collections.abc import Sequence

from analysis.fitting.hierarchical import FEWEST_ROWS, fit_rows, gain
from analysis.records.groups import Group


def hierarchical_sentences(groups: Sequence[Group]) -> list[str]:
    """A sentence for every table with at least FEWEST_ROWS rows of one measure on one data set."""
    tables: dict[tuple[str, str, str], list[Group]] = {}
    for group in groups:
        if group.patches >= 4:
            key = (group.source, group.measure, str(group.about.get("data", "")))
            tables.setdefault(key, []).append(group)
    sentences = []
    for (source, measure, data), its in tables.items():
        if len(its) < FEWEST_ROWS:
            continue
        rows = [(group.points["patch"], group.points["y"]) for group in its]
        try:
            found, gained = fit_rows(rows), gain(rows)
        except ValueError:  # a row to which no law can be fitted
            continue
        alone = f"{gained.width_separate:.2f}" if math.isfinite(gained.width_separate) else "no end"
        exponents = f"mean {found.mu:.2f}, standard deviation {found.tau:.2f}; errors {100 * found.sigma:.2f} %"
        sentences.append(
            f"{source}, {measure} on {data}, {len(its)} rows, exponents from one normal distribution: {exponents}. "
            f"Mean held-out error of the smallest patch {100 * gained.held_out_error:.2f} % (separate fits "
            f"{100 * gained.held_out_error_separate:.2f} %), median width of the interval of alpha {gained.width:.2f} "
            f"(separate fits {alone})."
        )
    return sentences
