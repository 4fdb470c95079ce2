"""The tables of laws in README.md and docs/results.md, each the lines of one block."""

from collections.abc import Callable

from analysis.fitting.joint import fit_joint
from analysis.fitting.laws import fit
from analysis.records.groups import Group, own_groups, published_groups
from analysis.records.seed_summaries import as_points
from analysis.report.joint_table import joint_lines
from analysis.report.law_table import fit_groups
from analysis.report.law_table import lines as law_lines
from experiments.documentation.data import cifar10_means, fenced, shapes_runs, table

LAWS = ("power", "shifted")
EXCERPT = ("c Adventurer-B 224", "d segments ade20k")  # that the README shows


def laws_shapes() -> list[str]:
    return fenced(law_lines(fit_groups(own_groups(shapes_runs())[0], LAWS)))


def laws_cifar10() -> list[str]:
    points = as_points(cifar10_means()).rename(columns={"test_loss": "y"})
    groups = [
        Group(str(name), f"cifar10: {name}", "analysis/measured/cifar10_seeds.csv", its.reset_index(drop=True))
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
