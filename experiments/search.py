"""The best values of some fields at every patch size, by Optuna and the loss on held-out training images.

python experiments/search.py shapes.deit_nano --patch 8,4 --seeds 0,1 --vary lr=1e-4..1e-2 --vary weight_decay=0,0.3
A trial's value is the mean loss of its seeds on held-out images; the same command finds finished runs and continues.
"""

import re
import sys
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NoReturn

from analysis.report.output import write_files
from experiments import sweep
from experiments.cli import arguments as cli
from experiments.cli.resolve import resolve
from experiments.cli.sweep_options import draws, parser, selected
from experiments.cli.varied_fields import Range, Space, check_values, ranges
from experiments.launch.local import with_parallel_runs
from experiments.launch.progress_display import Console, told_apart
from experiments.launch.train_all import train_all
from experiments.stages import last_stages
from scaling.config.edit import value_of
from scaling.config.experiment import ExperimentConfig
from scaling.errors import ConfigError
from scaling.runs.identity import folder_of
from scaling.runs.record import RunRecord
from scaling.runs.stop_signals import as_ctrl_c

if TYPE_CHECKING:
    import optuna

ROUND = 4  # trials that are proposed together; another number makes another search
HELD_OUT = 0.1  # of the training images, for a recipe that holds none out
Place = tuple[str, int]  # a recipe and a patch size [px], searched on their own


def main(argv: list[str] | None = None) -> int:
    p = parser("search.py", "Search the best values of the fields of --vary for each patch size.")
    p.add_argument("--trials", type=int, default=20, help="of each recipe at each patch size (default: 20)")
    sweep.add_limit(p)
    args = p.parse_args(sys.argv[1:] if argv is None else argv)
    names, patches, seeds = selected(args)
    given, idle = cli.fields(args)
    space = ranges(args.vary, given)
    if not space or "val_split" in space or given.get("val_split") == 0:
        raise ConfigError("a search needs fields, as --vary lr=1e-4..1e-2, and a --val-split above 0 to choose by")
    if args.trials < 1:
        raise ConfigError(f"--trials {args.trials} must be 1 or more")
    try:
        from optuna.trial import TrialState
    except ModuleNotFoundError:
        raise ConfigError("a search needs a package that is not installed: pip install -e '.[search]'") from None
    results, settings = Path(args.results), with_parallel_runs(cli.runtime(args))

    def at(place: Place, its: Mapping[str, object]) -> list[ExperimentConfig]:
        runs = resolve(*place, {**given, **its}, idle)
        sweep.check_possible(runs, settings)
        return runs

    own = {(name, patch): at((name, patch), {})[-1] for name in names for patch in patches}
    places = [place for place, run in own.items() if place[1] == patches[-1] or not draws(run)]
    check_values(space, [partial(at, place) for place in places])
    studies = {place: _study(own[place], space) for place in places}

    def proposed(place: Place) -> tuple["optuna.Trial", list[ExperimentConfig]]:
        """A trial, and all stages of all its seeds; none where the recipe cannot have the values."""
        trial = studies[place].ask()
        its = {"val_split": own[place].data.val_split or HELD_OUT, **_suggested(trial, space)}
        try:
            return trial, [run for seed in seeds for run in at(place, {**its, "seed": seed})]
        except ConfigError as e:
            trial.set_user_attr("failure", str(e))
            return trial, []

    as_ctrl_c()
    with Console() as console:
        for begin in range(0, args.trials, ROUND):
            asked = [(place, *proposed(place)) for place in places for _ in range(min(ROUND, args.trials - begin))]
            more = max(0, args.trials - begin - ROUND) * len(places) * len(seeds)
            named, todo, expected = sweep.prepared([r for *_, its in asked for r in its], args, settings, "local", more)
            args.yes = args.yes or bool(expected)  # the limit is for all that is left at the first runs
            console.names = told_apart(todo)
            outcomes = train_all(todo, results, settings, console, expected, "local") if todo else {}
            for place, trial, runs in asked:
                ours = [named[run.run_id] for run in runs]
                failed = [outcomes[run.run_id].text for run in ours if outcomes[run.run_id].status]
                if failed or not ours:
                    trial.set_user_attr("failure", failed[0] if failed else trial.user_attrs["failure"])
                    studies[place].tell(trial, state=TrialState.FAIL)
                else:
                    records = [RunRecord.load(folder_of(run, results)) for run in last_stages(ours)]
                    trial.set_user_attr("test_loss", fmean(record.test_loss or 0.0 for record in records))
                    studies[place].tell(trial, fmean(record.metrics["val_loss"] for record in records))
    return _report(studies, results / "analysis")


def _study(recipe: ExperimentConfig, space: Space) -> "optuna.Study":
    """Its first trial has the values of the recipe, as far as they are in the space."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():  # version 4 calls both arguments experimental
        warnings.simplefilter("ignore")
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, multivariate=True, constant_liar=True))
    own = {name: value_of(recipe, name) for name in space}
    study.enqueue_trial({name: value for name, value in own.items() if value in space[name]})
    return study


def _suggested(trial: "optuna.Trial", space: Space) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, its in space.items():
        if not isinstance(its, Range):
            fields[name] = trial.suggest_categorical(name, its)  # type: ignore[arg-type]  # of simple types
        else:
            suggest = trial.suggest_int if its.whole else trial.suggest_float
            fields[name] = suggest(name, its.low, its.high, log=its.log)  # type: ignore[arg-type]  # ints, then
    return fields


def _report(studies: Mapping[Place, "optuna.Study"], out: Path) -> int:
    """Print the best trial of each place and write all trials. Returns the exit status: 1 where a place has none."""
    import pandas as pd

    from analysis.report.sweep_table import render_table

    parts = {place: its.trials_dataframe(("number", "params", "value", "user_attrs")) for place, its in studies.items()}
    table = pd.concat(parts, names=["recipe", "patch"]).reset_index([0, 1])
    table = table.rename(columns={"number": "trial", "value": "val_loss"})
    table.columns = [re.sub("^(params|user_attrs)_", "", name) for name in table]
    best = table.dropna(subset="val_loss").sort_values("val_loss", kind="stable").drop_duplicates(["recipe", "patch"])
    shown = best.sort_values(["recipe", "patch"], ascending=[True, False]).drop(columns="failure", errors="ignore")
    shown = shown.map(lambda cell: f"{cell:.4g}" if isinstance(cell, float) else str(cell))
    render_table(shown, "best trials by held-out loss, means over seeds [nats]")
    for path in write_files(out, {"search.csv": table.to_csv(index=False).encode()}):
        print(f"wrote {path}")
    return int(len(best) < len(studies))


def program() -> NoReturn:
    cli.guarded(main)  # the console script patch-search


if __name__ == "__main__":
    program()
