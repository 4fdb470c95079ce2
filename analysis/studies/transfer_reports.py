"""What the studies of transfer show: tables and sentences on the terminal, tables for files, and a figure."""

from analysis.plots.finetuning import finetuning_figure
from analysis.plots.transfer import transfer_figure
from analysis.report.output import print_wrapped
from analysis.report.sweep_table import render_part, render_table
from analysis.studies import finetuning, transfer
from analysis.studies.study_runs import Shown, StudyRuns


def moved(study: StudyRuns) -> Shown | None:
    """Models that were brought to other grids."""
    found = transfer.transfers(study.runs, study.planned)
    if found.empty:
        print_wrapped(f"{study.name}: no run at another grid has finished")
        return None
    against = transfer.comparisons(found)
    for backbone, its in found.groupby("backbone", sort=False):
        render_table(
            transfer.printed(its), f"{study.name}   ({backbone}, {study.where}; test loss [nats], after steps)"
        )
        title = f"{backbone}: test loss less that of the model trained there [nats]"
        render_part(against, backbone, transfer.printed_changes, title)
    for sentence in transfer.sentences(found, against):
        print_wrapped(sentence, indent=2)
    drawn = transfer_figure(found, transfer.DIRECT, f"Models at other grids than trained at ({study.where})")
    return Shown({"": found, "_compared": against}, drawn)


def finetuned(study: StudyRuns) -> Shown | None:
    """Models that were brought to another patch size and finetuned."""
    found = transfer.transfers(study.runs, study.planned)
    if found.empty:
        print_wrapped(f"{study.name}: no run at another patch size has finished")
        return None
    by_gap = finetuning.gaps(found)
    against = finetuning.comparisons(found, by_gap)
    for (backbone, patch), its in found.groupby(["backbone", "patch"], sort=False):
        own = by_gap[(by_gap["backbone"] == backbone) & (by_gap["patch"] == patch)]
        title = f"{backbone}, {study.where} at {patch} px: test loss [nats] after steps"
        render_table(finetuning.printed(its, own), title)
    for sentence in finetuning.sentences(against):
        print_wrapped(sentence, indent=2)
    drawn = finetuning_figure(found, transfer.DIRECT, f"Finetuning at another patch size ({study.where})")
    return Shown({"": found, "_gaps": by_gap, "_compared": against}, drawn)
