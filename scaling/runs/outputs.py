"""What a run can leave beside its record, by its task: known before a run begins, without torch."""

from scaling.errors import ConfigError
from scaling.recipe import Recipe

PICTURED, EXPORTED = (
    ("segment", "detect"),
    ("detect",),
)  # tasks whose predictions can be drawn, or given to COCO's tools


def check_outputs(recipe: Recipe, save_predictions: int, export_coco: bool) -> None:
    """Raise ConfigError where pictures or detections are asked for of a task that has none."""
    if save_predictions and recipe.task not in PICTURED:
        raise ConfigError(
            f"there are no pictures of the predictions of task {recipe.task}; leave out --save-predictions"
        )
    if export_coco and recipe.task not in EXPORTED:
        raise ConfigError(f"task {recipe.task} has no detections to export; leave out --export-coco")
