"""Figure of packed images: which token of each row is whose, and which tokens attend to each other."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.plots.backbone_styles import COLOURS
from analysis.plots.printed import chosen
from analysis.plots.style import INK, LEAST, SMALLEST, panel_rows, panel_title, x_label, y_label

PALETTE = (*COLOURS, INK)
PADDING = (0.93, 0.93, 0.93)
DARKER = 0.55  # factor of a class token's colour


def packed_rows_figure(
    image_RS: NDArray[np.int64], class_RS: NDArray[np.bool_], sizes: Sequence[str], row: int = 0
) -> Figure:
    """image_RS: image of every token; their number is padding. class_RS: where class tokens are. sizes: of the images,
    as words. row: whose attention is shown."""
    colours = [*(to_rgb(PALETTE[n % len(PALETTE)]) for n in range(len(sizes))), PADDING]
    pixels = np.array(colours)[image_RS]
    pixels[class_RS] *= DARKER
    if chosen().inches > 2 * LEAST:
        figure, [[left, right]] = panel_rows(2.6, 1, 2, ratios=([1], [2.3, 1]))
    else:
        figure, [[left], [right]] = panel_rows(4.4, 2, 1, ratios=([1, 1.4], [1]))
    left.imshow(pixels, aspect="auto", interpolation="none")
    for number, words in enumerate(sizes):
        places = np.argwhere(image_RS == number)
        y, x = places[0][0], places[:, 1].mean()
        left.text(x, y, words, ha="center", va="center", fontsize=SMALLEST, color=_on(colours[number]))
    rows, length = image_RS.shape
    left.set_yticks(range(rows), [f"row {n}" for n in range(rows)])
    left.set_xticks(np.arange(length + 1) - 0.5, minor=True)
    left.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    left.grid(which="minor", color="white", linewidth=0.4)
    left.tick_params(which="both", length=0)
    x_label(left, "token of the row; dark: class token, grey: padding")
    panel_title(left, "Several images per row")
    own = image_RS[row]
    same = (own[:, None] == own[None, :]) & (own < len(sizes))[:, None]
    mask = np.ones((length, length, 3))
    mask[same] = pixels[row][np.nonzero(same)[0]]
    right.imshow(mask, interpolation="none")
    right.set_xticks(range(0, length, 8))
    right.set_yticks(range(0, length, 8))
    x_label(right, "key")
    y_label(right, "query")
    panel_title(right, f"Attention in row {row}")
    for axes in (left, right):
        for spine in axes.spines.values():
            spine.set_color(INK)
    return figure


def _on(rgb: tuple[float, float, float]) -> str:
    """Black on a light colour, else white."""
    return "black" if np.dot(rgb, (0.2126, 0.7152, 0.0722)) > 0.45 else "white"
