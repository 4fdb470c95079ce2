"""A sweep: every recipe at every patch size and seed, each run in a process of its own, then the laws. Or a study: the
runs of one of the paper's ablations, then its table and figure.

python experiments/sweep.py shapes.deit_nano,shapes.adventurer_nano --patch 16,8,4,2,1 --results DIR [--dry-run]
python experiments/sweep.py shapes.table5 --results DIR
Finished runs are skipped and cut-off ones resumed, so the same command goes on after any interruption.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import time
from collections import deque
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from analysis.report.output import print_wrapped
from experiments.cli import arguments as cli
from experiments.cli.data_check import check_data
from experiments.launch.eta import Clock
from experiments.launch.progress_display import Console, told_apart, what_else
from experiments.launch.worker import Outcome, child_main, outcome_of
from experiments.stages import waits_for
from experiments.studies import STUDIES, last_stages
from experiments.studies import resolve as resolve_study
from scaling.costs.token_limit import check_tokens
from scaling.engine.callbacks.signals import as_ctrl_c
from scaling.engine.loggers import logged_nothing, names_of
from scaling.errors import ConfigError, NewerRecordError
from scaling.recipe import Recipe, check_name
from scaling.runs.events import Event
from scaling.runs.identity import folder_of, recorded_id, settled
from scaling.runs.outputs import check_outputs
from scaling.runs.predecessor import check_start
from scaling.runs.record import CHECKPOINT, LOG, RunRecord

if TYPE_CHECKING:
    from analysis.records.run_set import RunSet

STOP_SECONDS = 60  # that a run has to save itself after Ctrl-C
PATCHES = "16,8,4,2,1"  # of recipes, where nobody says otherwise [px]
LIMIT = 24.0  # hours of one device that a sweep begins without being told to
LISTS = ("patch", "seed")  # fields that a sweep has its own options for


def arguments(argv: list[str]) -> tuple[list[Recipe], cli.Namespace]:
    """The recipes of all runs, and all options. Raises ConfigError."""
    p = parser(
        "sweep.py",
        "Train every recipe at every patch size, then fit the laws; or the runs of a study, then show what it asks.",
    )
    p.add_argument("--dry-run", action="store_true", help="say what would be run, and run nothing")
    p.add_argument("--yes", action="store_true", help="begin, however long the plan is")
    p.add_argument("--limit", type=float, default=LIMIT, help="hours of one device above which a plan needs --yes [h]")
    args = p.parse_args(argv)
    return runs_of(args), args


def parser(program: str, what: str) -> cli.Parser:
    """The options that say which runs a sweep has, for sweep.py and plan.py."""
    p = cli.parser(
        program,
        what,
        f"recipes and studies, separated by commas. Recipes: {', '.join(cli.recipes())}. Studies, which are ablations "
        f"of arXiv 2502.03738 (experiments/studies.py says which): {', '.join(STUDIES)}",
    )
    p.add_argument(
        "--patch",
        type=str,
        default=None,
        help=f"patch sizes, separated by commas [px]; recipes: {PATCHES} unless said; studies: keep only these",
    )
    p.add_argument("--seeds", type=str, default="0", help="seeds, separated by commas; several give the seed spread")
    p.add_argument("--jobs", type=int, default=0, help="runs at a time; 0: two on a CPU of two cores or more, else one")
    cli.add_fields(p, leave_out=LISTS)
    return p


def runs_of(args: cli.Namespace) -> list[Recipe]:
    """The recipes of all runs that the options name, each once. Raises ConfigError."""
    ordinary, studies = planned(args)
    runs = [*ordinary, *(run for its in studies.values() for run in its)]
    return list({run.run_id: run for run in runs}.values())


def planned(args: cli.Namespace) -> tuple[list[Recipe], dict[str, list[Recipe]]]:
    """The runs of the recipes that the options name, and those of each study. Raises ConfigError."""
    given = cli.overrides(args, leave_out=LISTS)
    names = [name.strip() for name in args.recipe.split(",") if name.strip()]
    for name in names:
        check_name("recipe or study", name, {**cli.recipes(), **STUDIES}, cli.LISTED.replace("run.py", "sweep.py"))
    kept = cli.numbers(args.patch, "patch") if args.patch is not None else []
    seeds = cli.numbers(args.seeds, "seeds")
    ordinary = [
        run
        for seed in seeds
        for patch in sorted(kept or cli.numbers(PATCHES, "patch"), reverse=True)
        for name in names
        if name not in STUDIES
        for run in cli.resolve(name, patch, {**given, "seed": seed})
    ]
    studies = {
        name: [run for seed in seeds for run in resolve_study(name, kept, {**given, "seed": seed})]
        for name in names
        if name in STUDIES
    }
    return ordinary, studies


def main(argv: list[str] | None = None) -> int:
    runs, args = arguments(sys.argv[1:] if argv is None else argv)
    results = Path(args.results)
    settings = {**cli.settings(args), "jobs": jobs(args.jobs, args.accelerator)}
    if args.print_recipe:
        print("\n---\n".join(cli.as_yaml(run) for run in runs))
        return 0
    for run in runs:
        check_tokens(run)  # else the sweep would find it out at that run, and a dry run never
        check_outputs(run, args.save_predictions, args.export_coco)
    if args.dry_run:
        for run in settled(runs, results, read=False).values():
            folder = folder_of(run, results)
            state = recorded(folder)
            begun = "resume" if (folder / CHECKPOINT).exists() else "run"
            print(f"{state.text if state else begun:6} {run.run_id} {what_else(run)}".rstrip())
        return 0
    as_ctrl_c()
    ours = {run.run_id for run in runs}
    for run in runs:
        if waits_for(run) not in ours:  # else it is made here; a run that starts from none passes
            check_start(run, results)
    named = settled(runs, results, say=print)  # before the plan, which is of what is left: runs are found by content
    runs = list({run.run_id: run for run in named.values()}.values())
    if any(recorded(folder_of(run, results)) is None for run in runs):
        cli.check_writable(results)
    expected = say_plan(runs, args, settings)
    for line in check_data(runs, results):
        print_wrapped(line)
    with Console(names=told_apart(runs)) as console:
        outcomes = run_all(runs, results, settings, console, expected)
    ordinary, studies = planned(args)
    ordinary, studies = (
        [named[run.run_id] for run in ordinary],
        {name: [named[run.run_id] for run in its] for name, its in studies.items()},
    )
    show(ordinary, studies, results, {run_id for run_id, outcome in outcomes.items() if outcome.status == 0})
    return report_failures({run_id: o for run_id, o in outcomes.items() if o.status}, results, console)


def say_plan(runs: list[Recipe], args: cli.Namespace, settings: dict[str, Any]) -> dict[str, float]:
    """Print what the runs without a record will take. Returns what each will train, by run_id [s]; nan: not known.

    Raises ConfigError where all of it is above the limit, without --yes."""
    from experiments.planning import cost_estimate, plan_report

    left = [run for run in runs if recorded(folder_of(run, Path(args.results))) is None]
    if not left:
        return {}
    try:
        on = cost_estimate.device_of(settings, Path(args.results))
    except ConfigError as e:
        print(f"no plan: {e}")
        return {}
    found = cost_estimate.chains(left, on)
    its = [one for chain in found for one in chain.runs]
    plan_report.print_lines([*plan_report.sweep_table(found, on), *plan_report.notes(its, on, what="left to do")])
    hours = cost_estimate.total(its)
    if not (hours <= args.limit or args.yes):
        took = f"{plan_report.number(hours)} {plan_report.unit_of(on)} on {on.name}"
        raise ConfigError(
            f"the plan is {took}, above the limit of {args.limit:g} h; --yes begins it, --limit sets another, and "
            "larger patches or fewer --epochs take less"
        )
    return {one.run.run_id: 3600 * one.hours / max(1, cost_estimate.conditions(one.run, on).threads) for one in its}


def jobs(asked: int, accelerator: str) -> int:
    """Runs at a time. On a CPU two runs of one thread each get through a sweep faster than one of two threads. A GPU is
    for one run, whose speed and memory are then its own."""
    if asked < 0:
        raise ConfigError(f"jobs {asked} must be 0 or more")
    cpu = accelerator == "cpu" or (accelerator == "auto" and sys.platform == "linux" and not _has_gpu())
    return asked or (2 if cpu and (os.cpu_count() or 1) > 1 else 1)


def _has_gpu() -> bool:
    """By the devices of NVIDIA's and AMD's drivers: asking torch would cost its import."""
    return any(Path(device).exists() for device in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd"))


class Child(NamedTuple):
    """A run that is being trained in a process of its own: what kills it leaves the sweep alive."""

    run: Recipe
    process: Any
    began: float


def run_all(
    runs: list[Recipe],
    results: Path,
    settings: dict[str, Any],
    console: Console,
    expected: dict[str, float] | None = None,
) -> dict[str, Outcome]:
    """Outcomes by run_id. settings["jobs"] at a time; what another process is training is waited for at the end.
    expected: what each is to train, as say_plan gives it [s].

    Raises ConfigError where the first run cannot begin: then nothing has been written.
    """
    context = _context()
    clock = Clock({run_id: seconds / settings["jobs"] for run_id, seconds in (expected or {}).items()})
    outcomes: dict[str, Outcome] = {}
    ours = {run.run_id for run in runs}
    waiting = deque((run, False) for run in runs)  # and whether to wait for another process that has it
    active: dict[Connection, Child] = {}
    try:
        while waiting or active:
            while len(active) < settings["jobs"] and (next_up := ready(waiting, outcomes, ours)):
                run, wait = next_up
                outcome = recorded(folder_of(run, results)) or orphaned(run, outcomes)
                if outcome is not None:
                    said = "have" if outcome.status == 0 else "FAIL"
                    console.line(f"{said} {console.name(run.run_id)}: {outcome.text}")
                    outcomes[run.run_id] = outcome
                    if outcome.status == 0 and names_of(settings["logger"]):
                        console.note(logged_nothing(settings["logger"]))
                    continue
                console.sweep(len(outcomes), len(runs), clock.eta([r for r in runs if r.run_id not in outcomes]))
                console.begin(run.run_id)
                active |= [start(context, run, results, settings, wait)]
            heard = multiprocessing.connection.wait(list(active)) if active else ()
            for pipe, child in [(pipe, child) for pipe, child in active.items() if pipe in heard]:
                item = receive(pipe, child)
                if not isinstance(item, Outcome):
                    console.show(child.run.run_id, item)
                    continue
                del active[pipe]
                child.process.join(STOP_SECONDS)
                if item.status == 2 and not outcomes:
                    raise ConfigError(item.text)
                console.finish(child.run.run_id, item.status, item.text)
                if item.elsewhere:
                    waiting.append((child.run, True))
                    continue
                if item.status == 0:
                    clock.add(child.run, (time.monotonic() - child.began) / settings["jobs"])
                outcomes[child.run.run_id] = item
                if item.status == 130:
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        console.line("stopping after this step, with a checkpoint")
        raise
    finally:
        stop(list(active.values()))
    console.sweep(len(outcomes), len(runs), 0.0)
    return outcomes


def ready(
    waiting: deque[tuple[Recipe, bool]], outcomes: dict[str, Outcome], ours: set[str]
) -> tuple[Recipe, bool] | None:
    """Take the first run whose earlier stage, if it is one of ours, has ended; None where all have to wait."""
    for item in waiting:
        before = waits_for(item[0])
        if before in outcomes or before not in ours:
            waiting.remove(item)
            return item
    return None


def orphaned(run: Recipe, outcomes: dict[str, Outcome]) -> Outcome | None:
    """The outcome of a run whose earlier stage has failed in this sweep."""
    before = waits_for(run)
    failed = before in outcomes and outcomes[before].status != 0
    return Outcome(1, f"not begun: its earlier stage, {before}, failed") if failed else None


def start(context: Any, run: Recipe, results: Path, settings: dict[str, Any], wait: bool) -> tuple[Connection, Child]:
    """A process for one run, and the pipe on which it tells how it goes."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=child_main, args=(run.to_dict(), str(results), settings, wait, theirs))
    process.start()
    theirs.close()
    return ours, Child(run, process, time.monotonic())


def receive(pipe: Connection, child: Child) -> Event | Outcome:
    """The child's next word; an outcome for it where it died without one: killed, out of memory, a compiled crash."""
    try:
        return pipe.recv()
    except EOFError:
        child.process.join()
        return Outcome(1, _death(child.process.exitcode))


def stop(children: list[Child]) -> None:
    """Ask children to save themselves and end; a second Ctrl-C to one that had the first too does no harm."""
    for child in children:
        child.process.terminate()
    for child in children:
        child.process.join(STOP_SECONDS)


def recorded(folder: Path) -> Outcome | None:
    """What the folder's record says; None where the run is to be done, or done again: of a damaged record it says so
    itself then."""
    try:
        return outcome_of(RunRecord.load(folder))
    except FileNotFoundError:
        return None
    except NewerRecordError as e:
        return Outcome(1, str(e))
    except ConfigError:
        return None


def show(ordinary: list[Recipe], studies: dict[str, list[Recipe]], results: Path, done: set[str]) -> None:
    """The table, the laws and the plot of the recipes' runs, and each study's table and figure, where any are done.
    Where nothing can be written any more, as in an archive, they are shown all the same, and it is said."""
    wanted = {name: last_stages(runs) for name, runs in studies.items()}
    laws = [run.run_id for run in ordinary]
    if not done.intersection([*laws, *(run.run_id for its in wanted.values() for run in its)]):
        return
    from analysis.records.run_set import load
    from analysis.report.law_report import law_input
    from analysis.report.law_report import report as report_laws
    from analysis.report.output import NotWritten
    from analysis.report.sweep_table import print_sweep
    from analysis.studies.ablations import report
    from analysis.studies.study_table import StudyRun

    loaded = load(results)
    every = [*ordinary, *(run for its in studies.values() for run in its)]
    called = {run.run_id: recorded_id(run, results) for run in every}
    if done.intersection(laws):
        its = loaded.select(loaded.frame["run_id"].isin([called[run_id] for run_id in laws]))
        print_sweep(its.frame)
        try:
            report_laws(law_input(with_others(loaded, its)), results / "analysis")
        except NotWritten as e:
            elsewhere = f"python analysis/fit_laws.py --results {results} --out DIR"
            print_wrapped(f"laws and figures are not written: {e.reason}; `{elsewhere}` writes them elsewhere")
    for name, last in wanted.items():
        if done.intersection(run.run_id for run in last):
            planned = [StudyRun(called[run.run_id], run.backbone, run.patch) for run in last]
            try:
                report(loaded, name, planned, results / "analysis")
            except NotWritten as e:
                print_wrapped(f"{name}: table and figure are not written: {e.reason}")


def with_others(runs: "RunSet", its: "RunSet") -> "RunSet":
    """All runs of this sweep's groups, and of the others in the folder that a law can be fitted to: what is written to
    analysis/ is of all that was trained, whichever sweep was the last."""
    from analysis.records.groups import FEWEST_PATCHES

    patches = runs.finished.groupby("group")["patch"].nunique()
    enough = set(patches[patches >= FEWEST_PATCHES].index)
    return runs.select(runs.frame["group"].isin(enough | set(its.frame["group"])))


def report_failures(failed: dict[str, Outcome], results: Path, console: Console) -> int:
    """Say which runs failed, with the last lines of their logs. Returns the exit status."""
    for run_id, outcome in failed.items():
        console.line(f"FAILED {run_id}")
        console.line(f"    {outcome.text}")
        for line in last_lines(results / run_id / LOG):
            console.line(f"    {line}")
    if failed:
        console.line(f"{len(failed)} run(s) failed; the same command tries again those that have no record")
    return 1 if failed else 0


def last_lines(log: Path, count: int = 5) -> list[str]:
    try:
        return log.read_text(errors="replace").splitlines()[-count:]
    except OSError:
        return []


def _context() -> Any:
    """Processes that start from one in which torch, lightning and timm are imported already: seconds saved a run."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["scaling.engine.train"])
    return context


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{hint}; the same command resumes it"
    return f"its process ended with status {exit_code} and said nothing; the same command resumes it"


if __name__ == "__main__":
    cli.guarded(main)
