"""Evaluations of finished runs by tokens per image: the points of a law over tokens.

A run that is evaluated at several image sizes, or learned several patch sizes, gives a point at each; their errors are
not independent (analysis/fitting/shared_runs.py). Runs of a group differ in patch size and seed and in nothing else.
"""

import pandas as pd

from analysis.records.group_labels import labels
from analysis.records.run_frame import SIZES
from analysis.records.run_set import RunSet
from scaling.config.packing import NATIVE

POINTS = ["group", "run_id", "seed", "patch", "image", "tokens", "y"]


def token_points(runs: RunSet) -> pd.DataFrame:
    """POINTS, a row per evaluation by the reported weights: group (a short name), patch, image [px], tokens [1], y
    (test loss [nats]); by group, tokens and seed. Left out: detection and images of their own sizes, of which the
    tokens are not known, and patch sizes that a run did not learn."""
    done = runs.finished
    known = done[done["task"] != "detect"]
    if SIZES in known:
        known = known[~known[SIZES].fillna("").str.startswith(NATIVE)]
    reported = runs.evaluations.drop_duplicates(["run_id", "patch_size", "img_size"])  # the reported weights come first
    if "learned" in reported:
        reported = reported[reported["learned"].ne(other=False)]
    names = labels(known) if len(known) else {}
    its = reported[reported["run_id"].isin(known["run_id"])]
    points = pd.DataFrame(
        {
            "group": its["group"].map(names),
            "run_id": its["run_id"],
            "seed": its["seed"],
            "patch": its["patch_size"],
            "image": its["img_size"],
            "tokens": (its["img_size"] // its["patch_size"]) ** 2,
            "y": its["test_loss"],
        },
        columns=POINTS,
    )
    return points[points["y"] > 0].sort_values(["group", "tokens", "seed"], ignore_index=True)
