"""How the name of a study and options become runs: the study's own, with the fields of the options in all stages."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from experiments.cli.stage_options import resampled, stage_options
from experiments.stages import last_stages
from experiments.studies.catalogue import STUDIES
from scaling.config.edit import edit, edit_where, value_of
from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import FromRun
from scaling.errors import ConfigError

# Fields that an option chooses among, where a study has several.
VARIED = ("backbone", "img_size", "embed_patch_size", "head", "resize", "patch_embed", "embed_init", "pos_embed")
# Fields that runs which evaluate another run, or finetune it for some steps, do not take over.
LENGTH = ("epochs", "max_steps", "warmup_epochs", "warmup_steps")


def resolve(
    name: str, patches: Sequence[int], given: Mapping[str, object], idle: Collection[str] = frozenset()
) -> list[ExperimentConfig]:
    """All stages of a study's runs with the fields in given replaced. patches [px]: keep these only; empty: all.

    Of a field in VARIED that differs between its runs, given keeps the runs that have it. A run of another task that
    they start from is no stage of theirs: it stays as it is; initial weights in given replace it. Raises
    ConfigError."""
    study = STUDIES[name]
    options = stage_options(study, given)
    stage, first, shared = options.stage, options.first, dict(options.shared)
    runs = last_stages(study(**options.image))
    choices: dict[str, list[object]] = {"patch_size": list(patches)} if patches else {}
    for field in VARIED:
        if field in shared and len({value_of(run, field) for run in runs}) > 1:
            choices[field] = [shared.pop(field)]
    for field, wanted in choices.items():
        there = dict.fromkeys(str(value_of(run, field)) for run in runs)
        runs = [run for run in runs if value_of(run, field) in wanted]
        if not runs:
            asked = ", ".join(map(str, wanted))
            raise ConfigError(f"study {name} has no run of {field} {asked}; there is: {', '.join(there)}")
    stages = [before for run in runs for before in _stages(_changed(run, shared, idle, {} if stage else first))]
    kept = [run for run in stages if stage in (None, run.stage)]
    if not kept:
        known = ", ".join(sorted({run.stage or "" for run in stages} - {""})) or "none"
        raise ConfigError(f"there is no stage {stage!r} in study {name}; its stages: {known}")
    if stage and first:  # instead of those of the earlier stage
        kept = [edit(edit(run, init="scratch"), **first) for run in kept]
    kept = resampled(kept, options.resampling, required="pos_embed_resampling" not in idle)
    return list({run.run_id: run for run in kept}.values())


def _earlier(run: ExperimentConfig) -> ExperimentConfig | None:
    """The stage before this one. A run of another task, on whose backbone it stands, is none."""
    before = run.predecessor
    return before if before and before.task.kind == run.task.kind else None


def _stages(run: ExperimentConfig) -> list[ExperimentConfig]:
    """A run and all stages before it, the first one first."""
    before = _earlier(run)
    return [*(_stages(before) if before else []), run]


def _own_length(run: ExperimentConfig) -> bool:
    """Whether the length of a run is what the study varies: none, or some steps from the weights of another run."""
    return run.schedule.epochs == 0 or (_earlier(run) is not None and run.schedule.max_steps is not None)


def _changed(
    run: ExperimentConfig, given: dict[str, object], idle: Collection[str], first: dict[str, object]
) -> ExperimentConfig:
    """The run with other fields in all of its stages. first: the initial weights of the first one, where set."""
    before = _earlier(run)
    mine = {name: value for name, value in given.items() if name not in LENGTH or not _own_length(run)}
    changed = edit_where(edit(run, init="scratch"), mine, idle)
    if before is not None:
        assert isinstance(run.init, FromRun)  # of a run with a predecessor
        return edit(changed, init=replace(run.init, config=_changed(before, given, idle, first)))
    return edit(changed, **first) if first else edit(changed, init=run.init)
