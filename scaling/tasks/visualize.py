"""Predictions side by side with the image and its label. PIL only.

H W pixels of an image or a label, C = 3 channels, n objects.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from scaling.data.batch import IGNORE_INDEX
from scaling.runs.atomic_files import atomic

Pixels = NDArray[np.uint8]
Entry = tuple[str, tuple[int, ...]]  # of a legend: a name and its colour

SMALLEST, LARGEST = 240, 640  # long side of a panel [px]
GAP, LINE, SWATCH = 8, 20, 12  # between panels, a line of text, a colour in the legend [px]
COLOUR = 0.65  # of a class over the grey image
FIRST = (64, 128, 224)  # colour of class 0, often sky, ground or wall
STEPS = 9  # levels of each channel of the candidate colours
LIGHT, VIVID = 0.48, 0.07  # minimum lightness of a colour (white is 1) and minimum distance from grey
HEADINGS = ("image", "label", "prediction")
TOP = 3  # classes under an image
LEAST = 0.5  # minimum score of a detection that is drawn
DETECTION_HEADINGS = ("image", "ground truth", f"detections (score {100 * LEAST:.0f} % or more)")


def palette(classes: int) -> Pixels:
    """(classes, 3), at most 255 colours: a class has the same colour in every picture, for any number of classes."""
    return _colours()[:classes].copy()


def side_by_side(
    image_HWC: Pixels, label_HW: Pixels | None, prediction_HW: Pixels, names: Sequence[str]
) -> Image.Image:
    """The image, its label map where there is one, and the prediction, with a legend. IGNORE_INDEX pixels are black.

    All uint8; names: of the classes. An image of another size is resized to that of the prediction."""
    if label_HW is not None and label_HW.shape != prediction_HW.shape:
        raise ValueError(f"the label map has shape {label_HW.shape}, the prediction {prediction_HW.shape}")
    maps = [prediction_HW] if label_HW is None else [label_HW, prediction_HW]
    classes = occurring(maps[0], prediction_HW, names)
    image = Image.fromarray(image_HWC)
    if image.size != prediction_HW.shape[::-1]:
        image = image.resize(prediction_HW.shape[::-1], Image.Resampling.BILINEAR)
    panels = [image, *(_painted(image, class_HW, len(names)) for class_HW in maps)]
    entries = [(name, tuple(palette(number + 1)[number].tolist())) for number, name in classes]
    if label_HW is not None and IGNORE_INDEX in label_HW:
        entries.append(("unlabelled", (0, 0, 0)))
    return _sheet([_scaled(panel) for panel in panels], _headings(HEADINGS, len(panels)), entries)


def _headings(headings: Sequence[str], panels: int) -> list[str]:
    """Those of the image, its label where there are three panels, and the prediction."""
    return [headings[0], *headings[1 - panels :]]


def occurring(label_HW: Pixels, prediction_HW: Pixels, names: Sequence[str]) -> list[tuple[int, str]]:
    """Indices and names of the classes that are labelled or predicted."""
    numbers = [int(n) for n in np.union1d(label_HW, prediction_HW) if n != IGNORE_INDEX]
    for number in numbers[-1:]:
        if number >= len(names):
            raise ValueError(f"class {number} occurs, but there are names for 0 to {len(names) - 1} only")
    return [(number, names[number]) for number in numbers]


class Drawn(NamedTuple):
    """Objects to draw, in the pixels of an image."""

    boxes_n4: NDArray[np.float32]  # x0 y0 x1 y1 [px]
    classes_n: NDArray[np.int64]
    masks_nHW: NDArray[np.bool_]
    scores_n: NDArray[np.float32] | None = None  # None: ground truth


def objects_side_by_side(image_HWC: Pixels, truth: Drawn | None, found: Drawn, names: Sequence[str]) -> Image.Image:
    """The image, its objects where they are known, and the detections with a score of LEAST or more: masks, boxes and
    scores [%], with a legend of the classes that occur."""
    image = Image.fromarray(image_HWC)
    assert found.scores_n is not None
    sure_n = found.scores_n >= LEAST
    found = Drawn(found.boxes_n4[sure_n], found.classes_n[sure_n], found.masks_nHW[sure_n], found.scores_n[sure_n])
    shown = [found] if truth is None else [truth, found]
    panels = [_scaled(image), *(_with_objects(image, drawn) for drawn in shown)]
    occur = sorted({number for drawn in shown for number in drawn.classes_n.tolist()})
    entries = [(names[number], tuple(palette(number + 1)[number].tolist())) for number in occur]
    return _sheet(panels, _headings(DETECTION_HEADINGS, len(panels)), entries)


def _with_objects(image: Image.Image, drawn: Drawn) -> Image.Image:
    """Masks over the image; then, at the size of the panel, boxes and scores."""
    shown = np.asarray(image).copy()
    for mask_HW, number in zip(drawn.masks_nHW, drawn.classes_n, strict=True):
        colour = palette(int(number) + 1)[number]
        shown[mask_HW] = (COLOUR * colour + (1 - COLOUR) * shown[mask_HW]).astype(np.uint8)
    panel = _scaled(Image.fromarray(shown))
    draw, scale = ImageDraw.Draw(panel), panel.width / image.width
    scores = [None] * len(drawn.boxes_n4) if drawn.scores_n is None else drawn.scores_n.tolist()
    for box, number, score in zip(drawn.boxes_n4 * scale, drawn.classes_n, scores, strict=True):
        x0, y0, x1, y1 = np.clip(box, 0, (panel.width - 1, panel.height - 1) * 2).tolist()
        colour = tuple(palette(int(number) + 1)[number].tolist())
        draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=colour, width=2)
        if score is not None:
            draw.text((x0 + 2, y0 + 1), f"{100 * score:.0f}", "white", _font(), stroke_width=1, stroke_fill="black")
    return panel


def with_classes(
    image_HWC: Pixels, label: int, probability_K: NDArray[np.float32], names: Sequence[str]
) -> Image.Image:
    """The image, and below it its label and the TOP most probable classes. names: of the classes; empty: their
    numbers."""
    called = list(names) or [str(number) for number in range(len(probability_K))]
    best = np.argsort(-probability_K, kind="stable")[:TOP]
    lines = [f"label: {called[label]}", *(f"{100 * probability_K[k]:5.1f} % {called[k]}" for k in best)]
    panel = _scaled(Image.fromarray(image_HWC))
    sheet = Image.new("RGB", (panel.width + 2 * GAP, panel.height + LINE * len(lines) + 2 * GAP), "white")
    sheet.paste(panel, (GAP, GAP))
    for number, line in enumerate(lines):
        place = GAP, panel.height + GAP + LINE * number
        ImageDraw.Draw(sheet).text(place, _shortened(line, panel.width), "black", _font())
    return sheet


def write_pictures(pictures: Iterable[Image.Image], folder: Path) -> list[Path]:
    """Write folder/000.png, 001.png …, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, picture in enumerate(pictures):
        with atomic(path := folder / f"{number:03}.png") as f:
            picture.save(f, "PNG")
        paths.append(path)
    return paths


@cache
def _colours() -> Pixels:
    """(255, 3), each with the largest perceptual distance to all before it, by Oklab (Ottosson 2020). Neither dark nor
    grey, as unlabelled pixels and the image are."""
    steps = np.round(np.linspace(0, 255, STEPS))
    mixed_N3 = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    seen_N3 = _oklab(mixed_N3)
    fit_N = (seen_N3[:, 0] >= LIGHT) & (np.hypot(seen_N3[:, 1], seen_N3[:, 2]) >= VIVID)
    choice_N3 = np.vstack([FIRST, mixed_N3[fit_N]])
    lab_N3 = _oklab(choice_N3)
    chosen, apart_N = [0], np.full(len(choice_N3), np.inf)
    while len(chosen) < IGNORE_INDEX:
        apart_N = np.minimum(apart_N, np.square(lab_N3 - lab_N3[chosen[-1]]).sum(1))
        chosen.append(int(apart_N.argmax()))
    return choice_N3[chosen].astype(np.uint8)


def _oklab(rgb_N3: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB levels as lightness and two colour axes; equal distances are perceptually equal."""
    linear_N3 = (rgb_N3 / 255) ** 2.2
    cones_33 = [[0.4122, 0.5363, 0.0515], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    axes_33 = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.cbrt(linear_N3 @ np.transpose(cones_33)) @ np.transpose(axes_33)


def _painted(image: Image.Image, class_HW: Pixels, classes: int) -> Image.Image:
    """Classes in their colours over the grey image."""
    colours = np.zeros((256, 3), np.uint8)
    colours[:classes] = palette(classes)
    grey = image.convert("L").convert("RGB")
    blended = Image.blend(grey, Image.fromarray(colours[class_HW]), COLOUR)
    blended.paste((0, 0, 0), mask=Image.fromarray(class_HW == IGNORE_INDEX))
    return blended


def _scaled(panel: Image.Image) -> Image.Image:
    """Small panels enlarged by an integer factor, without interpolation; large ones reduced."""
    longest = max(panel.size)
    if longest > LARGEST:
        return panel.resize([max(1, round(side * LARGEST / longest)) for side in panel.size], Image.Resampling.BILINEAR)
    factor = -(-SMALLEST // longest)
    return panel.resize([side * factor for side in panel.size], Image.Resampling.NEAREST)


def _sheet(panels: Sequence[Image.Image], headings: Sequence[str], entries: Sequence[Entry]) -> Image.Image:
    """Panels of equal size side by side, with headings and a legend."""
    each = max(panels[0].width, *(_length(heading) for heading in headings))
    room = len(panels) * (each + GAP) - GAP
    rows = _rows([(_shortened(name, room - SWATCH - 4), colour) for name, colour in entries], room)
    height = LINE + panels[0].height + GAP
    sheet = Image.new("RGB", (room + 2 * GAP, height + LINE * len(rows) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (heading, panel) in enumerate(zip(headings, panels, strict=True)):
        left = GAP + number * (each + GAP)
        draw.text((left, 2), heading, "black", _font())
        sheet.paste(panel, (left, LINE))
    for number, row in enumerate(rows):
        left, top = GAP, height + LINE * number
        for name, colour in row:
            draw.rectangle((left, top + 2, left + SWATCH, top + 2 + SWATCH), colour)
            draw.text((left + SWATCH + 4, top), name, "black", _font())
            left += _width(name)
    return sheet


def _rows(entries: Sequence[Entry], room: int) -> list[list[Entry]]:
    """The entries of the legend in rows of at most room [px]."""
    rows: list[list[Entry]] = []
    left = room + 1
    for entry in entries:
        if left + _width(entry[0]) - 2 * GAP > room:
            rows.append([])
            left = 0
        rows[-1].append(entry)
        left += _width(entry[0])
    return rows


def _width(name: str) -> int:
    """Width of an entry of the legend, with its right margin [px]."""
    return SWATCH + 4 + _length(name) + 2 * GAP


def _shortened(name: str, room: int) -> str:
    """The name, truncated if it is too long."""
    if _length(name) <= room:
        return name
    kept = next((n for n in range(len(name), 0, -1) if _length(name[:n] + "...") <= room), 0)
    return name[:kept] + "..."


def _length(text: str) -> int:
    """[px]"""
    return -int(-_font().getlength(text) // 1)


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(13)
