"""Section of predictions: pictures that runs of segmentation and detection keep in their folders, scaled down."""

import base64
import io
from pathlib import Path

from PIL import Image

from analysis.page.content import Content
from analysis.page.section import Section, text
from analysis.records.run_frame import finished
from scaling.runs.record import PREDICTIONS

PER_RUN, MOST = 2, 40  # pictures
WIDEST = 800  # [px]
QUALITY = 80  # of a JPEG, where that is smaller than a PNG
HOW = (
    "<code>--save-predictions 4</code> at the command of the sweep draws some, also for runs that are finished; "
    "<code>python experiments/predict.py RUN FOLDER --out PICTURES</code> draws those of other images."
)


def section(content: Content) -> Section:
    """The pictures, or which command makes some. Classification has none."""
    done = finished(content.runs.frame)
    drawn = done[done["task"] != "classify"]
    names = content.recipes
    figures: list[str] = []
    left_out = 0
    for run in drawn.to_dict("records"):
        paths = sorted((Path(str(run["folder"])) / PREDICTIONS).glob("*.png"))
        taken = paths[: min(PER_RUN, MOST - len(figures))]
        left_out += len(paths) - len(taken)
        of = f"{names[run['group']]}, patch {run['patch']} px, seed {run['seed']}"
        figures += [_figure(path, of, str(run["run_id"])) for path in taken]
    title = "Predictions"
    if drawn.empty:
        return Section("pictures", title, "<p>Runs of classification have no pictures of predictions.</p>")
    if not figures:
        return Section("pictures", title, f"<p>No run in this folder keeps pictures of predictions: {HOW}</p>")
    more = f"<p>{left_out} further pictures are in the folders of the runs.</p>" if left_out else ""
    return Section("pictures", title, f'<div class="pictures">{"".join(figures)}</div>{more}')


def _figure(path: Path, of: str, run: str) -> str:
    """A picture within the page, and what it shows."""
    try:
        kind, content, size = _scaled(path)
    except OSError as e:  # not a picture, or cut short
        return f"<p>{text(path.name)} of {text(run)} cannot be read ({text(e.strerror or type(e).__name__)}).</p>"
    alt = f"Test image {path.stem}, its label and the prediction of {run}"
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return (
        f'<figure><img src="{source}" alt="{text(alt)}" width="{size[0]}" height="{size[1]}" loading="lazy">'
        f"<figcaption>{text(of)}, test image {text(path.stem)}<br><code>{text(run)}</code></figcaption></figure>"
    )


def _scaled(path: Path) -> tuple[str, bytes, tuple[int, int]]:
    """The smaller of a PNG and a JPEG of the picture, at most WIDEST wide: kind, file and size [px]."""
    with Image.open(path) as file:
        picture = file.convert("RGB")
    picture.thumbnail((WIDEST, WIDEST))
    kinds = ((kind, _file(picture, kind)) for kind in ("png", "jpeg"))
    return (*min(kinds, key=lambda one: len(one[1])), picture.size)


def _file(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, optimize=True, quality=QUALITY)
    return file.getvalue()
