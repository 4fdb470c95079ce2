"""The file analysis/page/decisions.json: what the decision helper of the report page has of the published laws."""

import json

from analysis.claims.applications import applications
from analysis.page.choices import COLUMNS
from analysis.planning.object_size import NEEDED
from experiments.planning.choice import ALIKE, FACTORS
from experiments.planning.decision_rows import published_rows
from scaling.costs import CARDS

IMAGES = {"classify": (64, 128, 224), "segment": (256, 512, 1024), "detect": (512, 800, 1024)}  # sides [px]


def decisions_json() -> str:
    """The file's text. rows: by task and side of the original image."""
    data = {
        "needed": NEEDED,
        "factors": FACTORS,
        "alike": ALIKE,
        "cards": [[name, card.bf16, card.traffic, card.memory] for name, card in CARDS.items()],
        "prior": [[row.name, list(row.patches), row.lines] for row in applications().values()],
        "columns": COLUMNS,
        "rows": {task: {str(image): published_rows(task, image) for image in IMAGES[task]} for task in IMAGES},
    }
    lines = json.dumps(data, allow_nan=False).replace("[[", "[\n[").replace("], [", "],\n[")
    return f"{lines}\n"
