"""All that needs a CUDA device, in one command: the tests marked gpu, and the benchmarks that depend on the card.

python experiments/gpu_report.py [--out FOLDER] [--only tests,scans,...]    or: make gpu-report
The report is FOLDER/gpu_report.md, written again after every part, so that a part that fails or is stopped costs no
other. Numbers of Table 6 of arXiv 2502.03738 are of an A100. About a quarter of an hour on an H100.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import pandas as pd

from analysis.report.output import Parser, write_files
from experiments.cli import arguments
from scaling.config.fields import check_name
from scaling.errors import ConfigError
from scaling.runs.environment import REPOSITORY, git_commit, versions

NAME = "gpu_report.md"
WIDTH = 110  # columns of the tables
BENCHMARK = "experiments/benchmark.py"
PARTS: Mapping[str, tuple[str, ...]] = {  # arguments of Python
    "tests": ("-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests"),
    "scans": (BENCHMARK, "scans"),
    "table6": (BENCHMARK, "table6"),
    "long": (BENCHMARK, "long"),
    "packing": (BENCHMARK, "packing"),
    "flexible": (BENCHMARK, "flexible"),
    "rope": (BENCHMARK, "rope"),
    "speed-options": (BENCHMARK, "speed-options"),
}
GOALS = {("adventurer_base", 1): 4.0, ("deit_base", 1): 3.5}  # times the images/s of the paper's A100, on one H200


class Part(NamedTuple):
    """What a part printed. seconds: it took; status: its exit status."""

    name: str
    status: int
    seconds: float
    text: str


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="gpu_report.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", metavar="FOLDER", default="results/gpu_report", help="default: results/gpu_report")
    parser.add_argument("--only", metavar="PART,...", default=",".join(PARTS), help=f"default: {','.join(PARTS)}")
    args = parser.parse_args(argv)
    names = args.only.split(",")
    for name in names:
        check_name("part", name, tuple(PARTS))
    import torch

    if not torch.cuda.is_available():
        raise ConfigError("gpu-report needs a CUDA device, and torch finds none: run it on a machine with a card")
    out, facts, done = Path(args.out), _facts(), []
    for name in names:
        print(f"{name} ...", flush=True)
        part = run_part(name, out.resolve())
        done.append(part)
        print(f"{name}: status {part.status}, {part.seconds:.0f} s", flush=True)
        write_files(out, {NAME: report(facts, done, out / "results" / "table6.csv").encode()})
    print(f"wrote {out / NAME}")
    return int(any(part.status for part in done))


def run_part(name: str, out: Path) -> Part:
    """A part in a process of its own: benchmarks in `out`, where they keep CSV files (results/), tests in the
    repository."""
    out.mkdir(parents=True, exist_ok=True)
    script, *others = PARTS[name]
    command = [sys.executable, *([script] if script == "-m" else [str(REPOSITORY / script)]), *others]
    environment = {**os.environ, "COLUMNS": str(WIDTH), "PYTHONPATH": str(REPOSITORY)}
    began = time.monotonic()
    folder = REPOSITORY if script == "-m" else out
    ended = subprocess.run(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return Part(name, ended.returncode, time.monotonic() - began, ended.stdout)


def report(facts: Mapping[str, str], done: Iterable[Part], table6: Path) -> str:
    """The report as Markdown. table6: rows of the benchmark of this name, where it has run."""
    lines = ["# GPU report", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    if table6.is_file():
        lines += ["## Goals", "", *(f"- {line}" for line in against_paper(pd.read_csv(table6))), ""]
    for part in done:
        state = "passed" if part.status == 0 else f"failed with status {part.status}"
        lines += [f"## {part.name}", "", f"{state}, {part.seconds:.0f} s", "", "```text", part.text.rstrip(), "```", ""]
    return "\n".join(lines)


def against_paper(table6: pd.DataFrame) -> list[str]:
    """A sentence for each of GOALS. table6: rows of experiments/benchmarks/table6.py."""
    found = []
    for (model, patch), goal in GOALS.items():
        its = table6[(table6["model"] == model) & (table6["patch"] == patch) & (table6["image"] == 224)]
        best = its.dropna(subset=["hours", "hours_paper"]).sort_values("hours").head(1)
        if best.empty:
            found.append(f"{model} at patch {patch}, 224 px: not measured")
            continue
        (row,) = best.itertuples()
        ratio = row.hours_paper / row.hours
        verdict = "met" if ratio >= goal else "not met"
        faster = f"{row.images_per_second:.1f} images/s by {row.scan}, {ratio:.2f} times the paper's A100"
        found.append(f"{model} at patch {patch}, 224 px: {faster}; goal {goal:g} times: {verdict}")
    return found


def _facts() -> dict[str, str]:
    """Card, driver and versions."""
    import torch

    from experiments.benchmarks.models import where
    from scaling.backbones.ssd.backend import backend

    card = torch.cuda.get_device_properties(0)
    named = ", ".join(f"{name} {version}" for name, version in versions().items())
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": where(),
        "card": f"{card.name}, {card.total_memory / 2**30:.0f} GiB, compute capability {card.major}.{card.minor}",
        "CUDA": str(torch.version.cuda),
        "versions": named,
        "scan": backend("cuda").reason,
        "commit": git_commit(),
    }


def program() -> NoReturn:
    """The program, with its exit status."""
    arguments.guarded(main)


if __name__ == "__main__":
    program()
