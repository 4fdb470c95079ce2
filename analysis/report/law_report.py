"""Law report: the laws of own runs and of the paper, printed and written with figures and tables."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from analysis.fitting.axes import AXES
from analysis.fitting.joint import fit_joint
from analysis.fitting.model import DEFAULT_FORMS
from analysis.records.chance_level import chance_lines
from analysis.records.groups import FEWEST_PATCHES, Group, own_groups, published_groups
from analysis.records.run_set import LeftOut, RunSet
from analysis.records.shared_weights import by_patch
from analysis.report import joint_table
from analysis.report.hierarchical_text import hierarchical_sentences
from analysis.report.law_files import law_files
from analysis.report.law_table import EXPLAINED, GroupLaw, fit_groups, held_out_errors, lines, rising
from analysis.report.law_words import law_sentences
from analysis.report.more_patches import more_patches
from analysis.report.output import counted, print_wrapped, write_files
from analysis.report.patch_test_text import smallest_patch
from scaling.errors import ConfigError

SMALLEST = "Is the smallest patch better than the next? Change [%], 95 % interval, p by Holm"


class LawInput(NamedTuple):
    """The groups that laws are fitted to."""

    runs: RunSet | None  # own runs; None: the paper's numbers alone
    own: list[Group]
    refused: Mapping[str, str]  # name of a group of own runs -> why it is not fitted
    published: list[Group]


def law_input(runs: RunSet | None, published: bool = False, mixed: str = "refuse") -> LawInput:
    """The groups of own runs, and the paper's where published; runs of no epochs, which evaluate what others learned,
    are left out. mixed: as for groups.own_groups. Raises ConfigError where none of the runs has finished."""
    papers = published_groups() if published else []
    if runs is None:
        return LawInput(None, [], {}, papers)
    if "epochs" in runs.frame:  # not in a CSV file
        runs = runs.select(runs.frame["epochs"] != 0)
    if runs.finished.empty:
        ended = counted(len(runs.frame) + len(runs.corrupt), "run")
        raise ConfigError(f"none of {ended} has finished{_damaged(runs.corrupt)}; `make sweep` continues them")
    return LawInput(runs, *own_groups(runs, mixed), papers)


def check_some_law(inputs: LawInput) -> None:
    """Raise ConfigError where no law can be fitted to own runs."""
    if inputs.runs is None or any(group.patches >= FEWEST_PATCHES for group in inputs.own):
        return
    few = [f"{group.name} has {counted(group.patches, 'patch size')}" for group in inputs.own]
    reasons = "; ".join([*inputs.refused.values(), *few][:3])
    more = f"a law needs {FEWEST_PATCHES}: {more_patches(inputs.own[0])}" if few else ""
    damaged = _damaged(inputs.runs.corrupt)
    raise ConfigError(f"no law can be fitted: {'; '.join(filter(None, (reasons, more)))}{damaged}")


def report(inputs: LawInput, out: Path, forms: Sequence[str] = DEFAULT_FORMS) -> list[Path]:
    """Print the laws and write laws.csv, joint_laws.csv, report.md, figures and tables to out. Returns the paths that
    it wrote. Raises ConfigError where out cannot be written; then nothing is written."""
    laws = [*fit_groups(inputs.own, forms, list(AXES)), *fit_groups(inputs.published, forms)]
    if inputs.runs is not None:
        _print_left_out(inputs.runs)
    for why in inputs.refused.values():
        print_wrapped(f"excluded: {why}")
    _print_laws(inputs, laws, forms)
    groups = [*inputs.own, *inputs.published]
    independent = [group for group in groups if not group.shared]
    joint = fit_joint(independent)
    if joint:
        print("\nJoint laws E + A N^-a + B p^b, N parameters of the model\n")
        print("\n".join(joint_table.joint_lines(joint)) + "\n")
        print_wrapped(joint_table.EXPLAINED, indent=0)
    _print_section("Hierarchical fits", hierarchical_sentences(independent))
    _print_section(SMALLEST, (f"{group.name}: {smallest_patch(group.points)}" for group in inputs.own), indent=2)
    print(flush=True)
    files = law_files(inputs.runs, laws, joint, forms, published=bool(inputs.published))
    paths = write_files(out, files)
    _print_written(out, files)
    return paths


def _print_laws(inputs: LawInput, laws: Sequence[GroupLaw], forms: Sequence[str]) -> None:
    """The laws of own runs in words, the table of all laws, and why there are none where there are none."""
    own = [of for of in laws if any(of.group is group for group in inputs.own)]
    _print_section("Laws, p patch size [px]", law_sentences(own), indent=2)
    if inputs.runs is not None:
        for line in chance_lines(by_patch(inputs.runs)):
            print_wrapped(line, indent=2)
    for why in dict.fromkeys(_no_law(of, forms) for of in laws if of.law is None and of.x == "patch"):
        print_wrapped(why, indent=2)
    for sentence in rising(laws):
        print_wrapped(sentence, indent=2)
    print()
    if inputs.published:
        print_wrapped("Of Tables 1 to 4: laws of the error [%]; of Figure 1: of the test loss [nats].", indent=0)
    print("\n".join(lines(laws)) + "\n")
    print_wrapped(EXPLAINED, indent=0)
    if errors := held_out_errors(laws):
        print_wrapped(errors, indent=0)


def _no_law(of: GroupLaw, forms: Sequence[str]) -> str:
    """Why a group has no law, or none of this form."""
    form = "no law" if len(forms) == 1 or of.group.patches < FEWEST_PATCHES else f"no {of.form} law"
    return f"{of.group.name}: {form}; {of.why}"


def _print_section(title: str, sentences: Iterable[str], indent: int = 4) -> None:
    """A heading and its sentences; nothing without sentences."""
    for number, sentence in enumerate(sentences):
        if not number:
            print(f"\n{title}")
        print_wrapped(sentence, indent)


def _damaged(corrupt: Sequence[LeftOut]) -> str:
    """The end of a sentence that names damaged records, which may be why there are too few runs."""
    if not corrupt:
        return ""
    more = f" and {counted(len(corrupt) - 1, 'other')}" if len(corrupt) > 1 else ""
    return f"; damaged: {corrupt[0].reason}{more}"


def _print_left_out(runs: RunSet) -> None:
    """Print which runs are excluded, and why."""
    for one in runs.corrupt:
        print_wrapped(f"excluded, corrupt: {one.reason}")
    if runs.corrupt:
        print(f"excluded: {counted(len(runs.corrupt), 'corrupt record')}")
    for one in runs.unfinished:
        print_wrapped(f"excluded, not finished: {one.folder}")
    frame = runs.frame
    for run in frame[frame["status"] == "failed"].itertuples():
        print_wrapped(f"excluded, failed: {run.run_id} ({run.failure})")
    for run in frame[frame["test_loss"] <= 0].itertuples():
        print_wrapped(f"excluded from laws, a test loss of 0 has no logarithm: {run.run_id}")


def _print_written(out: Path, files: Mapping[str, bytes]) -> None:
    """The written files, those that differ only in their ending together."""
    endings: dict[str, list[str]] = {}
    for name in files:
        stem, ending = name.rsplit(".", 1)
        endings.setdefault(stem, []).append(ending)
    print_wrapped(f"wrote to {out}: {', '.join(f'{stem}.' + '|'.join(its) for stem, its in endings.items())}", indent=2)
