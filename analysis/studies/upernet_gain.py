"""UperNet gain: the gain of UperNet over a linear head at each patch size, Figure 2 of arXiv 2502.03738.

In the paper the gap closes as patches shrink. A gap is positive where UperNet is better: UperNet minus linear in the
task's metric [points], linear minus UperNet in test loss [nats].
"""

from collections.abc import Sequence

import pandas as pd

from analysis.records.seed_noise import seed_spread
from analysis.report.output import counted, print_wrapped
from analysis.report.sweep_table import render_table
from analysis.studies.study_table import StudyRun
from scaling.config.task import SEGMENTATION_HEADS
from scaling.runs.record import HEADLINES

PLAIN, DECODER = SEGMENTATION_HEADS


def metric_of(table: pd.DataFrame) -> tuple[str, str]:
    """The column of the headline metric of a study's runs, and its name: ("miou", "mIoU")."""
    return next(headline for headline in HEADLINES.values() if headline[0] in table)


def gaps(table: pd.DataFrame, planned: Sequence[StudyRun]) -> pd.DataFrame:
    """A row for every backbone and patch [px] of the study, patches from coarse to fine.

    table: of study_table.  planned: the study's runs, finished or not.  Columns: backbone,
    patch; for each head seeds_HEAD (runs that finished), loss_HEAD [nats], METRIC_HEAD [%] and paper_HEAD [%], means
    over seeds; gap_loss [nats], gap_METRIC and gap_paper [points].  nan where there is no such run, or nothing
    published."""
    metric, _ = metric_of(table)
    sources = {"loss": "test_loss", metric: metric, "paper": f"paper_{metric}"}
    order = list(dict.fromkeys(run.backbone for run in planned))
    asked = {(run.backbone, run.patch) for run in planned}
    rows = []
    for backbone, patch in sorted(asked, key=lambda of: (order.index(of[0]), -of[1])):
        its = table[(table["backbone"] == backbone) & (table["patch"] == patch)]
        of = {head: its[its["head"] == head] for head in SEGMENTATION_HEADS}
        row: dict[str, float] = {f"seeds_{head}": len(runs) for head, runs in of.items()}
        for name, column in sources.items():
            row |= {f"{name}_{head}": runs[column].mean() for head, runs in of.items()}
            row[f"gap_{name}"] = row[f"{name}_{DECODER}"] - row[f"{name}_{PLAIN}"]
        rows.append({"backbone": backbone, "patch": patch, **row, "gap_loss": -row["gap_loss"]})
    return pd.DataFrame(rows)


def print_gaps(found: pd.DataFrame, table: pd.DataFrame, title: str) -> None:
    """Print the gaps, next to those of the paper where it has some, and the spread between seeds."""
    metric, name = metric_of(table)
    shown = found[["backbone"]].assign(**{"patch [px]": found["patch"]})
    seeds = found[[f"seeds_{head}" for head in SEGMENTATION_HEADS]]
    if (seeds > 1).any(axis=None):
        shown["runs"] = ["/".join(dict.fromkeys(map(str, its))) for its in seeds.itertuples(index=False)]
    scores = _columns(found, metric, 1, {PLAIN: f"{PLAIN} [%]", DECODER: f"{DECODER} [%]", "gap": "gap [pts]"})
    paper = {PLAIN: f"paper\n{PLAIN} [%]", DECODER: f"paper\n{DECODER} [%]", "gap": "paper\ngap [pts]"}
    losses = {PLAIN: f"{PLAIN} [nats]", DECODER: f"{DECODER} [nats]", "gap": "gap [nats]"}
    render_table(pd.concat([shown, _columns(found, "loss", 4, losses), scores], axis=1), title)
    if found[[f"paper_{head}" for head in SEGMENTATION_HEADS]].notna().any(axis=None):
        both = pd.concat([shown[["backbone", "patch [px]"]], scores, _columns(found, "paper", 1, paper)], axis=1)
        render_table(both, f"{name}: own runs and Table 2 of arXiv 2502.03738")
    print_wrapped(
        f"[nats]: test loss; [%]: {name}; gap: gain of {DECODER}, in loss [nats] and in points of {name} [pts]",
        indent=0,
    )
    print_wrapped(spread_sentence(table), indent=2)
    print()


def spread_sentence(table: pd.DataFrame) -> str:
    """The standard deviation between seeds, by backbone and head, as a sentence."""
    metric, name = metric_of(table)
    runs = table.assign(group=table["backbone"] + " " + table["head"])
    points = seed_spread(runs, metric).set_index("group")["spread"].to_dict()
    texts = [
        f"{loss['group']} {loss['spread']:.4f} nats"
        + (f", {points[loss['group']]:.1f} points of {name}" if loss["group"] in points else "")
        + f" ({counted(loss['seeds'], 'seed')}, {loss['df']} degrees of freedom)"
        for loss in seed_spread(runs).to_dict("records")
        if loss["df"]
    ]
    return "seed-to-seed spread: " + ("; ".join(texts) or "not measured (one seed per patch size); add --seeds 0,1,2")


def _columns(found: pd.DataFrame, name: str, decimals: int, heads: dict[str, str]) -> pd.DataFrame:
    """Both heads' values and their gap as text. heads: column names of PLAIN, DECODER and "gap"."""
    columns = {}
    for what, head in heads.items():
        values = found[f"gap_{name}" if what == "gap" else f"{name}_{what}"].round(decimals) + 0.0  # no -0.0
        columns[head] = values.map(lambda x: "-" if pd.isna(x) else f"{x:.{decimals}f}")
    return pd.DataFrame(columns)
