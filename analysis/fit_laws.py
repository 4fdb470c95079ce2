"""Fit the patch-size laws to a results folder, print them with their intervals, and draw them.

python analysis/fit_laws.py --results results
python analysis/fit_laws.py --published          # the published figure 1 of arXiv 2502.03738, without runs too
"""

import argparse
import io
import os
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__" and __package__ in (None, ""):  # as a script: analysis/ is on the path, its parent may not be
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from scaling.recipe import BadInput

if TYPE_CHECKING:
    import pandas as pd

    from analysis.laws import Fit

# numpy, pandas, scipy and matplotlib are imported where they are used: --help and a wrong option answer at once.

FORMS = {"power": ("power",), "shifted": ("shifted",), "both": ("power", "shifted")}
FEWEST_PATCHES = 3  # different patch sizes that a group needs for a law
ENDS = ("_low", "_high", "_identified")  # columns of laws.csv behind each parameter
QUALITY = ("r2", "sum_of_squares", "converged")
WIDTH = 80  # of what is printed [characters]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0, or 2 with one line on stderr for input that cannot be used."""
    args = _parser().parse_args(argv)
    try:
        if args.published:
            print_published(args.form)
        results = Path(args.results or "results")
        if args.published and args.results is None and not results.exists():
            return 0  # nobody spoke of runs
        from analysis.runs import load

        paths = report(load(results), Path(args.out) if args.out else results / "analysis", args.form)
    except BadInput as e:
        print(f"fit_laws: {e}", file=sys.stderr)
        return 2
    return 0 if paths else 2


def report(frame: "pd.DataFrame", out: Path, form: str = "both") -> list[Path]:
    """Print a sweep's tables, laws and seed-to-seed spread; write laws.csv, law.png and law.pdf to out.

    frame: as analysis.runs.load gives it.  form: "power", "shifted" or "both".  Returns the paths that it wrote and
    printed. Raises BadInput where no run has finished or out cannot be written; then nothing is written."""
    from analysis.paper_figures import law_figure
    from analysis.paper_tables import group_table, render_table, sweep_table
    from analysis.runs import finished, labels

    runs = finished(frame)
    _print_left_out(frame)
    if runs.empty:
        raise BadInput(f"none of {counted(len(frame), 'run')} has finished; `make sweep` goes on with them")
    names = labels(frame)
    table = sweep_table(frame)
    for group, name in names.items():
        render_table(group_table(table, group), f"{name}   ({group})")
    laws: dict[str, list[Fit]] = {}
    print("Laws: test loss L [nats] at patch side p [px], with 95 % intervals\n")
    for group, name in names.items():
        laws[group] = _fit_group(name, runs[runs["group"] == group], FORMS[form])
    print("Seeds\n")
    for group, name in names.items():
        print_wrapped(f"  {name}: {seed_sentence(runs[runs['group'] == group])}")
    print()
    figure = law_figure(runs, FORMS[form])
    files = {"laws.csv": laws_table(runs, laws).to_csv(index=False).encode()}
    for ending in ("png", "pdf"):
        drawing = io.BytesIO()
        undated = {"CreationDate": None} if ending == "pdf" else None  # the same runs give the same file
        figure.savefig(drawing, format=ending, dpi=160, metadata=undated)
        files[f"law.{ending}"] = drawing.getvalue()
    paths = write_files(out, files)
    for path in paths:
        print(f"wrote {path}")
    return paths


def laws_table(runs: "pd.DataFrame", laws: "dict[str, list[Fit]]") -> "pd.DataFrame":
    """The fitted laws, a row a group and form: parameters with their ends and whether they are identified."""
    import pandas as pd

    from analysis.forms import FORMS as SHAPES

    letters = list(dict.fromkeys(name for shape in SHAPES.values() for name in shape.names))
    known = ["group", "task", "data", "backbone", "head", "image"]
    columns = [*known, "form", "patches", "n", *(f"{n}{end}" for n in letters for end in ("", *ENDS)), *QUALITY]
    rows: list[dict[str, Any]] = []
    for group, fits in laws.items():
        its = runs[runs["group"] == group]
        for law in fits:
            row = {name: its[name].iloc[0] for name in known}
            row |= {"form": law.form, "patches": its["patch"].nunique(), "n": law.n}
            for name, value in law.parameters.items():
                ends = (*law.intervals[name], law.identified[name])
                row |= {name: value, **{f"{name}{end}": told for end, told in zip(ENDS, ends, strict=True)}}
            rows.append({**row, "r2": law.r2, "sum_of_squares": law.loss, "converged": law.converged})
    return pd.DataFrame(rows, columns=columns)


def seed_sentence(runs: "pd.DataFrame") -> str:
    """Whether the smallest patch still helps, beside how far seeds lie apart at the two smallest patches.

    runs: one group's, finished. With one seed a patch the spread is that of the seed study that is shipped
    (analysis/measured/seeds.csv), where it has this very group."""
    from analysis.laws import seed_spread
    from analysis.runs import seed_study

    means = runs.groupby("patch")["test_loss"].mean().sort_index()
    smallest = list(means.index[:2])
    step = means.iloc[0] - means.iloc[1] if len(means) >= 2 else 0.0
    sentence = f"patch {smallest[0]} vs {smallest[1]}: {step:+.4f} nats, " if len(means) >= 2 else ""
    whence = ""
    found = seed_spread(runs[runs["patch"].isin(smallest)])
    if not found["df"].sum():
        study = seed_study(runs["group"].iloc[0])
        study = study[study["patch"].isin(smallest)]
        found = seed_spread(study)
        if not found["df"].sum():
            return sentence + "seed-to-seed spread: not measured, one seed a patch; add --seeds 0,1,2"
        whence = f"; measured {study['measured'].iloc[0]}, {study['machine'].iloc[0]}"
    spread = found.iloc[0]
    seeds = f"{counted(int(spread.seeds), 'seed')}, {spread.df} degrees of freedom{whence}"
    sentence += f"seed-to-seed spread {spread.spread:.4f} ({seeds})"
    if len(means) < 2:
        return sentence
    verdict = "better" if step <= 0 else "worse"
    return f"{sentence}: {verdict} by {'more' if abs(step) > spread.spread else 'no more'} than the spread"


def print_published(form: str = "both") -> None:
    """Fit the panels of the published figure 1 and print them beside the L_inf that its axes were drawn with."""
    import pandas as pd

    from analysis.laws import fit
    from analysis.paper_tables import load_published, render_table

    rows = []
    for panel, its in load_published("figure1_test_loss").groupby("panel"):
        model = its["model"].iloc[0]
        of = f"{its['task'].iloc[0]} {its['input'].iloc[0]}" if pd.isna(model) else f"{model} {its['input'].iloc[0]}"
        row: dict[str, Any] = {"panel": f"{panel} {of}"}
        laws = {shape: fit(its["patch"], its["test_loss"], shape) for shape in FORMS[form]}
        row |= {f"R2 [{shape}]": f"{law.r2:.3f}" for shape, law in laws.items()}
        if "shifted" in laws:
            row["alpha [shifted]"] = f"{laws['shifted'].parameters['alpha']:.3f}"
            low, high = laws["shifted"].intervals["L_inf"]
            told = "" if laws["shifted"].identified["L_inf"] else "?"
            row["L_inf [95 %]"] = f"{low:.2f} to {high:.2f}{told}"
        rows.append({**row, "L_inf [axis]": f"{its['axis_l_inf'].iloc[0]:.2f}"})
    render_table(pd.DataFrame(rows), "Published figure 1 of arXiv 2502.03738, fitted here")
    print_wrapped(
        "power: L = A p^alpha; shifted: L = L_inf + A p^alpha; R2 is that of log L. ?: not identified, the interval "
        "reaches 0. axis: the L_inf that the panel was drawn with. Panels d to f do not name their model.",
        indent=0,
    )
    print()


def _fit_group(name: str, runs: "pd.DataFrame", forms: Sequence[str]) -> "list[Fit]":
    """Fit one group's laws and print them, or why there is none."""
    from analysis.forms import FORMS as SHAPES
    from analysis.laws import fit

    patches = runs["patch"].nunique()
    if patches < FEWEST_PATCHES:
        print_wrapped(
            f"  {name}: no law; {counted(patches, 'patch size')} finished, a law needs {FEWEST_PATCHES} or more "
            "(`make sweep PATCH=16,8,4,2,1` adds them)"
        )
        print()
        return []
    laws = []
    print(f"  {name}")
    for form in forms:
        if len(runs) <= (k := len(SHAPES[form].names)):  # it would go through every point and say nothing
            print(f"    {form:8} not fitted: {len(runs)} points, {k} parameters")
            continue
        law = fit(runs["patch"], runs["test_loss"], form)
        laws.append(law)
        equation, intervals = law.summary().splitlines()
        print(f"    {law.form:8} {equation}")
        print_wrapped(f"{'':13}{intervals.strip()}", indent=13)
    print()
    return laws


def _print_left_out(frame: "pd.DataFrame") -> None:
    """Say which runs are not in what follows, and why. A frame that was not loaded from a folder has no attrs."""
    for reason in frame.attrs.get("corrupt", {}).values():
        print_wrapped(f"left out, corrupt: {reason}")
    for run in frame.attrs.get("unfinished", []):
        print_wrapped(f"left out, not finished: {run}")
    for run in frame[frame["status"] == "failed"].itertuples():
        print_wrapped(f"left out, failed: {run.run_id} ({run.failure})")


def print_wrapped(text: str, indent: int = 4) -> None:
    print(textwrap.fill(text, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False))


def counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def write_files(out: Path, files: dict[str, bytes]) -> list[Path]:
    """Write files to out, each whole or not at all."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            handle, temporary = tempfile.mkstemp(dir=out, prefix=f".{name}.")
            try:
                with os.fdopen(handle, "wb") as f:
                    f.write(content)
                os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner reads
                os.replace(temporary, out / name)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
    except OSError as e:
        raise BadInput(f"cannot write to {out} ({e.strerror}); --out names another folder") from e
    return [out / name for name in files]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fit_laws.py", description="Fit test loss [nats] against patch side [px], with 95 % intervals."
    )
    parser.add_argument("--results", metavar="DIR", help="folder with a folder a run (default: results)")
    parser.add_argument("--out", metavar="DIR", help="where laws.csv, law.png, law.pdf go (default: DIR/analysis)")
    parser.add_argument("--form", choices=list(FORMS), default="both", help="which law (default: %(default)s)")
    parser.add_argument("--published", action="store_true", help="also fit the published figure 1; needs no runs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
