"""A change of the patch size with several position encodings: what the positions that change with it add to its gap and
its spike (changes.py), against the same change without positions.
"""

import math

import pandas as pd

from analysis.records.patch_tests import with_verdicts
from analysis.records.seed_noise import difference
from analysis.studies.changes import ENCODING

WITHOUT = "none"  # of ENCODING
READINGS = "gap", "spike"  # [nats]
COMPARED = ["backbone", ENCODING, "at", "what", "change", "low", "high", "p", "p_holm", "verdict"]


def comparisons(found: pd.DataFrame) -> pd.DataFrame:
    """COMPARED, a row per backbone, encoding but WITHOUT, change of shape (at), reading (what): change, low, high, of
    the reading against that WITHOUT, paired over seeds, with its 95 % interval [nats]; p, p_holm, for the tests of a
    backbone and reading; verdict: worse (larger), better, undecided or untested. found: of changes, with ENCODING."""
    rows = []
    whole = found.assign(gap=found["loss_after"] - found["loss_before"])
    for (backbone, at), its in whole.groupby(["backbone", "change"], sort=False):
        of_kind = {str(kind): ours.set_index("seed") for kind, ours in its.groupby(ENCODING, sort=False)}
        if WITHOUT in of_kind:
            without = of_kind.pop(WITHOUT)
            for kind, ours in of_kind.items():
                tests = {what: difference(without[what], ours[what]) for what in READINGS}
                rows += [
                    [backbone, kind, at, what, test.mean, test.low, test.high, test.p, math.nan, ""]
                    for what, test in tests.items()
                ]
    return with_verdicts(pd.DataFrame(rows, columns=COMPARED), ["backbone", "what"])


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """One backbone's comparisons as text: a row per encoding and change of shape."""
    rows = []
    for (kind, at), its in table.groupby([ENCODING, "at"], sort=False):
        cells = {}
        for one in its.to_dict("records"):
            ends = "" if math.isnan(one["low"]) else f"\n[{one['low']:+.3f}, {one['high']:+.3f}]"
            cells[f"{one['what']} [nats]"] = f"{one['change']:+.3f} {one['verdict']}{ends}"
        rows.append({ENCODING: kind, "change": at, **cells})
    return pd.DataFrame(rows)
