"""The law that a run is a point of, in words: what is written beside its model."""

from pathlib import Path

from analysis.fitting.model import DEFAULT_FORMS
from analysis.records.groups import own_groups
from analysis.records.run_set import load
from analysis.report.law_table import fit_groups
from analysis.report.law_words import law_sentences


def law_of_run(run: Path) -> str:
    """The law of test loss and patch size of the group of a finished run, fitted to the finished runs in its results
    folder; the reason where there is none."""
    runs = load(run.resolve().parent)
    own = runs.frame["run_id"] == run.resolve().name
    if not own.any():
        return "No law: the run's folder does not have the name of the run."
    groups, refused = own_groups(runs.select(runs.frame["group"] == runs.frame.loc[own, "group"].iloc[0]))
    laws = fit_groups(groups, DEFAULT_FORMS)
    if found := law_sentences(laws):
        return "\n\n".join(found)
    reasons = [*refused.values(), *(of.why for of in laws if of.law is None)]
    return f"No law: {reasons[0] if reasons else 'no run of its group has finished'}."
