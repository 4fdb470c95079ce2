"""The options of sweep.py and plan.py that decide which runs there are, and these runs."""

import textwrap
from argparse import Namespace
from dataclasses import replace

from experiments.cli import arguments as cli
from experiments.cli.resolve import LISTED, recipes, resolve
from experiments.cli.varied_fields import variants
from experiments.studies.catalogue import STUDIES
from experiments.studies.resolve import resolve as resolve_study
from scaling.config.at_shape import learned_patches
from scaling.config.experiment import ExperimentConfig
from scaling.config.fields import check_name
from scaling.errors import ConfigError

PATCHES = "16,8,4,2,1"  # of recipes, by default [px]
LISTS = ("patch_size", "seed")  # fields that a sweep has its own options for


def _studies() -> str:
    """Lines with the names of all studies, those on the same data sets together; those on ImageNet and ADE20K have no
    prefix."""
    data: dict[str, list[str]] = {}
    for name in STUDIES:
        prefix, _, kind = name.rpartition(".")
        data.setdefault(kind, []).extend([prefix] if prefix else [])
    lines: dict[str, list[str]] = {}
    for kind, on in sorted(data.items(), key=lambda one: len(one[1]), reverse=True):
        lines.setdefault(", ".join(on), []).append(kind)
    without_prefix = ", ".join(name for name in STUDIES if "." not in name)
    texts = [without_prefix, *(f"{on}: {', '.join(kinds)}" for on, kinds in lines.items() if on)]
    return "\n".join(textwrap.fill(text, 80, initial_indent="  ", subsequent_indent="    ") for text in texts)


def parser(program: str, what: str) -> cli.Parser:
    """A parser with the options that select the runs of a sweep, for sweep.py and plan.py."""
    also = f"studies (experiments/studies/catalogue.py), as shapes.table5:\n{_studies()}"
    p = cli.parser(program, what, also, leave_out=LISTS)
    p.add_argument(
        "--patch",
        "--patch-size",
        dest="patch",
        metavar="PX,PX",
        help=f"patch sizes [px]; default: {PATCHES}, or a study's; the smallest is the finest of a run that draws "
        "patches",
    )
    p.add_argument("--seeds", default="0", metavar="N,N", help="seeds, separated by commas; several give a spread")
    p.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="FIELD=A,B",
        help="values of any field, as lr=1e-3,2e-3: a law each",
    )
    return p


def runs_of(args: Namespace) -> list[ExperimentConfig]:
    """The recipes of all runs that the options name, each once. Raises ConfigError."""
    ordinary, studies = planned(args)
    runs = [*ordinary, *(run for its in studies.values() for run in its)]
    return list({run.run_id: run for run in runs}.values())


def selected(args: Namespace) -> tuple[list[str], list[int], list[int]]:
    """The recipes and studies that the options name, the patch sizes of recipes from coarse to fine [px], and the
    seeds. Raises ConfigError."""
    names = [name.strip() for name in args.recipe.split(",") if name.strip()]
    for name in names:
        check_name("recipe or study", name, {**recipes(), **STUDIES}, LISTED.replace("run.py", "sweep.py"))
    patches = cli.numbers(PATCHES if args.patch is None else args.patch, "patch")
    return names, sorted(patches, reverse=True), cli.numbers(args.seeds, "seeds")


def planned(args: Namespace) -> tuple[list[ExperimentConfig], dict[str, list[ExperimentConfig]]]:
    """The runs of the recipes that the options name, and those of each study. Raises ConfigError."""
    given, idle = cli.fields(args)
    names, patches, seeds = selected(args)
    kept = patches if args.patch is not None else []  # of a study
    varied = variants(args.vary, given)
    if args.vary and (study := next((name for name in names if name in STUDIES), "")):
        raise ConfigError(f"--vary is for recipes; the study {study} varies fields of its own: leave one of them out")
    recipe_variants = [(name, n) for name in names if name not in STUDIES for n in range(len(varied))]
    flexible = {
        (name, n) for name, n in recipe_variants if draws(resolve(name, patches[-1], given | varied[n], idle)[-1])
    }
    firsts: dict[tuple[str, int, int], list[ExperimentConfig]] = {}

    def resolved(name: str, variant: int, patch: int, seed: int) -> list[ExperimentConfig]:
        """The seed alone is replaced where it is in one place, which is fast: not in runs before this one."""
        first = firsts.get((name, variant, patch))
        if first is not None and len(first) == 1 and first[0].predecessor is None:
            return [replace(first[0], seed=seed)]
        found = resolve(name, patch, given | varied[variant] | {"seed": seed}, idle)
        firsts[name, variant, patch] = found
        return found

    ordinary = [
        run
        for seed in seeds
        for patch in patches
        for name, n in recipe_variants
        if (name, n) not in flexible or patch == patches[-1]
        for run in resolved(name, n, patch, seed)
    ]
    studies = {
        name: [run for seed in seeds for run in resolve_study(name, kept, {**given, "seed": seed}, idle)]
        for name in names
        if name in STUDIES
    }
    return ordinary, studies


def draws(config: ExperimentConfig) -> bool:
    """Whether one run learns several patch sizes."""
    return len(learned_patches(config)) > 1
