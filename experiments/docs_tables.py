"""The tables of README.md and docs/results.md, made from data: notebooks/records, analysis/measured and
analysis/published. Each function gives the lines of one block; TABLES has them by the block's name."""

import csv
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from analysis import measured_frontier, surface_evidence
from analysis.cost_model import image_seconds, residuals
from analysis.groups import Group, own_groups, published_groups
from analysis.joint import fit_joint, joint_lines
from analysis.law_table import fit_groups
from analysis.law_table import lines as law_lines
from analysis.laws import fit
from analysis.optimal import best, configurations, published_surface
from analysis.runs import load
from analysis.seeds import steps
from analysis.summaries import as_points, summary
from experiments import budget, cifar10
from experiments.plan_text import number, residual_lines
from scaling.costs_cards import CORE_TRAFFIC, CPU, SIMD, Card

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "analysis" / "measured"
RECORDS = ROOT / "notebooks" / "records"
# One core of the machine of docs/results.md: 2.5 GHz with AVX-512. That of the machine that makes the docs is another.
CORE = Card(CPU, ("Intel(R) Xeon(R)",), 2.5e9 * SIMD["avx512f"], 2.5e9 * SIMD["avx512f"], CORE_TRAFFIC, 24 * 2**30, 2)
LAWS = ("power", "shifted")
BUDGETS = (1e19, 1e20, 1e21, 1e22)  # FLOPs
EXCERPT = ("c Adventurer-B 224", "d segments ade20k")  # that the README shows
RAW = (  # tables that are files of analysis/measured, cell by cell
    "sweep_shapes cifar10 step_memory table6_here tax against_released mixer mixer_by_length long_image cifar10_mixer "
    "cifar10_stages table5_shapes equal_flops_shapes switches camvid seg_shapes det_shapes det_step nuclei sines "
    "instruction_sets"
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """A Markdown table; columns to the right but for those in left."""
    rule = ["---" if column in left else "---:" for column in range(len(head))]
    return [f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in (head, rule, *rows)]


def raw(name: str) -> list[str]:
    """A file of analysis/measured as it is."""
    with (MEASURED / f"{name}.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    words = [k for k in range(len(head)) if any(row[k] and not row[k].strip("*-+")[:1].isdigit() for row in rows)]
    return table(head, rows, left=words or [0])


def numbers(name: str) -> pd.DataFrame:
    """A file of analysis/measured with its numbers as numbers."""
    return pd.read_csv(MEASURED / f"{name}.csv", thousands=",")


@functools.cache
def shapes() -> pd.DataFrame:
    """The 30 runs of notebooks/records."""
    return load(RECORDS)


@functools.cache
def cifar10_means() -> pd.DataFrame:
    return numbers("cifar10_seeds")


def cifar10_runs() -> pd.DataFrame:
    """CIFAR-10's means as the frame of runs that a figure and a test take."""
    points = as_points(cifar10_means())
    return points.assign(
        group="classify-cifar10-" + points["backbone"], status="finished", task="classify", data="cifar10", image=32
    )


def three_seeds(means: pd.DataFrame, backbones: Sequence[str] = ("deit_nano", "adventurer_nano")) -> list[str]:
    """A row a backbone, mean ± standard deviation."""
    patches = sorted(means["patch"].unique(), reverse=True)
    at = means.set_index(["backbone", "patch"])
    alone = [patch for patch in patches if (means.loc[means["patch"] == patch, "seeds"] == 1).all()]
    head = ["backbone", *(f"{patch} px" + ", one seed" * (patch in alone) for patch in patches)]
    rows = []
    for backbone in backbones:
        cells = [at.loc[(backbone, patch)] for patch in patches]
        rows.append([backbone, *(f"{c['mean']:.3f}" + (f" ± {c['sd']:.3f}" if c["seeds"] > 1 else "") for c in cells)])
    return table(head, rows)


def tested(runs: pd.DataFrame) -> list[str]:
    """Each halving of the patch, tested, with what several tests cost."""
    rows = []
    for _, its in sorted(runs.groupby("group", sort=False), key=lambda one: one[1]["backbone"].iloc[0], reverse=True):
        for step in steps(its).to_dict("records"):
            holm, p = (step[name] for name in ("p_holm", "p"))
            verdict = step["verdict"] if holm < 0.05 else "undecided"
            interval = f"[{step['low']:+.3f}, {step['high']:+.3f}]" if math.isfinite(step["low"]) else "-"
            cells = [f"{step['coarse']} to {step['fine']}", f"{step['difference']:+.3f}", interval]
            rows.append([its["backbone"].iloc[0], *cells, _p(p), _p(holm), step["test"], verdict])
    head = ["backbone", "patch [px]", "change [nats]", "95 % interval", "p", "p, Holm", "test", "by Holm"]
    return table(head, rows, left=(0, 6, 7))


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def shapes_table() -> list[str]:
    """The README's: what each patch size cost and gave, means over seeds."""
    runs = shapes()
    rows = []
    for backbone in ("deit_nano", "adventurer_nano"):
        for patch, its in sorted(runs[runs["backbone"] == backbone].groupby("patch"), reverse=True):
            mean = its.mean(numeric_only=True)
            rows.append(
                [
                    backbone,
                    str(patch),
                    f"{mean['tokens']:.0f}",
                    f"{mean['parameters'] / 1e3:.1f}",
                    f"{mean['flops_per_image'] / 1e6:.2f}",
                    f"{mean['test_loss']:.3f} ± {its['test_loss'].std():.3f}",
                    f"{mean['top1']:.1f}",
                    f"{mean['images_per_second']:,.0f}",
                    f"{mean['peak_memory'] / 1e6:.0f}",
                    f"{mean['wall_time']:.0f}",
                ]
            )
    head = ["backbone", "patch [px]", "tokens", "parameters [k]", "FLOPs/image [M]", "test loss [nats]", "top-1 [%]"]
    return table([*head, "images/s", "peak memory [MB]", "wall time [s]"], rows)


def seed_study() -> list[str]:
    study = numbers("seeds")
    seeds = sorted(study["seed"].unique())
    rows = []
    for (backbone, patch), its in study.groupby(["backbone", "patch"], sort=False):
        losses = its.set_index("seed")["test_loss"]
        told = [f"{losses[seed]:.4f}" for seed in seeds]
        rows.append([str(backbone), str(patch), *told, f"{losses.mean():.4f}", f"{losses.std():.4f}"])
    return table(["backbone", "patch [px]", *(f"seed {s}" for s in seeds), "mean", "standard deviation"], rows)


def fenced(lines: Iterable[str]) -> list[str]:
    return ["```", *(line.rstrip() for line in lines), "```"]


def laws_shapes() -> list[str]:
    return fenced(law_lines(fit_groups(own_groups(shapes())[0], LAWS)))


def laws_cifar10() -> list[str]:
    points = as_points(cifar10_means()).rename(columns={"test_loss": "y"})
    groups = [
        Group(name, f"cifar10: {name}", "analysis/measured/cifar10_seeds.csv", its.reset_index(drop=True))
        for name, its in sorted(points.groupby("backbone"))
    ]
    return fenced(law_lines(fit_groups(groups, LAWS)))


def published_laws(some: Callable[[Group], bool] = lambda _: True) -> list[str]:
    """The laws of the paper's numbers; of some groups."""
    return law_lines(fit_groups(filter(some, published_groups()), LAWS))


def laws_excerpt() -> list[str]:
    """The README's part of them."""
    return fenced(published_laws(lambda group: group.name in EXCERPT))


def held_out() -> list[str]:
    """What laws of the larger patches and two naive rules say of patch 1, over the rows that have it."""
    misses: dict[str, list[float]] = {}
    for group in published_groups():
        at = group.points.set_index("patch")["y"]
        if group.source != "Tables 1, 4" or at.index.min() > 1:
            continue
        seen = at[at.index > 1].sort_index()
        said = {f"{form} law": fit(seen.index, seen, form).predict(1.0)[0] for form in LAWS}
        said["as at patch 2"] = seen.iloc[0]
        said["that, less half of the last gain"] = seen.iloc[0] - (seen.iloc[1] - seen.iloc[0]) / 2
        for name, value in said.items():
            misses.setdefault(name, []).append(float(value - at[1]))
    rows = []
    for name, its in misses.items():
        size = [abs(miss) for miss in its]
        rows.append([name, f"{sum(its) / len(its):+.2f}", f"{sum(size) / len(size):.2f}", f"{max(size):.2f}"])
    return table(["patch 1 by", "mean miss", "mean size", "largest"], rows)


def joint() -> list[str]:
    return fenced(joint_lines(fit_joint(published_groups())))


def cifar10_plan() -> list[str]:
    """Images/s as measured and as the cost model says of one core, which has seen shapes alone."""
    rows = []
    for row in numbers("cifar10").to_dict("records"):
        recipe = getattr(cifar10, row["backbone"])(int(row["patch [px]"]))
        said = 1 / image_seconds(recipe, CORE, recipe.batch)
        measured = row["images/s"]
        off = f"{100 * (said / measured - 1):+.0f} %"
        rows.append([row["backbone"], f"{row['patch [px]']}", f"{measured:,.0f}", f"{said:,.0f}", off])
    return table(["backbone", "patch [px]", "measured", "predicted", ""], rows)


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
    """The README's: the ends of the plan's own table."""
    head, names, rule, *rows = residual_lines()
    kept = [row for row in rows if row.split()[:1] in (["16"], ["1"])]
    return fenced([head, names, rule, *kept])


def crossing() -> list[str]:
    steps_s = numbers("crossing").pivot_table(index="tokens", columns="backbone", values="seconds_per_image")
    rows = []
    for tokens, row in steps_s.iterrows():
        deit, adventurer = row["deit_tiny"], row["adventurer_tiny"]
        rows.append([f"{tokens:,}", f"{deit:.3f}", f"{adventurer:.3f}", f"{deit / adventurer:.2f}"])
    return table(["tokens", "deit_tiny", "adventurer_tiny", "DeiT over Adventurer"], rows, left=())


# What a budget buys


@functools.cache
def points() -> pd.DataFrame:
    return measured_frontier.measured(budget.training_flops)


@functools.cache
def configured() -> pd.DataFrame:
    return configurations(published_surface(), training=budget.training_flops)


def _flops(value: float) -> str:
    return f"{value:.1e}".replace("e+", "e")


def measured_best() -> list[str]:
    """The frontier of what was measured."""
    on = points()[points()["frontier"]]
    rows = [
        [r["model"], f"{r['patch']:g}", f"{r['image']:g}", _flops(r["training_flops"]), f"{r['y']:.1f}"]
        for r in on.to_dict("records")
    ]
    return table(["model", "patch [px]", "image [px]", "FLOPs", "top-1 error [%]"], rows)


def measured_steps() -> list[str]:
    """What smaller patches gain for their FLOPs, and larger models."""
    rows = [
        [f"{r['image']:g}", r["model"], f"{r['by_patch']:.2f}", f"{r['by_model']:.2f}"]
        for r in measured_frontier.steps(points()).to_dict("records")
    ]
    return table(["image [px]", "from, at patch 16", "to patch 8", "to the next model"], rows, left=(1,))


def picks() -> list[str]:
    """What the law picks for each budget, and how often."""
    won = surface_evidence.wins(published_surface(), configured(), BUDGETS, draws=budget.DRAWS)
    rows = []
    for r in best(configured(), BUDGETS).to_dict("records"):
        its = won[won["budget"] == r["budget"]]
        mine = (its["model"] == r["model"]) & (its["patch"] == r["patch"]) & (its["image"] == r["image"])
        others = [f"{o.model} {o.patch:g}/{o.image:g}: {100 * o.share:.0f} %" for o in its[~mine].head(2).itertuples()]
        name = f"{r['model']} {r['patch']:g}/{r['image']:g}"
        error = f"{r['predicted']:.1f} [{r['low']:.1f}, {r['high']:.1f}]"
        share = f"{100 * its.loc[mine, 'share'].sum():.0f} %"
        rows.append([f"{r['budget']:.0e}".replace("+", ""), name, error, share, ", ".join(others), r["beyond"]])
    head = ["budget [FLOPs]", "pick, patch/image [px]", "error [%]", "wins", "else", "extrapolates in"]
    return table(head, rows, left=(0, 1, 4, 5))


def surface_forms() -> list[str]:
    surface = published_surface()
    names = {
        "surface": "A N^-a I^-c (1 + B p^b N^-d I^-e)",
        "floored": "F (1 + (M/N)^a) I^-c (1 + B p^b N^-d I^-e)",
    }
    rows = [
        [names[r["form"]], str(r["parameters"]), f"{r['rms']:.1f} %", f"{r['largest']:.1f} %", f"{r['aicc']:.1f}"]
        for r in surface_evidence.forms_weighed(surface).to_dict("records")
    ]
    return table(["law", "parameters", "rms residual", "largest", "AICc"], rows)


def released_models() -> list[str]:
    rows = [
        [
            f"{r['model']} {r['patch']:g}/{r['image']:g}",
            f"{r['measured']:.1f}",
            f"{r['predicted']:.1f} [{r['low']:.1f}, {r['high']:.1f}]",
        ]
        for r in surface_evidence.released(published_surface()).to_dict("records")
    ]
    return table(["model, patch/image [px]", "error as released [%]", "by the law"], rows)


TABLES: dict[str, Callable[[], list[str]]] = {
    **{name.replace("_", "-"): functools.partial(raw, name) for name in RAW.split()},
    "shapes-table": shapes_table,
    "three-seeds": lambda: three_seeds(summary(shapes())),
    "steps-shapes": lambda: tested(shapes()),
    "seed-study": seed_study,
    "laws-shapes": laws_shapes,
    "cifar10-seeds": lambda: three_seeds(cifar10_means()),
    "laws-cifar10": laws_cifar10,
    "steps-cifar10": lambda: tested(cifar10_runs()),
    "cifar10-plan": cifar10_plan,
    "laws-published": lambda: fenced(published_laws()),
    "laws-excerpt": laws_excerpt,
    "held-out": held_out,
    "joint": joint,
    "measured-best": measured_best,
    "measured-steps": measured_steps,
    "surface-forms": surface_forms,
    "budget": picks,
    "released": released_models,
    "table6": table6,
    "table6-excerpt": table6_excerpt,
    "crossing": crossing,
}
