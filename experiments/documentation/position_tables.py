"""Tables and figures of the measured studies of docs/positions.md: laws by position encoding (position_laws), models at
other grids (transfer) and finetuning at another patch size (patch_transfer). From analysis/measured."""

import math

import pandas as pd

from analysis.claims import finetuned_patches
from analysis.claims.position_laws import over_sincos
from analysis.plots.exponents import exponent_figure
from analysis.plots.finetuning import finetuning_figure
from analysis.plots.studies import Figure
from analysis.plots.transfer import transfer_figure
from analysis.records.seed_noise import critical_t
from analysis.studies import finetuning, position_laws, transfer
from analysis.studies.exponents import slopes
from analysis.studies.position_laws import ENCODING, PLAIN
from experiments.documentation.data import grouped, numbers, signed, table


def losses(data: str) -> list[str]:
    """position_laws: test loss at every patch size, a row per encoding. data: shapes or cifar10."""
    return grouped(numbers(f"position_laws_{data}"), ["backbone"], position_laws.printed, left=(0, 1))


def compared(data: str) -> list[str]:
    """position_laws: loss less that with sine-cosine positions at every patch size, intervals by Holm's correction for
    the encodings of a backbone."""
    return grouped(numbers(f"position_laws_{data}"), ["backbone"], _compared, left=(0, 1))


def _compared(runs: pd.DataFrame) -> pd.DataFrame:
    """runs: of one backbone."""
    patches = sorted(runs["patch"].unique(), reverse=True)
    rows = []
    for kind in (kind for kind in runs[ENCODING].unique() if kind != PLAIN):
        changes = (signed(*one[1:]) for one in over_sincos(runs, kind, fewest=1))
        rows.append({ENCODING: kind, **dict(zip((f"{patch} px [nats]" for patch in patches), changes, strict=True))})
    return pd.DataFrame(rows)


def exponents(data: str) -> list[str]:
    """position_laws: alpha with its interval, and its difference from that with sine-cosine positions."""
    found = slopes(numbers(f"position_laws_{data}"), ENCODING, PLAIN)
    return grouped(found, ["backbone"], _exponents, left=(0, 1, 4))


def _exponents(found: pd.DataFrame) -> pd.DataFrame:
    """found: of slopes, of one backbone."""
    rows = []
    for row in found.to_dict("records"):
        reach = float(critical_t(row["seeds"] - 1)) * row["sd"] / math.sqrt(row["seeds"])
        alone = "-" if math.isnan(row["change"]) else signed(row["change"], row["low"], row["high"])
        rows.append(
            {
                ENCODING: row[ENCODING],
                "alpha": f"{row['alpha']:.3f} [{row['alpha'] - reach:.3f}, {row['alpha'] + reach:.3f}]",
                f"less that of {PLAIN}": alone,
                "by Holm": row["verdict"] or "-",
            }
        )
    return pd.DataFrame(rows)


def laws_figure(data: str, where: str) -> Figure:
    runs = numbers(f"position_laws_{data}")
    return exponent_figure(runs, slopes(runs, ENCODING, PLAIN), ENCODING, f"Laws by position encoding ({where})")


def moved(data: str) -> list[str]:
    """transfer: mean losses at once and after finetuning at each side, a row per encoding and rule."""
    return grouped(_moved(data), ["backbone"], _losses_by_side, left=(0, 1, 2))


def _losses_by_side(found: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (encoding, rule), its in found[found["side"] != 1].groupby(["encoding", "rule"], sort=False):
        means = its.groupby(["side", "steps"])["test_loss"].mean().map("{:.3f}".format)
        cells = {f"{side:g} x [nats]": ", ".join(of_steps) for side, of_steps in means.groupby("side")}
        rows.append({"positions": encoding, "rule": rule, **cells})
    return pd.DataFrame(rows).fillna("-")


def moved_compared(data: str, steps: int) -> list[str]:
    """transfer: loss after so many steps less that of the model trained there, a row per encoding and rule."""
    compared = transfer.comparisons(_moved(data))
    its = compared[(compared["against"] == transfer.DIRECT) & (compared["steps"] == steps) & (compared["side"] != 1)]
    return grouped(its, ["backbone"], _changes_by_side, left=(0, 1, 2))


def _changes_by_side(compared: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (encoding, rule), its in compared.groupby(["encoding", "rule"], sort=False):
        cells = {
            f"{row['side']:g} x [nats]": signed(row["change"], row["low"], row["high"])
            for row in its.to_dict("records")
        }
        rows.append({"positions": encoding, "rule": rule, **cells})
    return pd.DataFrame(rows).fillna("-")


def moved_figure(data: str, where: str) -> Figure:
    return transfer_figure(_moved(data), transfer.DIRECT, f"Models at other grids than trained at ({where})")


def _moved(data: str) -> pd.DataFrame:
    return numbers(f"transfer_{data}").fillna({"kernel": ""})


def finetuned(data: str) -> list[str]:
    """patch_transfer: mean losses after each number of steps, a row per encoding and way of resizing the kernel."""
    found = _tuned(data)
    by_gap = finetuning.gaps(found)

    def shown(its: pd.DataFrame) -> pd.DataFrame:
        name, patch = its["backbone"].iloc[0], its["patch"].iloc[0]
        return finetuning.printed(its, by_gap[(by_gap["backbone"] == name) & (by_gap["patch"] == patch)])

    return grouped(found, ["backbone", "patch"], shown, left=(0, 2))


def finetuned_compared(data: str) -> list[str]:
    """patch_transfer: for every encoding and patch size the steps to 90 % of the fall over those with learned
    positions; the loss after 1,000 steps less that of the model trained there; and the loss at once with a kernel
    resized like an image less that by its pseudo-inverse; 95 % intervals."""
    found = _tuned(data)
    compared = finetuning.comparisons(found, finetuning.gaps(found))
    keys = ["backbone", "encoding", "patch"]
    ratios = compared[compared["what"] == "encoding"].set_index(keys)
    kernels = compared[(compared["what"] == "kernel") & (compared["steps"] == 0)].set_index(keys)
    rows = []
    models = found[keys].drop_duplicates().itertuples(index=False, name=None)
    for key, end in zip(models, finetuned_patches.longest_over_direct(found), strict=True):
        ends = ("change", "low", "high")
        ratio = "{:.2f} [{:.2f}, {:.2f}]".format(*map(math.exp, ratios.loc[key, ends])) if key in ratios.index else "-"
        rows.append([*map(str, key), ratio, signed(*end[1:]), signed(*kernels.loc[key, ends])])
    head = ["steps over those of learned", "less trained there [nats]", "kernel like an image, at once [nats]"]
    return table(["backbone", "positions", "patch [px]", *head], rows, left=(0, 1))


def finetuned_figure(data: str, where: str) -> Figure:
    return finetuning_figure(_tuned(data), transfer.DIRECT, f"Finetuning at another patch size ({where})")


def _tuned(data: str) -> pd.DataFrame:
    return numbers(f"patch_transfer_{data}").fillna({"kernel": ""})
