"""StudyRuns: the finished runs of a study, as its report takes them, and Shown, what a report gives back."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from analysis.plots.studies import Figure
from analysis.records.run_set import RunSet
from analysis.studies.study_table import StudyRun


class StudyRuns(NamedTuple):
    """planned: the study's runs, of multi-stage training the last stages. table: of study_table."""

    name: str
    runs: RunSet
    planned: Sequence[StudyRun]
    table: pd.DataFrame

    @property
    def kind(self) -> str:
        """The name without its data set."""
        return self.name.rsplit(".", 1)[-1]

    @property
    def where(self) -> str:
        """The data sets, and the image size where there is only one."""
        images = self.table["image"].unique()
        return ", ".join(self.table["data"].unique()) + (f", {images[0]} px" if len(images) == 1 else "")

    @property
    def title(self) -> str:
        """Of the study's main table."""
        sizes = "; size: image/patch" if self.table["image"].nunique() > 1 else ""
        return f"{self.name}   ({self.where}{sizes})"


class Shown(NamedTuple):
    """Tables for CSV files, by what follows the study's name in theirs, and the figure."""

    tables: dict[str, pd.DataFrame]
    figure: Figure
