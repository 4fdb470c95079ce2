"""What is printed about similarities: CKA between models at the same layer, and what the map leaves out."""

import textwrap
from collections.abc import Sequence

import pandas as pd

from analysis.report.output import WIDTH, counted
from analysis.similarity.similarities import Similarities


def summary(found: Sequence[Similarities], images: int, cells: int) -> list[str]:
    """Lines of at most WIDTH columns. cells: patches are averaged over so many cells along a side."""
    one = found[0]
    names = ", ".join(model.label for model in one.models)
    over = f"each of {cells} x {cells} cells of an image" if cells > 1 else "an image"
    lines = textwrap.wrap(
        f"Unbiased linear CKA of {counted(len(one.models), 'model')} ({names}) on {images} images; patches are "
        f"averaged over {over}, the grid of the largest patches.",
        WIDTH,
    )
    pairs = {each.tokens: each.same_layer() for each in found}
    if any(len(table.columns) for table in pairs.values()):
        number = max(len(table.columns) for table in pairs.values())
        of_what = "the pair" if number == 1 else f"mean of {number} pairs (lowest to highest)"
        lines += ["", f"CKA between models at the same layer: {of_what}", *_table(pairs)]
    axes = [f"{100 * each.plane.explained:.0f} % ({each.tokens})" for each in found]
    share = f"The map (classical MDS) has {' and '.join(axes)} of the variance of the distances arccos CKA."
    return [*lines, "", *textwrap.wrap(share, WIDTH)]


def _table(pairs: dict[str, pd.DataFrame]) -> list[str]:
    layers = next(iter(pairs.values())).index
    cells = {
        tokens: [_cell(table.loc[layer]) if layer in table.index and len(table.columns) else "-" for layer in layers]
        for tokens, table in pairs.items()
    }
    head = f"{'layer':<9}" + "".join(f"{tokens:<22}" for tokens in cells)
    rows = [f"{layer:<9}" + "".join(f"{column[n]:<22}" for column in cells.values()) for n, layer in enumerate(layers)]
    return [head.rstrip(), *(row.rstrip() for row in rows)]


def _cell(ckas: pd.Series) -> str:
    spread = f" ({ckas.min():.2f} to {ckas.max():.2f})" if len(ckas) > 1 else ""
    return f"{ckas.mean():.2f}{spread}"
