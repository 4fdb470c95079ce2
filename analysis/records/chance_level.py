"""Chance level: runs whose test loss is no better than guessing, to which no law should be fitted."""

import math

import pandas as pd

from analysis.records.group_labels import labels
from analysis.records.run_frame import finished

NEAR = 0.98  # of ln K [nats], the loss of a uniform guess among K classes: from here on nothing was learned


def at_chance(frame: pd.DataFrame) -> pd.Series:
    """Whether each run finished with a loss of NEAR ln K or more. frame: with status, task, classes and test_loss
    [nats]. Never for detection, whose loss is a sum of several, and where classes are unknown."""
    classes = pd.to_numeric(frame["classes"], errors="coerce")
    chance = classes.where(classes > 1).map(math.log, na_action="ignore")
    return (frame["status"] == "finished") & (frame["task"] != "detect") & (frame["test_loss"] >= NEAR * chance)


def chance_lines(frame: pd.DataFrame) -> list[str]:
    """A sentence for each group that has such runs. frame: of a RunSet."""
    lines, runs = [], finished(frame)
    for group, name in labels(runs).items():
        its = runs[runs["group"] == group]
        if (bad := its[at_chance(its)]).empty:
            continue
        classes, patches = int(its["classes"].iloc[0]), sorted(bad["patch"].unique(), reverse=True)
        where = "" if len(bad) == len(its) else f" at patch {', '.join(map(str, patches))}"
        low, high = (f"{end:.3f}" for end in (bad["test_loss"].min(), bad["test_loss"].max()))
        loss = low if low == high else f"{low} to {high}"
        lines.append(
            f"{name} has not learned{where}: test loss {loss} nats, guessing among {classes} classes gives "
            f"{math.log(classes):.3f}; a law of such runs has no meaning. Train longer (--epochs) or in smaller "
            "batches (--batch)"
        )
    return lines
