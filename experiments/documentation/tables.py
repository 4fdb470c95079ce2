"""The tables of README.md and docs/, from data (experiments/documentation/data.py). A function returns the lines of one
block; TABLES has all functions by the names of their blocks."""

import functools
import math
from collections.abc import Callable, Sequence

import pandas as pd

from analysis.planning.throughput_model import image_seconds, residuals
from analysis.records.patch_tests import patch_tests
from analysis.studies.cell_text import spread
from experiments.documentation import (
    budget_tables,
    cifar10_full,
    crops,
    embedding_tables,
    flexivit,
    law_tables,
    mixed_sizes,
    patch_embedding_tables,
    patch_order,
    position_tables,
    recommendation,
    representation_tables,
    shape_ablations,
    stability,
    starts_and_teachers,
)
from experiments.documentation.data import cifar10_means, cifar10_runs, fenced, numbers, raw, shapes, table
from experiments.planning.plan_report import number, residual_lines
from experiments.recipes import cifar10
from scaling.costs.hardware import CORE_TRAFFIC, CPU, SIMD, Card

# One core of the machine of docs/results (2.5 GHz, AVX-512), whatever machine writes the pages.
CORE = Card(CPU, ("Intel(R) Xeon(R)",), 2.5e9 * SIMD["avx512f"], 2.5e9 * SIMD["avx512f"], CORE_TRAFFIC, 24 * 2**30, 2)
BACKBONES = ("deit_nano", "adventurer_nano")
RAW = (  # tables that are files of analysis/measured, cell for cell
    "cifar10 step_memory table6_here overhead against_released mixer mixer_by_length long_image cifar10_mixer "
    "cifar10_stages table5_shapes speed_options camvid seg_shapes det_shapes det_step nuclei position_encoding "
    "instruction_sets coverage_images flexible_shapes flexible_seg_shapes flexible_det_shapes test_losses "
    "patch_steps position_steps padding packed_steps packing_overhead cifar10_rates instruments "
    "sharpness_shapes"
)


def means_by_patch(means: pd.DataFrame, backbones: Sequence[str] = BACKBONES) -> list[str]:
    """One row per backbone: mean ± standard deviation of the test loss [nats] at every patch size."""
    patches = sorted(means["patch"].unique(), reverse=True)
    alone = [patch for patch in patches if (means.loc[means["patch"] == patch, "seeds"] == 1).all()]
    head = ["backbone", *(f"{patch} px" + ", one seed" * (patch in alone) for patch in patches)]
    ordered = zip(means["mean"], means["sd"], means["seeds"], strict=True)
    cells = [f"{mean:.3f}" + (f" ± {sd:.3f}" if seeds > 1 else "") for mean, sd, seeds in ordered]
    at = dict(zip(zip(means["backbone"], means["patch"], strict=True), cells, strict=True))
    return table(head, [[name, *(at.get((name, patch), "-") for patch in patches)] for name in backbones])


def tested(runs: pd.DataFrame) -> list[str]:
    """Test of every halving of the patch size, with Holm's correction for the tests of a backbone."""
    rows = []
    for _, its in sorted(runs.groupby("group", sort=False), key=lambda one: one[1]["backbone"].iloc[0], reverse=True):
        for step in patch_tests(its.rename(columns={"test_loss": "y"})).to_dict("records"):
            change, low, high = (f"{100 * step[name]:+.1f}" for name in ("change", "low", "high"))
            interval = f"[{low}, {high}]" if math.isfinite(step["low"]) else "-"
            cells = [f"{step['coarse']:g} to {step['fine']:g}", change, interval, _p(step["p"]), _p(step["p_holm"])]
            rows.append([its["backbone"].iloc[0], *cells, step["test"], step["verdict"]])
    head = ["backbone", "patch [px]", "change [%]", "95 % interval", "p", "p, Holm", "test", "by Holm"]
    return table(head, rows, left=(0, 6, 7))


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def shapes_short() -> list[str]:
    """README.md: test loss and FLOPs of both backbones, means over seeds, one row per patch size."""
    runs = shapes()
    rows = []
    for patch, of_patch in sorted(runs.groupby("patch"), reverse=True):
        cells = [str(patch), f"{of_patch['tokens'].iloc[0]:.0f}"]
        for backbone in BACKBONES:
            its = of_patch[of_patch["backbone"] == backbone]
            flops, top1 = its["flops_per_image"].mean() / 1e6, its["top1"].mean()
            cells += [f"{flops:.2f}", spread(its["test_loss"], 3), f"{top1:.1f}"]
        rows.append(cells)
    columns = ("FLOPs [M]", "test loss [nats]", "top-1 [%]")
    names = [f"{name} {column}" for name in ("DeiT", "Adventurer") for column in columns]
    return table(["patch [px]", "tokens", *names], rows, left=())


def shapes_table() -> list[str]:
    """Cost and result of every patch size and backbone, means over seeds."""
    runs = shapes()
    rows = []
    for backbone in BACKBONES:
        for patch, its in sorted(runs[runs["backbone"] == backbone].groupby("patch"), reverse=True):
            mean = its.mean(numeric_only=True)
            rows.append(
                [
                    backbone,
                    str(patch),
                    f"{mean['tokens']:.0f}",
                    f"{mean['parameters'] / 1e3:.1f}",
                    f"{mean['flops_per_image'] / 1e6:.2f}",
                    spread(its["test_loss"], 3),
                    f"{mean['top1']:.1f}",
                    f"{mean['images_per_second']:,.0f}",
                    f"{mean['peak_memory'] / 1e6:.0f}",
                    f"{mean['wall_time']:.0f}",
                ]
            )
    head = ["backbone", "patch [px]", "tokens", "parameters [k]", "FLOPs/image [M]", "test loss [nats]", "top-1 [%]"]
    return table([*head, "images/s", "peak memory [MB]", "wall time [s]"], rows)


def thread_settings() -> list[str]:
    """Test loss on shapes with one and two CPU threads a run, and the largest difference of a seed between them."""
    losses = numbers("thread_settings").pivot_table(index=["backbone", "patch", "seed"], columns="threads")["test_loss"]
    rows = []
    for backbone in BACKBONES:
        for patch in sorted(losses.loc[backbone].index.unique("patch"), reverse=True):
            its = losses.loc[backbone, patch]
            shares = its.std() / its.mean()
            cells = [f"{spread(its[n], 3)} ({100 * shares[n]:.1f} %)" for n in its.columns]
            rows.append([backbone, str(patch), *cells, f"{(its[1] - its[2]).abs().max():.3f}"])
    return table(["backbone", "patch [px]", "one thread", "two threads", "largest difference of a seed"], rows)


def cifar10_plan() -> list[str]:
    """Images/s as measured, and as predicted by the cost model of one core, which was fitted to the runs on shapes."""
    rows = []
    for row in numbers("cifar10").to_dict("records"):
        recipe = getattr(cifar10, row["backbone"])(int(row["patch [px]"]))
        predicted = 1 / image_seconds(recipe, CORE, recipe.optim.global_batch_size)
        measured = row["images/s"]
        error = f"{100 * (predicted / measured - 1):+.0f} %"
        rows.append([row["backbone"], f"{row['patch [px]']}", f"{measured:,.0f}", f"{predicted:,.0f}", error])
    return table(["backbone", "patch [px]", "measured", "predicted", "error"], rows)


def table6() -> list[str]:
    found = residuals()
    columns = {"DeiT-Base": "DeiT-Base [h]", "Adventurer-Base": "Adventurer-Base [h]", "ViT": "ViT [MiB]"}
    rows = []
    for patch in sorted({one.patch for one in found}, reverse=True):
        cells = [str(patch)]
        for model in columns:
            (one,) = [o for o in found if (o.patch, o.model) == (patch, model)]
            cells += [f"{one.published:,g}", f"{number(one.predicted)} ({100 * one.miss:+.1f} %)"]
        rows.append(cells)
    head = ["patch [px]", *(word for name in columns.values() for word in (name, "predicted"))]
    return table(head, rows, left=())


def table6_excerpt() -> list[str]:
    """docs/costs.md: the first and last patch size of the table that a plan prints."""
    head, names, rule, *rows = residual_lines()
    kept = [row for row in rows if row.split()[:1] in (["16"], ["1"])]
    return fenced([head, names, rule, *kept])


def micro_batches() -> list[str]:
    """Test loss by seed, threads and micro-batch, with the standard deviation over seeds and over the others."""
    runs = numbers("micro_batches").pivot_table(
        index="seed", columns=["threads", "micro_batch"], values="test_loss", sort=False
    )
    rows = [[str(seed), *(f"{loss:.3f}" for loss in row), f"{row.std():.3f}"] for seed, row in runs.iterrows()]
    rows.append(["standard deviation of seeds", *(f"{of_seeds:.3f}" for of_seeds in runs.std()), ""])
    threads, sizes = (runs.columns.get_level_values(level) for level in range(2))
    splits = [f"{n} thread{'s' * (n > 1)}, {size}" for n, size in zip(threads, sizes, strict=True)]
    return table(["seed", *splits, "standard deviation of the four"], rows)


def crossing() -> list[str]:
    steps_s = numbers("crossing").pivot_table(index="tokens", columns="backbone", values="seconds_per_image")
    rows = []
    for tokens, row in steps_s.iterrows():
        deit, adventurer = row["deit_tiny"], row["adventurer_tiny"]
        rows.append([f"{tokens:,}", f"{deit:.3f}", f"{adventurer:.3f}", f"{deit / adventurer:.2f}"])
    return table(["tokens", "deit_tiny", "adventurer_tiny", "DeiT over Adventurer"], rows, left=())


TABLES: dict[str, Callable[[], list[str]]] = {
    **{name.replace("_", "-"): functools.partial(raw, name) for name in RAW.split()},
    "shapes-short": shapes_short,
    "shapes-table": shapes_table,
    "steps-shapes": lambda: tested(shapes()),
    "thread-settings": thread_settings,
    "laws-shapes": law_tables.laws_shapes,
    "cifar10-seeds": lambda: means_by_patch(cifar10_means()),
    "laws-cifar10": law_tables.laws_cifar10,
    "steps-cifar10": lambda: tested(cifar10_runs()),
    "cifar10-full": lambda: means_by_patch(cifar10_full.means()),
    "laws-cifar10-full": cifar10_full.laws,
    "steps-cifar10-full": lambda: tested(cifar10_full.runs()),
    "shares-cifar10-full": cifar10_full.shares,
    "cifar10-plan": cifar10_plan,
    "laws-published": lambda: fenced(law_tables.published_laws()),
    "laws-excerpt": law_tables.laws_excerpt,
    "held-out": law_tables.held_out,
    "number-errors": law_tables.number_errors,
    "joint": law_tables.joint,
    "coverage": law_tables.coverage,
    "measured-best": budget_tables.measured_best,
    "measured-steps": budget_tables.measured_steps,
    "surface-forms": budget_tables.surface_forms,
    "budget": budget_tables.picks,
    "released": budget_tables.released_models,
    "recommend": recommendation.answer,
    "table6": table6,
    "table6-excerpt": table6_excerpt,
    "crossing": crossing,
    "similar-thirds": representation_tables.similar_thirds,
    "similar-finding": representation_tables.similar_finding,
    "micro-batches": micro_batches,
    "flexivit-elsewhere": flexivit.elsewhere,
    "flexivit-ways": flexivit.by_way,
    "flexible-cifar10": lambda: flexivit.against_own("cifar10"),
    "flexivit-elsewhere-cifar10": lambda: flexivit.elsewhere("cifar10"),
    "flexivit-ways-cifar10": lambda: flexivit.by_way("cifar10"),
    "figure3-shapes": shape_ablations.larger_or_finer,
    "figure3-shapes-flops": shape_ablations.at_equal_flops,
    "figure4-shapes": shape_ablations.by_image_size,
    "images-by-patch-shapes": shape_ablations.by_training_images,
    "rates-shapes": shape_ablations.rates,
    "distillation-shapes": starts_and_teachers.distillation,
    "coarse-tuning": starts_and_teachers.coarse_tuning,
    "navit-shapes": lambda: mixed_sizes.losses("shapes"),
    "navit-cifar10": lambda: mixed_sizes.losses("cifar10"),
    "navit-cifar10-compared": lambda: mixed_sizes.losses_compared("cifar10"),
    "positions-shapes": lambda: mixed_sizes.positions("shapes"),
    "positions-cifar10": lambda: mixed_sizes.positions("cifar10"),
    "rectangles": mixed_sizes.rectangles,
    "token-drop-shapes": mixed_sizes.dropped,
    "token-drop-compared": mixed_sizes.dropped_compared,
    "stability-effects": stability.effects,
    "stability-steps": stability.steps,
    "rate-range": stability.rates,
    "batch-norm": stability.batch_norm,
    "norm-steps": stability.norm_steps,
    "sharpness-drawn": stability.sharpness_of_drawn,
    "patch-order": patch_order.ends,
    "patch-order-compared": patch_order.compared,
    "gradients-shapes": stability.gradients,
    "gradient-steps": stability.gradient_steps,
    "orders-cifar10": lambda: patch_order.by_patch("cifar10"),
    "orders-shapes": lambda: patch_order.by_patch("shapes"),
    "orders-directions": patch_order.small_and_large_first,
    "shape-changes": patch_order.at_changes,
    "position-changes": patch_order.of_positions,
    "position-changes-compared": patch_order.against_no_positions,
    "growing-crops": crops.ends,
    "class-shares": crops.shares,
    "token-scales": embedding_tables.token_scales,
    "embedding-costs": embedding_tables.embedding_costs,
    "patch-transfer": lambda: position_tables.finetuned("shapes"),
    "patch-transfer-compared": lambda: position_tables.finetuned_compared("shapes"),
    "patch-transfer-cifar10": lambda: position_tables.finetuned("cifar10"),
    "patch-transfer-compared-cifar10": lambda: position_tables.finetuned_compared("cifar10"),
    "position-laws-losses": lambda: position_tables.losses("shapes"),
    "position-laws-exponents": lambda: position_tables.exponents("shapes"),
    "position-laws-losses-cifar10": lambda: position_tables.losses("cifar10"),
    "position-laws-compared-cifar10": lambda: position_tables.compared("cifar10"),
    "position-laws-exponents-cifar10": lambda: position_tables.exponents("cifar10"),
    "transfer-losses": lambda: position_tables.moved("shapes"),
    "transfer-at-once": lambda: position_tables.moved_compared("shapes", 0),
    "transfer-finetuned": lambda: position_tables.moved_compared("shapes", 100),
    "transfer-losses-cifar10": lambda: position_tables.moved("cifar10"),
    "transfer-at-once-cifar10": lambda: position_tables.moved_compared("cifar10", 0),
    "transfer-finetuned-cifar10": lambda: position_tables.moved_compared("cifar10", 100),
    "embeddings-losses": lambda: patch_embedding_tables.losses("embeddings_shapes"),
    "embeddings-compared": lambda: patch_embedding_tables.differences("embeddings_shapes"),
    "embeddings-losses-cifar10": lambda: patch_embedding_tables.losses("embeddings_cifar10"),
    "embeddings-compared-cifar10": lambda: patch_embedding_tables.differences("embeddings_cifar10"),
    "embeddings-filters": patch_embedding_tables.ranks,
    "adaptive-losses": lambda: patch_embedding_tables.trees("shapes"),
    "adaptive-compared": lambda: patch_embedding_tables.trees_compared("shapes"),
    "adaptive-losses-cifar10": lambda: patch_embedding_tables.trees("cifar10"),
    "adaptive-compared-cifar10": lambda: patch_embedding_tables.trees_compared("cifar10"),
    "embed-init-losses": lambda: patch_embedding_tables.losses("embed_init_shapes"),
    "embed-init-compared": lambda: patch_embedding_tables.differences("embed_init_shapes"),
}
