"""run_id and group of every stage of every shipped recipe and of every run of a study: runs of an earlier version are
found by them."""

import json
from pathlib import Path

from tests.golden import adapter

EXPECTED = Path(__file__).with_name("ids.json")
PATCHES = (16, 8, 4, 2, 1)  # px
IMAGES = (64, 128, 224)  # px, for the recipes that take an image size


def taken() -> dict[str, list[list[str]]]:
    """Command -> [run_id, group] a run: every recipe, patch and image size that fit together, and every study."""
    found = {}
    for name in adapter.recipe_names():
        images = [{}, *({"image": image} for image in IMAGES if adapter.takes_image(name))]
        for patch in PATCHES:
            for image in images:
                command = " ".join([name, f"--patch {patch}", *(f"--image {px}" for px in image.values())])
                if flats := adapter.stages(name, patch, **image):
                    found[command] = [list(adapter.identity(flat)) for flat in flats]
    for name in adapter.study_names():
        found[name] = [list(adapter.identity(flat)) for flat in adapter.planned("sweep", [name])]
    return found


def expected() -> dict[str, list[list[str]]]:
    return json.loads(EXPECTED.read_text())
