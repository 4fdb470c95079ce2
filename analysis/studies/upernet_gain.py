"""Head gap: what UperNet gains over a linear head at each patch size, which is Figure 2 of arXiv 2502.03738.

There the gap closes as patches shrink: the decoder vanishes. A gap is positive where UperNet is the better one: UperNet
minus linear in the task's metric [points], linear minus UperNet in test loss [nats].
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.records.seed_noise import seed_spread
from analysis.report.output import counted, print_wrapped
from analysis.report.sweep_table import render_table
from scaling.recipe import HEADS
from scaling.runs.record import HEADLINES

PLAIN, DECODER = HEADS


def metric_of(table: pd.DataFrame) -> tuple[str, str]:
    """The column of the headline metric of a study's runs, and its name: ("miou", "mIoU")."""
    return next(headline for headline in HEADLINES.values() if headline[0] in table)


def gaps(table: pd.DataFrame, run_ids: Sequence[str]) -> pd.DataFrame:
    """A row for every backbone and patch [px] that the study asks for, patches from coarse to fine.

    table: of analysis.studies.ablations.study_table.  run_ids: the study's runs, finished or not.  Columns: backbone,
    patch; for each head seeds_HEAD (runs that finished), loss_HEAD [nats], METRIC_HEAD [%] and paper_HEAD [%], means
    over seeds; gap_loss [nats], gap_METRIC and gap_paper [points].  nan where there is no such run, or nothing
    published."""
    metric, _ = metric_of(table)
    sources = {"loss": "test_loss", metric: metric, "paper": f"paper_{metric}"}
    rows = []
    for backbone, patch in _asked(table, run_ids):
        its = table[(table["backbone"] == backbone) & (table["patch"] == patch)]
        of = {head: its[its["head"] == head] for head in HEADS}
        row: dict[str, Any] = {"backbone": backbone, "patch": patch}
        row |= {f"seeds_{head}": len(runs) for head, runs in of.items()}
        for name, column in sources.items():
            row |= {f"{name}_{head}": runs[column].mean() for head, runs in of.items()}
            row[f"gap_{name}"] = row[f"{name}_{DECODER}"] - row[f"{name}_{PLAIN}"]
        rows.append({**row, "gap_loss": -row["gap_loss"]})
    return pd.DataFrame(rows)


def _asked(table: pd.DataFrame, run_ids: Sequence[str]) -> list[tuple[str, int]]:
    """Backbones and patches by the names of the runs, so that those without a record have a row too."""
    parts = {run_id: run_id.split("-") for run_id in run_ids}  # ...-BACKBONE-128px-p16-s0-HASH
    known = {parts[run_id][-5]: backbone for run_id, backbone in table[["run_id", "backbone"]].to_numpy()}
    asked = [(known.get(words[-5], words[-5]), int(words[-3][1:])) for words in parts.values()]
    order = list(dict.fromkeys(backbone for backbone, _ in asked))
    return sorted(set(asked), key=lambda of: (order.index(of[0]), -of[1]))


def print_gaps(found: pd.DataFrame, table: pd.DataFrame, title: str) -> None:
    """Print the gaps, those of the paper beside them where it has some, and how far seeds lie apart."""
    metric, name = metric_of(table)
    shown = found[["backbone"]].assign(**{"patch [px]": found["patch"]})
    seeds = found[[f"seeds_{head}" for head in HEADS]]
    if (seeds > 1).any(axis=None):
        shown["runs"] = ["/".join(dict.fromkeys(map(str, its))) for its in seeds.itertuples(index=False)]
    scores = _columns(found, metric, 1, {PLAIN: f"{PLAIN} [%]", DECODER: f"{DECODER} [%]", "gap": "gap [pts]"})
    paper = {PLAIN: f"paper\n{PLAIN} [%]", DECODER: f"paper\n{DECODER} [%]", "gap": "paper\ngap [pts]"}
    losses = {PLAIN: f"{PLAIN} [nats]", DECODER: f"{DECODER} [nats]", "gap": "gap [nats]"}
    render_table(pd.concat([shown, _columns(found, "loss", 4, losses), scores], axis=1), title)
    if found[[f"paper_{head}" for head in HEADS]].notna().any(axis=None):
        beside = pd.concat([shown[["backbone", "patch [px]"]], scores, _columns(found, "paper", 1, paper)], axis=1)
        render_table(beside, f"{name} beside Table 2 of arXiv 2502.03738")
    print_wrapped(
        f"[nats]: test loss; [%]: {name}; gap: what {DECODER} gains, in loss [nats] and in points of {name} [pts]",
        indent=0,
    )
    print_wrapped(spread_sentence(table), indent=2)
    print()


def spread_sentence(table: pd.DataFrame) -> str:
    """How far runs lie apart that differ in the seed alone, by backbone and head."""
    metric, name = metric_of(table)
    runs = table.assign(group=table["backbone"] + " " + table["head"])
    points = seed_spread(runs, metric).set_index("group")["spread"].to_dict()
    told = [
        f"{loss['group']} {loss['spread']:.4f} nats"
        + (f", {points[loss['group']]:.1f} points of {name}" if loss["group"] in points else "")
        + f" ({counted(loss['seeds'], 'seed')}, {loss['df']} degrees of freedom)"
        for loss in seed_spread(runs).to_dict("records")
        if loss["df"]
    ]
    return "seed-to-seed spread: " + ("; ".join(told) or "not measured, one seed a patch; add --seeds 0,1,2")


def _columns(found: pd.DataFrame, name: str, decimals: int, heads: dict[str, str]) -> pd.DataFrame:
    """Both heads' values and their gap as text. heads: what to call PLAIN, DECODER and "gap"."""
    columns = {}
    for what, head in heads.items():
        values = found[f"gap_{name}" if what == "gap" else f"{name}_{what}"].round(decimals) + 0.0  # no -0.0
        columns[head] = values.map(lambda x: "-" if pd.isna(x) else f"{x:.{decimals}f}")
    return pd.DataFrame(columns)
