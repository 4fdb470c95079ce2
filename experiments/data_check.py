"""What the names and the number of files say against a run is said at once: before torch is loaded or an image read."""

from collections.abc import Iterable
from pathlib import Path

from scaling.identity import folder_of
from scaling.recipe import Recipe
from scaling.record import RECORD


def check_data(runs: Iterable[Recipe], results: Path) -> None:
    """Raise BadInput for the first run without a record whose data cannot be as its recipe has them. Data whose content
    is known (scaling.identity.settled) have been counted for that."""
    for run in runs:
        if run.data_digest or (folder_of(run, results) / RECORD).is_file():
            continue
        if run.data != "shapes" and not run.data.startswith("hfds/"):
            from scaling.data.used_files import check_counts

            check_counts(run)
        elif run.train_images:
            from scaling.data.order import steps_per_epoch

            steps_per_epoch(run.train_images, run.batch)
