"""Content: what the report page is made of: the runs of one results folder, their laws, the checklist of the laws, and
the state of runs that did not finish."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from analysis.fitting.axes import AXES
from analysis.fitting.model import DEFAULT_FORMS
from analysis.page.choices import OwnChoices
from analysis.records.group_labels import labels
from analysis.records.groups import Group
from analysis.records.run_set import RunSet
from analysis.report.budget_section import budget_section
from analysis.report.checklist import checklist
from analysis.report.law_report import law_input
from analysis.report.law_table import GroupLaw, fit_groups


class NotFinished(NamedTuple):
    """The state of a run that did not finish."""

    state: str  # running, queued, stopped, failed, to do
    text: str = ""  # one line
    log: Sequence[str] = ()  # the last lines of its log


@dataclass(frozen=True, eq=False)
class Content:
    """The content of one page. groups: of runs that finished, also those with too few patch sizes for a law; laws: of
    law_table.fit_groups; refused: name of a group -> why its runs are not fitted together; checklist: in Markdown, ""
    where nothing finished; others: by the name of the folder; choices: of the decision helper."""

    results: str  # name of the results folder
    runs: RunSet
    groups: Sequence[Group]
    laws: Sequence[GroupLaw]
    refused: Mapping[str, str]
    checklist: str
    others: Mapping[str, NotFinished]
    choices: Sequence[OwnChoices] = ()

    @cached_property
    def recipes(self) -> dict[str, str]:
        """A name for every group of runs that ended: group -> name; of groups that finished the name of their laws."""
        return labels(self.runs.frame) | self.runs.labels()


def content_of(
    results: str,
    runs: RunSet,
    others: Mapping[str, NotFinished],
    forms: Sequence[str] = DEFAULT_FORMS,
    known_checklist: str = "",
) -> Content:
    """The content of the page of a results folder. known_checklist: the text of report.md where it was just written for
    the same runs: its bootstraps take most of the time of a page."""
    if runs.finished.empty:
        return Content(results, runs, [], [], {}, "", others)
    inputs = law_input(runs)
    laws = fit_groups(inputs.own, forms, list(AXES))
    text = known_checklist or "\n".join([checklist(laws), *budget_section(runs, laws)])
    return Content(results, runs, inputs.own, laws, inputs.refused, text, others)
