"""What the studies of one kind each show: tables and sentences on the terminal, tables for files, and a figure. A new
kind of study is a function here and a line in REPORTS. Without torch.
"""

from collections.abc import Callable

import pandas as pd

from analysis.plots.changes import changes_figure
from analysis.plots.effects import effects_figure
from analysis.plots.embeddings import embedding_figure
from analysis.plots.flexivit import flexivit_figure
from analysis.plots.mixed_sizes import mixed_sizes_figure
from analysis.plots.patch_order import order_figure
from analysis.plots.rate_range import rate_range_figure
from analysis.plots.rates import rate_figure
from analysis.plots.studies import study_figure
from analysis.plots.token_drop import drop_figure
from analysis.records.position_text import position_text
from analysis.records.run_frame import EMBEDDING
from analysis.report.output import print_wrapped
from analysis.report.sweep_table import render_part, render_table
from analysis.studies import (
    ablations,
    adaptive,
    changes,
    directions,
    embeddings,
    flexivit,
    learning_rates,
    mixed_sizes,
    order_by_patch,
    patch_order,
    position_changes,
    rate_range,
    stability,
    token_drop,
    training_steps,
    transfer_reports,
)
from analysis.studies.best_rate import FEWEST
from analysis.studies.exponents import printed_slopes
from analysis.studies.learning_rates import rate_studies
from analysis.studies.position_laws import laws_of_positions
from analysis.studies.study_runs import Shown, StudyRuns


def rates(study: StudyRuns) -> Shown | None:
    """Learning rates."""
    columns = ["run_id", "lr", *(["val_loss"] if "val_loss" in study.runs.frame else [])]
    trained = study.table.merge(study.runs.frame[columns], on="run_id")
    studies = rate_studies(trained) if "val_loss" in trained else []
    if not studies:
        print_wrapped(
            f"{study.name}: no patch size has {FEWEST} learning rates with a loss on held-out images (--val-split)"
        )
        return None
    render_table(learning_rates.printed(studies), study.title)
    for sentence in learning_rates.sentences(studies):
        print_wrapped(sentence, indent=2)
    whole = pd.concat([one.table for one in studies], ignore_index=True)
    return Shown({"": whole}, rate_figure(trained, whole, f"Best learning rate by patch size ({study.where})"))


def orders(study: StudyRuns) -> Shown | None:
    """The order of the patch sizes, or the image sizes, of a run."""
    curves = patch_order.order_curves(study.runs.frame, study.planned)
    if curves.empty:
        print_wrapped(f"{study.name}: no run has a curve")
        return None
    found = patch_order.comparisons(curves)
    images = patch_order.comparisons(curves, patch_order.IMAGES)
    by_patch = order_by_patch.losses_by_patch(study.runs.frame, study.planned)
    against = directions.directions(by_patch)
    changed = changes.changes(study.runs.frame, study.planned)
    steps = training_steps.training_steps(study.runs.frame, study.planned)
    for backbone, its in curves.groupby("backbone", sort=False):
        title = f"{study.name}   ({backbone}, {study.where}; at the smallest patch)"
        render_table(patch_order.printed(its), title)
        for table in (found, images):
            render_part(table, backbone, patch_order.compared)
        every = order_by_patch.printed_by_patch(by_patch[by_patch["backbone"] == backbone])
        render_table(every, f"{backbone}: test loss at every patch size")
        render_part(against, backbone, directions.printed_directions, f"{backbone}: direction, margin 0.02 nats")
        render_part(changed, backbone, changes.printed_changes, f"{backbone}: changes of shape")
        render_part(steps, backbone, training_steps.printed_training_steps, f"{backbone}: steps")
    for sentence in (*patch_order.sentences(found), *patch_order.sentences(images)):
        print_wrapped(sentence, indent=2)
    drawn = order_figure(curves, f"Order of patch sizes: test loss at the smallest ({study.where})")
    tables = {"_equal_images": images, "_directions": against, "_changes": changed, "_steps": steps}
    first = {"": curves, "_compared": found, "_by_patch": by_patch}
    return Shown({**first, **{name: one for name, one in tables.items() if len(one)}}, drawn)


def embedded(study: StudyRuns) -> Shown:
    """Patch embeddings, or their initial weights."""
    table = embeddings.embedding_table(study.runs.frame, study.planned)
    found, by_slope = embeddings.comparisons(table), embeddings.by_embedding(table)
    for backbone, its in table.groupby("backbone", sort=False):
        title = f"{backbone}, {study.where}"
        render_table(embeddings.printed_costs(its), f"{title}: cost")
        render_table(embeddings.printed_losses(its), f"{title}: test loss")
        if len(alphas := by_slope[by_slope["backbone"] == backbone]):
            shown = printed_slopes(alphas, EMBEDDING, embeddings.PLAIN, embeddings.short_name)
            render_table(shown, f"{title}: exponent")
    for sentence in embeddings.sentences(found, by_slope):
        print_wrapped(sentence, indent=2)
    drawn = embedding_figure(table, by_slope, f"Patch embeddings: laws and cost ({study.where})")
    return Shown({"": table, "_compared": found, "_alpha": by_slope}, drawn)


def quadtrees(study: StudyRuns) -> Shown:
    """Adaptive and uniform patches."""
    table = adaptive.adaptive_table(study.runs.frame, study.planned)
    found = adaptive.comparisons(table)
    for backbone, its in table.groupby("backbone", sort=False):
        render_table(adaptive.printed(its), f"{study.name}   ({backbone}, {study.where})")
        render_part(found, backbone, adaptive.compared)
    for sentence in adaptive.sentences(found):
        print_wrapped(sentence, indent=2)
    title = f"Adaptive and uniform patches ({study.where})"
    drawn = study_figure(adaptive.drawn(table), "tokens of an image, log scale", title)
    return Shown({"": table, "_compared": found}, drawn)


def flexible(study: StudyRuns) -> Shown:
    """Flexible and fixed models."""
    found = flexivit.losses(study.runs, study.planned)
    compared = flexivit.compared(found)
    for backbone, its in found.groupby("backbone", sort=False):
        title = f"{study.name}   ({backbone}, {study.where})"
        if len(compared):
            render_table(flexivit.printed_comparison(compared[compared["backbone"] == backbone]), title)
        render_table(flexivit.printed_elsewhere(its), f"{title}, at all patch sizes")
    for sentence in flexivit.sentences(found):
        print_wrapped(sentence, indent=2)
    drawn = flexivit_figure(*flexivit.drawn(found), f"Flexible and fixed models at all patch sizes ({study.where})")
    return Shown({"": found, "_compared": compared}, drawn)


def drops(study: StudyRuns) -> Shown | None:
    """Dropped tokens."""
    found, along = token_drop.drop_runs(study.runs.frame, study.planned)
    if found.empty:
        print_wrapped(f"{study.name}: no run has a curve")
        return None
    compared = token_drop.comparisons(found)
    for (backbone, sizes), its in found.groupby(["backbone", "sizes"], sort=False):
        render_table(token_drop.printed(its), f"{study.name}   ({backbone}, {study.where}, trained at {sizes} px)")
        against = compared[(compared["backbone"] == backbone) & (compared["sizes"] == sizes)]
        if len(against):
            render_table(token_drop.compared(against))
    drawn = drop_figure(found, along, f"Training on a part of the tokens ({study.where})")
    return Shown({"": found, "_along": along, "_compared": compared}, drawn)


def stable(study: StudyRuns) -> Shown | None:
    """Clipping, warm-up and norms, with fixed and with drawn patch sizes."""
    found = stability.stability_runs(study.runs.frame, study.planned)
    if found.empty:
        print_wrapped(f"{study.name}: no run has a curve")
        return None
    compared = stability.effects(found)
    base = ", ".join(f"{name} {value}" for name, value in stability.BASE.items())
    for backbone, its in found.groupby("backbone", sort=False):
        for patches, ours in its.groupby("patches", sort=False):
            render_table(stability.printed(ours), f"{study.name}   ({backbone}, {study.where}; steps of {patches})")
            render_table(stability.printed_steps(ours))
        render_part(compared, backbone, stability.compared, f"{backbone}: effects, against {base}")
    drawn = effects_figure(compared, f"Settings of training and the patch size ({study.where})")
    return Shown({"": found, "_effects": compared}, drawn)


def good_rates(study: StudyRuns) -> Shown:
    """Learning rates that are good with a fixed patch size and with drawn ones."""
    found = rate_range.rate_runs(study.runs.frame, study.planned)
    compared = rate_range.ranges(found)
    for backbone, its in found.groupby("backbone", sort=False):
        render_table(rate_range.printed(its), f"{study.name}   ({backbone}, {study.where})")
        render_part(compared, backbone, rate_range.printed_ranges, f"{backbone}: within {rate_range.MARGIN} nats")
    for sentence in rate_range.sentences(compared):
        print_wrapped(sentence, indent=2)
    drawn = rate_range_figure(found, f"Learning rates with fixed and drawn patch sizes ({study.where})")
    return Shown({"": found, "_ranges": compared}, drawn)


def changed_positions(study: StudyRuns) -> Shown | None:
    """A change of the patch size with encodings whose positions it changes and leaves."""
    found = changes.changes(study.runs.frame, study.planned, position_text)
    if found.empty:
        print_wrapped(f"{study.name}: no run has a loss before and after its change (too few images for a probe)")
        return None
    compared = position_changes.comparisons(found)
    for backbone, its in found.groupby("backbone", sort=False):
        render_table(changes.printed_changes(its), f"{study.name}   ({backbone}, {study.where})")
        render_part(compared, backbone, position_changes.compared, f"{backbone}: against no positions")
    drawn = changes_figure(found, f"A change of the patch size by position encoding ({study.where})")
    return Shown({"": found, "_compared": compared}, drawn)


def sizes(study: StudyRuns) -> Shown:
    """Mixed image sizes."""
    found = mixed_sizes.losses(study.runs, study.planned, mixed_sizes.sizes_of)
    compared = mixed_sizes.comparisons(found)
    for backbone, its in found.groupby("backbone", sort=False):
        title = f"{study.name}   ({backbone}, {study.where}; test loss by size of test images)"
        render_table(mixed_sizes.printed(its), title)
        render_part(compared, backbone, mixed_sizes.compared)
    drawn = mixed_sizes_figure(found, f"Mixed and fixed sizes of training images ({study.where})")
    return Shown({"": found, "_compared": compared}, drawn)


def encodings(study: StudyRuns) -> Shown:
    """Position encodings at sizes of images that training has not had."""
    found = mixed_sizes.losses(study.runs, study.planned, position_text)
    for backbone, its in found.groupby("backbone", sort=False):
        title = f"{study.name}   ({backbone}, {study.where}; test loss by size of test images)"
        render_table(mixed_sizes.printed(its, "positions").drop(columns=["images", "FLOPs"]), title)
    drawn = mixed_sizes_figure(found, f"Position encodings by size of test images ({study.where})", "positions")
    return Shown({"": found.rename(columns={"trained": "positions"})}, drawn)


REPORTS: dict[str, Callable[[StudyRuns], Shown | None]] = {  # by the last part of a study's name
    "learning_rate": rates,
    "curricula": orders,
    "growing_crops": orders,
    "embeddings": embedded,
    "embed_init": embedded,
    "adaptive": quadtrees,
    "flexivit": flexible,
    "transfer": transfer_reports.moved,
    "patch_transfer": transfer_reports.finetuned,
    "position_laws": laws_of_positions,
    "token_drop": drops,
    "stability": stable,
    "rate_range": good_rates,
    "position_changes": changed_positions,
    "navit": sizes,
    "positions": encodings,
    **dict.fromkeys(ablations.KINDS, ablations.shown),
    "figure2": ablations.decoder_gain,
}
