"""What FlexiViT (arXiv 2212.08013) finds between patch sizes, as statements that measured CKA decides or does not.

Its finding: patches of two patch sizes are alike in early layers, apart in the middle and alike again at the end; class
tokens are alike throughout. Early, middle and end are thirds of the layers, in order. CKA is at the same layer,
averaged over all pairs of patch sizes; a seed is one value, and an interval is Student's over the seeds.
"""

from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

THIRDS = ("early", "middle", "end")
COVERAGE = 0.95


def thirds(pairs: pd.DataFrame, across: Literal["patch", "seed"] = "patch") -> pd.DataFrame:
    """Mean CKA at the same layer between models that differ in patch size alone, or in seed alone: a row per pair of
    seeds, columns (tokens, third). pairs: columns tokens, cka, and seed, patch and layer of both points (_a, _b), of
    which others are left out. Layers are in the order of their first rows."""
    same = "seed" if across == "patch" else "patch"
    kept = (pairs["layer_a"] == pairs["layer_b"]) & (pairs[f"{same}_a"] == pairs[f"{same}_b"])
    its = pairs[kept & (pairs[f"{across}_a"] != pairs[f"{across}_b"])]
    found: dict[tuple[str, str], pd.Series] = {}
    for tokens, of_tokens in its.groupby("tokens", sort=False):
        parts = np.array_split(of_tokens["layer_a"].unique(), len(THIRDS))
        for third, layers in zip(THIRDS, parts, strict=True):
            rows = of_tokens[of_tokens["layer_a"].isin(layers.tolist())]
            found[str(tokens), third] = rows.groupby(["seed_a", "seed_b"])["cka"].mean()
    return pd.DataFrame(found)


def finding(pairs: pd.DataFrame) -> pd.DataFrame:
    """A row per statement: difference of CKA (mean over seeds), its 95 % interval (low, high), the number of seeds and
    whether it holds: yes or no where the interval excludes 0, otherwise undecided, as with a single seed. pairs: as of
    thirds()."""
    cka = thirds(pairs)
    differences = {
        "patches: early more alike than the middle": cka["patches", "early"] - cka["patches", "middle"],
        "patches: end more alike than the middle": cka["patches", "end"] - cka["patches", "middle"],
        "class token more alike than patches, early": cka["class token", "early"] - cka["patches", "early"],
        "class token more alike than patches, middle": cka["class token", "middle"] - cka["patches", "middle"],
        "class token more alike than patches, end": cka["class token", "end"] - cka["patches", "end"],
    }
    return pd.DataFrame({name: _row(values) for name, values in differences.items()}).T.rename_axis("statement")


def _row(difference: pd.Series) -> pd.Series:
    n, mean = len(difference), difference.mean()
    low = high = np.nan
    if n > 1:
        half = stats.t.ppf((1 + COVERAGE) / 2, n - 1) * difference.std(ddof=1) / np.sqrt(n)
        low, high = mean - half, mean + half
    holds = "yes" if low > 0 else "no" if high < 0 else "undecided"
    return pd.Series({"difference": mean, "low": low, "high": high, "seeds": n, "holds": holds}, dtype=object)
