"""ExperimentConfig: the immutable, validated configuration of one training run; its hash is the run ID.

A tree of frozen dataclasses, each of which checks itself; what concerns several parts is in checks.py. A variant is
`edit(config, patch_size=4)` (edit.py). What depends on the machine is RuntimeConfig (runtime.py). No torch.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from scaling.config import canonical, checks, identity, tree
from scaling.config.data import DataConfig
from scaling.config.fields import Bounds, check_fields, config_field
from scaling.config.initialization import INITS, FromFile, FromRun, FromTeacher, FromTimm, Scratch
from scaling.config.model import ModelConfig
from scaling.config.objectives import OBJECTIVES, Distillation, Supervised
from scaling.config.optim import EvaluationConfig, OptimConfig, ScheduleConfig
from scaling.config.packing import PACKINGS, NoPacking, SequencePacking
from scaling.config.plugin import PluginConfig
from scaling.config.plugin_files import is_loaded, needed
from scaling.config.step_shapes import STEP_SHAPES, FixedShape, PatchSchedule, RandomPatch
from scaling.config.task import TASKS, Classification, Detection, Segmentation
from scaling.errors import ConfigError, PluginNeededError

STAGES = ("pretrain", "intermediate", "finetune")
PRECISIONS = ("auto", "32", "bf16-mixed")


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """One training run. Equality ignores where data and weights are on this machine."""

    model: ModelConfig = config_field("backbone and input", ModelConfig())
    data: DataConfig = config_field("images", DataConfig())
    task: Classification | Segmentation | Detection = config_field(
        "classify, segment or detect", Classification(), registry=TASKS
    )
    optim: OptimConfig = config_field("optimiser", OptimConfig())
    schedule: ScheduleConfig = config_field("length and learning rate", ScheduleConfig())
    evaluation: EvaluationConfig = config_field("evaluation", EvaluationConfig())
    init: Scratch | FromFile | FromTimm | FromRun | FromTeacher = config_field(
        "initial weights", Scratch(), registry=INITS, by_leaf=True
    )
    objectives: tuple[Supervised | Distillation, ...] = config_field(
        "terms of the training loss", (Supervised(),), registry=OBJECTIVES, by_leaf=True
    )
    step_shapes: FixedShape | RandomPatch | PatchSchedule = config_field(
        "patch size and image size of every step", FixedShape(), registry=STEP_SHAPES, by_leaf=True
    )
    packing: NoPacking | SequencePacking = config_field(
        "layout of images in a batch: none (one per row, all of one size) or sequences (rows of several images of any "
        "sizes; arXiv 2307.06304)",
        NoPacking(),
        registry=PACKINGS,
        by_leaf=True,
    )
    plugin: PluginConfig = config_field("code outside this repository", PluginConfig())
    seed: int = config_field(
        "seed of weights, order of images and augmentation", 0, bounds=Bounds(at_least=0, below=2**32), common=True
    )
    stage: str | None = config_field(
        "stage of a multi-stage recipe: pretrain, intermediate, finetune; default: all of them",
        None,
        choices=STAGES,
        common=True,
    )
    precision: str = config_field(
        "arithmetic: auto (bf16-mixed on a GPU that has it, else 32), 32, bf16-mixed",
        "auto",
        choices=PRECISIONS,
        common=True,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        checks.check_config(self)

    @cached_property
    def canonical(self) -> str:
        """The JSON text that run_id and group are hashes of (canonical.py)."""
        return canonical.canonical(self)

    @cached_property
    def run_id(self) -> str:
        """Readable and unique: task-data-[stage-]backbone-px-patch-seed-hash."""
        return identity.run_id(self)

    @cached_property
    def group(self) -> str:
        """run_id without patch size and seed: one scaling law is fitted to the runs of a group."""
        return identity.group_id(self)

    def to_dict(self) -> dict[str, object]:
        """All fields, nested, with the schema version (tree.py)."""
        return tree.to_dict(self)

    @classmethod
    def from_dict(cls, values: object) -> "ExperimentConfig":
        """The inverse of to_dict; fields that are missing have their defaults. Raises ConfigError;
        PluginNeededError where it cannot be read without a plug-in that is not loaded."""
        try:
            return tree.from_dict(cls, values)
        except ConfigError as e:
            if (plugin := _plugin_of(values)) is None or is_loaded(plugin):
                raise
            raise PluginNeededError(needed(str(plugin.recipes))) from e

    @property
    def predecessor(self) -> "ExperimentConfig | None":
        """The run whose weights this one starts from."""
        return self.init.config if isinstance(self.init, FromRun) else None

    @property
    def weights_digest(self) -> str | None:
        """Fingerprint of the file of initial weights, where there is one and it is known."""
        return self.init.weights_digest if isinstance(self.init, FromFile) else None

    @property
    def distillation(self) -> Distillation | None:
        """The objective with a teacher, where there is one."""
        return next((one for one in self.objectives if isinstance(one, Distillation)), None)

    @property
    def classification(self) -> Classification:
        """The task. Raises ConfigError where it is another one; so do segmentation and detection."""
        return _of_kind(self.task, Classification)

    @property
    def segmentation(self) -> Segmentation:
        return _of_kind(self.task, Segmentation)

    @property
    def detection(self) -> Detection:
        return _of_kind(self.task, Detection)


def _plugin_of(values: object) -> PluginConfig | None:
    """The plug-in that the dictionary of a configuration was made with."""
    part = values.get("plugin") if isinstance(values, dict) else None
    if not isinstance(part, dict) or part.get("recipes_digest") is None:
        return None
    return tree.from_dict(PluginConfig, part)


Task = TypeVar("Task", Classification, Segmentation, Detection)


def _of_kind(task: Classification | Segmentation | Detection, kind: type[Task]) -> Task:
    if not isinstance(task, kind):
        raise ConfigError(f"the task is {task.kind}, not {kind.kind}")
    return task
