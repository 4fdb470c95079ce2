"""The tables of laws in docs/. A function returns the lines of one block."""

from collections.abc import Callable

from analysis.fitting.joint import fit_joint
from analysis.fitting.laws import fit
from analysis.records.groups import Group, own_groups, published_groups
from analysis.records.seed_summaries import as_points
from analysis.report.joint_table import joint_lines
from analysis.report.law_table import fit_groups
from analysis.report.law_table import lines as law_lines
from analysis.report.printfuncs import p_text, parameter_text
from experiments.documentation.data import cifar10_means, fenced, numbers, shapes_runs, table

LAWS = ("power", "shifted")
EXCERPT = ("c Adventurer-B 224", "d segments ade20k")  # groups in docs/laws.md


def laws_shapes() -> list[str]:
    return fenced(law_lines(fit_groups(own_groups(shapes_runs())[0], LAWS)))


def laws_cifar10() -> list[str]:
    points = as_points(cifar10_means()).rename(columns={"test_loss": "y"})
    groups = [
        Group(str(name), f"cifar10: {name}", "analysis/measured/cifar10_seeds.csv", its.reset_index(drop=True))
        for name, its in sorted(points.groupby("backbone"))
    ]
    return fenced(law_lines(fit_groups(groups, LAWS)))


def published_laws(chosen: Callable[[Group], bool] = lambda _: True) -> list[str]:
    """The laws of the published numbers, of the chosen groups."""
    return law_lines(fit_groups(filter(chosen, published_groups()), LAWS))


def laws_excerpt() -> list[str]:
    """docs/laws.md: an example of the table."""
    return fenced(published_laws(lambda group: group.name in EXCERPT))


def held_out() -> list[str]:
    """Errors of predictions of patch 1 from the larger patches, by the laws and by two naive rules, over all rows that
    have patch 1 [percentage points]."""
    errors: dict[str, list[float]] = {}
    for group in published_groups():
        at = group.points.set_index("patch")["y"]
        if group.source != "Tables 1, 4" or at.index.min() > 1:
            continue
        seen = at[at.index > 1].sort_index()
        predicted = {f"{form} law": fit(seen.index, seen, form).predict(1.0)[0] for form in LAWS}
        predicted["value at patch 2"] = seen.iloc[0]
        predicted["value at patch 2, less half of the last gain"] = seen.iloc[0] - (seen.iloc[1] - seen.iloc[0]) / 2
        for name, value in predicted.items():
            errors.setdefault(name, []).append(float(value - at[1]))
    rows = []
    for name, its in errors.items():
        absolute = [abs(error) for error in its]
        cells = [f"{sum(its) / len(its):+.2f}", f"{sum(absolute) / len(absolute):.2f}", f"{max(absolute):.2f}"]
        rows.append([name, *cells])
    return table(["patch 1 predicted by", "mean error", "mean absolute error", "largest"], rows)


def number_errors() -> list[str]:
    """The shifted law of every group of published numbers with equal weights, and weighed by the errors of the numbers
    (analysis/records/error_models.py), with the test of whether the law misses by more than these errors."""
    rows = []
    for group in published_groups():
        patch, y = group.points["patch"], group.points["y"]
        equal = fit(patch, y, "shifted")
        weighed = fit(patch, y, "shifted", sigma=group.points["number_error"] / y)
        cells = [parameter_text(law, name) for law in (equal, weighed) for name in ("L_inf", "alpha")]
        tested = weighed.lack_of_fit
        p = "-" if tested is None else p_text(tested.p)
        rows.append([group.name, *cells, p])
    head = ["numbers", "L_inf, equal weights", "alpha", "L_inf, by errors of the numbers", "alpha", "p, lack of fit"]
    return table(head, rows, left=(0, 1, 2, 3, 4))


def coverage() -> list[str]:
    """How often 95 % intervals contain the truth, by what is known of the errors [%]."""
    its = numbers("coverage").astype(str)
    its = its[its["interval"].str.startswith("profile")]
    known = {"profile": "estimated", "profile, errors given": "given"}
    rows = [[row[0], row[1], row[2], known[row[3]], *row[4:]] for row in its.to_numpy().tolist()]
    return table(["law", "seeds", "errors [%]", "errors are", *its.columns[4:]], rows, left=(0, 2, 3))


def joint() -> list[str]:
    return fenced(joint_lines(fit_joint(published_groups())))
