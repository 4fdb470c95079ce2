"""Drawn numbers: the numbers that a figure shows, so that a picture can be checked without comparing pixels."""

import hashlib
import json
from typing import TypedDict

import numpy as np
from matplotlib.figure import Figure
from typing_extensions import NotRequired

MOST = 7  # points kept per line, including its ends
DIGITS = 4


class DrawnLine(TypedDict):
    """A line of a panel."""

    name: str  # "" where the legend has none
    points: list[list[float | None]]  # x, y; None: not finite


class DrawnPanel(TypedDict):
    """A panel of a figure."""

    title: str
    lines: list[DrawnLine]
    images: NotRequired[list[str]]  # digests of their pixels, where there are any


def numbers_of(figure: Figure) -> list[DrawnPanel]:
    """The title and lines of every panel: names and points with DIGITS significant digits; for images a digest of the
    pixels."""
    panels: list[DrawnPanel] = []
    for axes in figure.axes:
        lines: list[DrawnLine] = []
        for line in axes.lines:
            x, y = (np.asarray(values, float) for values in line.get_data())
            at = np.unique(np.linspace(0, len(x) - 1, MOST).astype(int)) if len(x) else np.array([], int)
            label = str(line.get_label())
            points = [[_rounded(x[k]), _rounded(y[k])] for k in at]
            if points:
                lines.append({"name": "" if label.startswith("_") else label, "points": points})
        panel: DrawnPanel = {"title": _one_line(axes.get_title(loc="left")), "lines": lines}
        if axes.images:
            pixels = [np.ascontiguousarray(image.get_array()).tobytes() for image in axes.images]
            panel |= {
                "title": _one_line(axes.get_title()),
                "images": [hashlib.sha256(data).hexdigest()[:16] for data in pixels],
            }
        panels.append(panel)
    return panels


def _one_line(title: str) -> str:
    """A title as it was before it was wrapped to the width of its panel."""
    return title.replace("\n", " ").strip()


def agree(one: list[DrawnPanel], other: list[DrawnPanel], tolerance: float = 2e-3) -> bool:
    """Whether two figures agree: equal titles and names, numbers to the relative tolerance."""
    if any([p.get(key) for p in one] != [p.get(key) for p in other] for key in ("title", "images")):
        return False
    return all(_lines_agree(a["lines"], b["lines"], tolerance) for a, b in zip(one, other, strict=True))


def digest(numbers: list[DrawnPanel]) -> str:
    """A digest of drawn numbers, which the picture contains as metadata."""
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()[:16]


def _lines_agree(one: list[DrawnLine], other: list[DrawnLine], tolerance: float) -> bool:
    if [(line["name"], len(line["points"])) for line in one] != [(line["name"], len(line["points"])) for line in other]:
        return False
    return all(
        np.allclose(_array(a["points"]), _array(b["points"]), rtol=tolerance, atol=1e-12, equal_nan=True)
        for a, b in zip(one, other, strict=True)
    )


def _array(points: list[list[float | None]]) -> np.ndarray:
    return np.array([[np.nan if value is None else value for value in point] for point in points], float)


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
