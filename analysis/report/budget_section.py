"""Budget section of report.md: which configuration to train for a budget of FLOPs or of seconds, and how certain."""

import itertools
from collections.abc import Iterator, Sequence

import pandas as pd

from analysis.planning.frontier_draws import DRAWS, CostedLaw, drawn_losses, frontier_shares
from analysis.planning.pareto import training_flops
from analysis.records.run_set import RunSet
from analysis.report.law_table import GroupLaw
from analysis.report.law_words import supported
from analysis.report.sweep_table import short

COSTS = {"training_flops": "training FLOPs", "flops_per_image": "FLOPs per image", "wall_time": "training time [s]"}
EXPLAINED = (
    f"Each configuration as a budget. share: of {DRAWS:,} draws of all laws (parametric bootstrap), those in which it "
    "has the lowest loss among all that cost as much or less. frontier: no cheaper configuration has a lower mean "
    "measured loss. Errors that a law makes in all draws are not in the shares; seconds are of the machine of the runs."
)


def budget_section(runs: RunSet | None, laws: Sequence[GroupLaw]) -> Iterator[str]:
    """A table per task and data set and kind of cost, in Markdown; nothing where no law allows draws.
    laws: of law_table.fit_groups."""
    if runs is None:
        return
    done, tables = runs.finished, []
    done = done.assign(training_flops=training_flops(done)).set_index("run_id")
    poor: dict[str, None] = {}
    for where, its in _by_data(laws).items():
        poor |= dict.fromkeys(of.name for of in its if not of.law.describes)
        own = [CostedLaw(of.name, of.law, _costed(of, done)) for of in its]
        per_run = all(of.points["training_flops"].gt(0).all() for of in own)
        costs = ("training_flops" if per_run else "flops_per_image", "wall_time")
        if known := [cost for cost in costs if all(of.points[cost].gt(0).all() for of in own)]:
            predicted = drawn_losses(own)
            tables += [(where, cost, frontier_shares(own, cost, predicted)) for cost in known]
    if not tables:
        return
    yield "## Which configuration for a budget?\n"
    for where, cost, table in tables:
        yield f"{where}, budget in {COSTS[cost]}:\n"
        yield from _lines(table, cost)
        yield ""
    yield EXPLAINED
    if poor:
        yield f"\nThe law does not describe the points of {', '.join(poor)}: shares with them are not reliable."


def _by_data(laws: Sequence[GroupLaw]) -> dict[str, list[CostedLaw]]:
    """The supported laws over patch size of own groups that have degrees of freedom, by task and data set. A run that
    learned several patch sizes has one training cost for all of them, and is in none."""
    found: dict[str, list[CostedLaw]] = {}
    own = [of for of in laws if "run_id" in of.group.points and not of.group.shared]
    over_patch = [of for of in own if of.x == "patch" and of.law is not None]
    for _, same in itertools.groupby(over_patch, key=lambda of: id(of.group)):
        its = list(same)
        law, group = supported({of.form: of.law for of in its if of.law is not None}), its[0].group
        if law.problem.df > 0:
            where = f"{group.about['task']} {group.about['data']}"
            found.setdefault(where, []).append(CostedLaw(group.name, law, group.points))
    return found


def _costed(of: CostedLaw, done: pd.DataFrame) -> pd.DataFrame:
    """The points with the costs of their runs."""
    return of.points.assign(
        **{cost: of.points["run_id"].map(done[cost]).astype(float) for cost in ("training_flops", "wall_time")}
    )


def _lines(table: pd.DataFrame, cost: str) -> Iterator[str]:
    yield "| budget | configuration | loss | frontier | share [%] | most frequent other |"
    yield "| ---: | --- | ---: | --- | ---: | --- |"
    for row in table.to_dict("records"):
        budget = f"{row['budget']:.3g}" if cost == "wall_time" else short(row["budget"])
        other = f"{row['rival']}, {100 * row['rival_share']:.0f} %" if row["rival"] else "-"
        on, share = "yes" if row["on_frontier"] else "no", f"{100 * row['share']:.0f}"
        yield f"| {budget} | {row['name']} p{row['patch']:g} | {row['y']:.4g} | {on} | {share} | {other} |"
