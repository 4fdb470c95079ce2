"""Effective rank of the filters of the patch embedding, of the finished runs of a study of embeddings.

python experiments/filters.py RESULTS [STUDY]: of every run with a plain convolution in the table that the study's
report wrote to RESULTS/analysis; STUDY is shapes.embeddings by default. Prints the mean over seeds by backbone and
patch size beside the largest possible rank, and writes a row per run to a CSV file beside the table (_filters.csv),
which analysis/claims/filters.py reads as filters_shapes.csv of analysis/measured.
"""

import argparse
from pathlib import Path

from analysis.report.output import write_files
from experiments.cli import arguments
from scaling.errors import ConfigError

COLUMNS = ["backbone", "patch", "seed"]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of finished runs")
    parser.add_argument("study", nargs="?", default="shapes.embeddings", help="name of a study of embeddings")
    args = parser.parse_args(argv)
    table = args.results / "analysis" / f"{args.study.replace('.', '_')}.csv"
    if not table.is_file():
        raise ConfigError(f"{table} is not there; python experiments/sweep.py {args.study} writes it")
    import pandas as pd

    from analysis.studies.embeddings import PLAIN
    from scaling.comparison.effective_rank import effective_rank, trained_filters

    runs = pd.read_csv(table)
    rows = []
    for row in runs[runs["embedding"] == PLAIN].to_dict("records"):
        filters_DN = trained_filters(args.results / row["run_id"])
        sizes = dict(zip(("filters", "inputs"), filters_DN.shape, strict=True))
        rows.append({**{name: row[name] for name in COLUMNS}, **sizes, "effective_rank": effective_rank(filters_DN)})
    found = pd.DataFrame(rows, columns=[*COLUMNS, "filters", "inputs", "effective_rank"])
    for (backbone, patch), its in found.groupby(["backbone", "patch"], sort=False):
        largest = its[["filters", "inputs"]].min(axis=1).iloc[0]
        print(f"{backbone}, {patch} px: effective rank {its['effective_rank'].mean():.1f} of at most {largest}")
    name = f"{table.stem}_filters.csv"
    write_files(table.parent, {name: found.to_csv(index=False, float_format="%.6g").encode()})
    print(f"wrote {table.parent / name}")
    return 0


if __name__ == "__main__":
    arguments.guarded(main)
