"""Tables and figures of the measured studies of docs/embeddings.md: patch embeddings (embeddings), their initial
weights (embed_init), adaptive patches (adaptive) and ranks of filters. From analysis/measured."""

from collections.abc import Callable

import pandas as pd

from analysis.claims.adaptive_patches import CONTROL, UNIFORM, by_content
from analysis.claims.patch_embeddings import over_plain, slope_over_patch
from analysis.plots.embeddings import embedding_figure
from analysis.plots.studies import Figure, study_figure
from analysis.studies import adaptive
from analysis.studies.cell_text import spread
from analysis.studies.embeddings import PLAIN, by_embedding, short_name
from experiments.documentation.data import grouped, numbers, signed, table

FILTERS = "filters_shapes"


def losses(name: str) -> list[str]:
    """Mean ± standard deviation of the test loss at every patch size, a row per embedding and what it has as much of
    as the convolution. name: of the file of a study embeddings or embed_init."""
    return _grouped(name, _losses)


def _losses(runs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (embedding, equal), its in runs.groupby(["embedding", "equal"], sort=False):
        cells = {f"{patch} px [nats]": spread(one["test_loss"], 3) for patch, one in its.groupby("patch", sort=False)}
        rows.append({"embedding": short_name(str(embedding)), "equal": equal, **cells})
    return pd.DataFrame(rows).fillna("-")


def differences(name: str) -> list[str]:
    """Loss less that of the convolution at every patch size, and its slope over log2 p, 95 % intervals."""
    return _grouped(name, _differences)


def _grouped(name: str, shown: Callable[[pd.DataFrame], pd.DataFrame]) -> list[str]:
    """A table by backbone; without the column "equal" where all runs have as many images."""
    runs = numbers(name)
    if runs["equal"].nunique() > 1:
        return grouped(runs, ["backbone"], shown, left=(0, 1, 2))
    return grouped(runs, ["backbone"], lambda its: shown(its).drop(columns="equal"), left=(0, 1))


def _differences(runs: pd.DataFrame) -> pd.DataFrame:
    rows, patches = [], list(dict.fromkeys(runs["patch"]))
    for embedding, equal in runs.loc[runs["embedding"] != PLAIN, ["embedding", "equal"]].drop_duplicates().to_numpy():
        by_patch = (signed(*one[1:]) for one in over_plain(runs, embedding, equal))
        (slope,) = slope_over_patch(runs, embedding, equal)
        cells = dict(zip((f"{patch} px [nats]" for patch in patches), by_patch, strict=True))
        names = {"embedding": short_name(embedding), "equal": equal}
        rows.append({**names, **cells, "per doubling of the patch": signed(*slope[1:])})
    return pd.DataFrame(rows)


def figure(name: str, title: str) -> Figure:
    runs = numbers(name)
    return embedding_figure(runs, by_embedding(runs), title)


def trees(data: str) -> list[str]:
    """adaptive: mean ± standard deviation of the test loss by number of tokens, a row per kind of patches. data: shapes
    or cifar10."""
    return grouped(numbers(f"adaptive_{data}"), ["backbone"], _by_tokens, left=(0, 1))


def _by_tokens(runs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for patches, its in runs.groupby("patches", sort=False):
        cells = {f"{tokens:,} tokens [nats]": spread(one["test_loss"], 3) for tokens, one in its.groupby("tokens")}
        rows.append({"patches": patches, **cells})
    return pd.DataFrame(rows)


def trees_compared(data: str) -> list[str]:
    """adaptive: loss by content less that of the turned tree and less that of uniform patches, 95 % intervals."""
    runs = numbers(f"adaptive_{data}")
    pairs = zip(by_content(runs, CONTROL), by_content(runs, UNIFORM), strict=True)
    rows = [[*one.what.split(" less ")[0].split(": "), signed(*one[1:]), signed(*other[1:])] for one, other in pairs]
    return table(["backbone and tokens", "patches", f"less {CONTROL} [nats]", f"less {UNIFORM} [nats]"], rows, (0, 1))


def trees_figure(data: str, where: str) -> Figure:
    title = f"Adaptive and uniform patches ({where}, 32 px)"
    return study_figure(adaptive.drawn(numbers(f"adaptive_{data}")), "tokens of an image, log scale", title)


def ranks() -> list[str]:
    """Effective rank of trained filters, mean ± standard deviation over seeds, and the largest possible one."""
    return grouped(numbers(FILTERS), ["backbone"], _ranks, left=(0,))


def _ranks(runs: pd.DataFrame) -> pd.DataFrame:
    cells = {}
    for patch, its in runs.groupby("patch", sort=False):
        largest = its[["filters", "inputs"]].min(axis=1).iloc[0]
        cells[f"{patch} px"] = f"{spread(its['effective_rank'], 1)} of {largest}"
    return pd.DataFrame([cells])
