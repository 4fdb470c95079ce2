"""Optional outputs of a run, by its task: checked before a run begins, without torch."""

from scaling.config.experiment import ExperimentConfig
from scaling.errors import ConfigError

PICTURED = ("segment", "detect")  # tasks whose predictions can be drawn
EXPORTED = ("detect",)  # tasks whose predictions can be written as COCO results


def check_outputs(config: ExperimentConfig, save_predictions: int, export_coco: bool) -> None:
    """Raise ConfigError where an output is asked for that the task does not have. save_predictions: images [1]."""
    if save_predictions and config.task.kind not in PICTURED:
        raise ConfigError(f"task {config.task.kind} has no pictures of predictions; leave out --save-predictions")
    if export_coco and config.task.kind not in EXPORTED:
        raise ConfigError(f"task {config.task.kind} has no detections to export; leave out --export-coco")
