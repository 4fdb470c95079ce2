"""RunRecord: the results of one finished run. Training writes it, and analysis reads nothing else.

A results folder holds one folder per run, named by its run_id:
    config.json  record.json  curve.csv  last.ckpt  previous.ckpt  weights.pt  log.txt
No torch.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from scaling.config.experiment import ExperimentConfig
from scaling.errors import ConfigError, NewerRecordError, PluginNeededError
from scaling.runs.atomic_files import write_atomically
from scaling.runs.config_file import config_of
from scaling.runs.evaluations import Evaluation, check_evaluations, of_old_record
from scaling.runs.finite_numbers import is_number
from scaling.runs.phases import PhaseRow, check_phases

RECORD = "record.json"
CURVE = "curve.csv"
CHECKPOINT = "last.ckpt"
WEIGHTS = "weights.pt"
LOG = "log.txt"
PREDICTIONS = "predictions"  # folder of pictures, of segmentation and detection
# task: its first metric [%], and its name
HEADLINES = {"classify": ("top1", "top-1"), "segment": ("miou", "mIoU"), "detect": ("box_ap", "box AP")}
NUMBERS = ("tokens", "parameters", "flops_per_image", "peak_memory", "images_per_second", "wall_time")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run that ended."""

    run_id: str  # name of the folder: task, data, backbone, sizes, seed, and a hash of all settings
    group: str  # runs of one group differ in patch and seed only
    config: dict[str, object]  # the whole configuration, nested (ExperimentConfig.to_dict), with its schema version
    status: str  # "finished", or "failed": the loss became not finite
    test_loss: float | None  # [nats], mean over test images; None where the run failed
    # top1, top5; miou, mean_accuracy, pixel_accuracy, iou_CLASS [%]; train_loss of the last epoch [nats]; val_*: the
    # same of the images that val_split holds out; skipped_*: unreadable images [1]; of training, over the whole run:
    # grad_*, clipped_steps, noise_scale, update_ratio, embedding_rms, loss_spikes (docs/stability.md)
    metrics: dict[str, float]
    tokens: int  # patches per image
    parameters: int  # that are trained; a fixed position table is not
    flops_per_image: float  # forward, one image, 2 FLOPs per multiply-add (scaling/costs) [FLOPs]
    peak_memory: int  # above what was held before there was a model; process on a CPU, allocator on a GPU [bytes]
    images_per_second: float  # training, evaluation and set-up left out [images/s]
    wall_time: float  # over all processes of a resumed run [s]
    curve: str = CURVE  # file in the same folder (curve_logger.py): step, train_loss, test_loss, test_images ...
    class_names: list[str] = field(default_factory=list)  # by number from 0, where the data or the recipe names them
    failure: dict[str, object] = field(default_factory=dict)  # of a failed run: reason, step, lr
    versions: dict[str, str] = field(default_factory=dict)  # of packages, by name
    git_commit: str = ""  # of this code; "": not in a repository
    # processor, gpus ... (machine.machine), how it was trained (Conditions); devices used, micro_batch [images]
    machine: dict[str, object] = field(default_factory=dict)
    started: str = ""  # ISO 8601, UTC
    ended: str = ""  # ISO 8601, UTC
    # one row for each evaluation at the end (scaling/runs/evaluations.py), that of test_loss and metrics first; a
    # record from before there were rows is given one when it is loaded
    evaluations: list[Evaluation] = field(default_factory=list)
    # forward, one image, not in flops_per_image: training adds one per image; 0: no teacher, or unknown [FLOPs]
    teacher_flops_per_image: float = 0.0
    # one row for each stretch of a schedule (scaling/runs/phases.py); none for a run without a schedule
    phases: list[PhaseRow] = field(default_factory=list)

    def save(self, folder: Path) -> Path:
        """Write folder/record.json: all of it or nothing."""
        text = json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n"
        return write_atomically(folder / RECORD, text)

    def _check(self) -> None:
        """Raise ValueError for what JSON can hold and a record cannot."""
        if self.status not in ("finished", "failed"):
            raise ValueError(f"status is {self.status!r}")
        for name in ("metrics", "failure", "versions", "machine"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f"{name} is {getattr(self, name)!r}, not a mapping")
        if not (isinstance(self.class_names, list) and all(isinstance(name, str) for name in self.class_names)):
            raise ValueError(f"class_names is {self.class_names!r}, not a list of names")
        facts = {name: getattr(self, name) for name in NUMBERS}
        for name, value in {**facts, **self.metrics}.items():
            if not is_number(value):
                raise ValueError(f"{name} is {value!r}, not a finite number")
        if self.status == "finished" and not (is_number(self.test_loss) and self.test_loss >= 0):
            raise ValueError(f"a test loss of {self.test_loss!r} nats")
        check_evaluations(self.evaluations)
        check_phases(self.phases)

    @classmethod
    def load(cls, folder: Path) -> "RunRecord":
        """Read folder/record.json; fields that a newer version has added are ignored. Raises FileNotFoundError,
        NewerRecordError where a newer version has added to configurations, or ConfigError where it is not a record."""
        path = Path(folder) / RECORD
        try:
            values = json.loads(path.read_text())
            names = {f.name for f in dataclasses.fields(cls)}
            config = config_of(dict(values))  # of version 1 too
            given = {name: value for name, value in dict(values).items() if name in names}
            record = cls(**{**given, "config": config.to_dict()})
            record.__dict__["_experiment"] = config  # which the cached property would read from the dictionary
            record._check()
            if record.test_loss is not None and not record.evaluations:
                rows = of_old_record(config, record.test_loss, record.metrics)
                record = dataclasses.replace(record, evaluations=rows)
        except FileNotFoundError:
            raise
        except PluginNeededError as e:
            raise PluginNeededError(f"{path}: {e}") from e
        except NewerRecordError as e:
            raise NewerRecordError(f"{path} was written by a newer version ({e}); update this one") from e
        except (ValueError, TypeError, AttributeError, OSError, RecursionError) as e:
            raise ConfigError(f"{path} is no run record ({_short(e)}); the same command trains the run again") from e
        return record

    def experiment(self) -> ExperimentConfig:
        """The configuration of the run."""
        return self._experiment

    @cached_property
    def _experiment(self) -> ExperimentConfig:
        return ExperimentConfig.from_dict(self.config)


def _short(e: BaseException) -> str:
    return "nested too deep" if isinstance(e, RecursionError) else str(e)
