"""The study flexivit: test losses of one flexible model, of a model per patch size, and of each of these at the other
patch sizes, by each way of resizing its kernel (figures 3 and 4 of FlexiViT, arXiv 2212.08013, in small).

Seeds are paired: those of a flexible and a fixed model have the same order of images.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from analysis.records.run_set import RunSet
from analysis.studies.study_table import StudyRun

FLEXIBLE = 0  # model_patch of the flexible model [px]
COLUMNS = ["backbone", "model_patch", "resize", "patch", "seed", "test_loss"]


def losses(runs: RunSet, planned: Sequence[StudyRun]) -> pd.DataFrame:
    """A row for each model of the study that finished, way of resizing its kernel and patch size that it was evaluated
    at: COLUMNS. model_patch: patch size that the model was trained at [px], 0: the flexible one; patch: of the
    evaluation [px]; test_loss [nats]."""
    reported = runs.evaluations.drop_duplicates(["run_id", "patch_size"])  # the reported weights come first
    done = reported[reported["run_id"].isin(runs.finished["run_id"])]
    found = done[["run_id", "patch_size", "seed", "test_loss"]].merge(pd.DataFrame(planned), on="run_id")
    found["model_patch"] = found["patch"].where(found["resize"] != "", FLEXIBLE)
    order = {run.backbone: number for number, run in reversed(list(enumerate(planned)))}
    found = found.assign(patch=found["patch_size"], first=found["backbone"].map(order))
    keys = {"first": True, "model_patch": False, "resize": True, "patch": False, "seed": True}
    return found.sort_values(list(keys), ascending=list(keys.values()), ignore_index=True)[COLUMNS]


def own_losses(found: pd.DataFrame) -> pd.DataFrame:
    """The rows of models at the patch size that they were trained at, where all ways of resizing agree: once each."""
    own = found[found["model_patch"] == found["patch"]]
    return own.drop_duplicates(["backbone", "patch", "seed"])


def compared(found: pd.DataFrame) -> pd.DataFrame:
    """The flexible model against the model of each patch size, a row for every backbone and patch that has both.

    found: of `losses`.  Columns: backbone, patch [px], seeds (pairs), flexible, own (mean test losses [nats]),
    flexible_sd, own_sd [nats], change, low, high: of the flexible loss over the other, geometric mean over pairs, and
    its 95 % interval by Student's t [%]; nan for one pair."""
    flexible, own = found[found["model_patch"] == FLEXIBLE], own_losses(found)
    pairs = flexible.merge(own, on=["backbone", "patch", "seed"], suffixes=("_flexible", "_own"))
    rows = []
    for (backbone, patch), its in pairs.groupby(["backbone", "patch"], sort=False):
        one, other = its["test_loss_flexible"], its["test_loss_own"]
        ratios = np.log(one / other)
        interval = (np.nan, np.nan)
        if len(its) > 1:
            interval = stats.t.interval(0.95, len(its) - 1, ratios.mean(), stats.sem(ratios))
        change, low, high = (100 * np.expm1(value) for value in (ratios.mean(), *interval))
        spreads = {"flexible_sd": one.std(), "own_sd": other.std()}
        means = {"seeds": len(its), "flexible": one.mean(), "own": other.mean()}
        of = {"backbone": backbone, "patch": patch}
        rows.append({**of, **means, **spreads, "change": change, "low": low, "high": high})
    return pd.DataFrame(rows)


def printed_comparison(table: pd.DataFrame) -> pd.DataFrame:
    """`compared` of one backbone as text."""
    ends = zip(table["low"], table["high"], strict=True)
    interval = [f"[{low:+.0f}, {high:+.0f}]" if np.isfinite(low) else "-" for low, high in ends]
    return pd.DataFrame(
        {
            "patch\n[px]": table["patch"],
            "one flexible model\n[nats]": list(map(_loss, table["flexible"], table["flexible_sd"])),
            "a model per patch\n[nats]": list(map(_loss, table["own"], table["own_sd"])),
            "change\n[%]": table["change"].map("{:+.0f}".format),
            "95 % interval\n[%]": interval,
            "by the interval": list(map(_verdict, table["low"], table["high"])),
        }
    )


def printed_elsewhere(found: pd.DataFrame) -> pd.DataFrame:
    """Rows of one backbone as text: a row for every model and way of resizing, a column for every patch size that it
    is evaluated at; mean ± standard deviation of the test loss over seeds [nats]."""
    rows = []
    for (model, resize), its in found.groupby(["model_patch", "resize"], sort=False):
        cells = {
            f"at {patch} px\n[nats]": _loss(losses.mean(), losses.std())
            for patch, losses in its.groupby("patch")["test_loss"]
        }
        rows.append({"model of\n[px]": str(model) if model else "all", "kernel\nby": resize or "-", **cells})
    first = rows[0]
    patches = sorted(found["patch"].unique(), reverse=True)
    return pd.DataFrame(rows, columns=[*list(first)[:2], *(f"at {patch} px\n[nats]" for patch in patches)])


def sentences(found: pd.DataFrame) -> Iterator[str]:
    """For each backbone: which way of resizing has the lowest mean loss at how many pairs of a model and another patch
    size, and how often such a model is worse than the flexible one."""
    means = found.groupby(["backbone", "model_patch", "patch", "resize"], sort=False)["test_loss"].mean()
    for backbone in found["backbone"].unique():
        its = means[backbone].reset_index()
        flexible = its[its["model_patch"] == FLEXIBLE].set_index("patch")["test_loss"]
        away = its[(its["model_patch"] != FLEXIBLE) & (its["model_patch"] != its["patch"])]
        if away.empty:
            continue
        best = away.loc[away.groupby(["model_patch", "patch"])["test_loss"].idxmin()]
        ways = ", ".join(f"{way} at {count}" for way, count in best["resize"].value_counts().items())
        total = len(best)
        yield f"{backbone}: of {total} pairs of a model and another patch size the lowest mean loss is by {ways}"
        worse = int((best["test_loss"].to_numpy() > flexible.reindex(best["patch"]).to_numpy()).sum())
        if len(flexible):
            yield f"{backbone}: the flexible model has a lower mean loss than the best of them at {worse} of {total}"


def drawn(found: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The frames of the study's figure (analysis/plots/flexivit.py). found: of `losses`."""
    learned_all = found["model_patch"] == FLEXIBLE
    return found[learned_all], own_losses(found), found[~learned_all]


def _loss(mean: float, spread: float) -> str:
    return f"{mean:.3f}" if np.isnan(spread) else f"{mean:.3f} ± {spread:.3f}"


def _verdict(low: float, high: float) -> str:
    if low > 0:
        return "flexible is worse"
    return "flexible is better" if high < 0 else "undecided"
