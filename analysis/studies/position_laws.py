"""Laws by position encoding: test losses of each encoding at every patch size, whether the exponent depends on it, and
what the study of that shows.
"""

import pandas as pd

from analysis.plots.exponents import exponent_figure
from analysis.report.output import print_wrapped
from analysis.report.sweep_table import render_table
from analysis.studies.cell_text import spread
from analysis.studies.exponents import printed_slopes, slope_sentence, slopes
from analysis.studies.study_runs import Shown, StudyRuns

ENCODING = "positions"  # column with the kind of the encoding
PLAIN = "sincos"  # that the others are compared with: of the recipes, without learned numbers


def laws_of_positions(study: StudyRuns) -> Shown:
    """Losses by patch size and exponents of each encoding, beside those of PLAIN."""
    kinds = study.runs.frame[["run_id", "position"]].rename(columns={"position": ENCODING})
    done = [run.run_id for run in study.planned if run.run_id in set(study.table["run_id"])]
    table = study.table.merge(kinds, on="run_id").set_index("run_id").loc[done].reset_index()
    alphas = slopes(table, ENCODING, PLAIN)
    for backbone, its in table.groupby("backbone", sort=False):
        title = f"{backbone}, {study.where}"
        render_table(printed(its), f"{title}: test loss [nats]")
        own = alphas[alphas["backbone"] == backbone]
        if len(own):
            render_table(printed_slopes(own, ENCODING, PLAIN), f"{title}: exponent")
            print_wrapped(slope_sentence(backbone, own, ENCODING, PLAIN), indent=2)
    drawn = exponent_figure(table, alphas, ENCODING, f"Laws by position encoding ({study.where})")
    return Shown({"": table, "_alpha": alphas}, drawn)


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """One backbone's losses as text for 80 columns: a row per encoding, a column per patch size from coarse to fine,
    means over seeds [nats], with the standard deviation below."""
    rows = []
    for kind, its in table.groupby(ENCODING, sort=False):
        cells = {
            f"{patch} px": spread(runs["test_loss"], 3).replace(" ±", "\n±") for patch, runs in its.groupby("patch")
        }
        rows.append({ENCODING: kind, **cells})
    patches = [f"{patch} px" for patch in sorted(table["patch"].unique(), reverse=True)]
    return pd.DataFrame(rows, columns=[ENCODING, *patches]).fillna("-")
