"""OptimConfig, ScheduleConfig, EvaluationConfig: AdamW, the learning rate over a run, and the reported weights."""

from dataclasses import dataclass
from typing import ClassVar

from scaling.config.fields import Bounds, check, check_fields, config_field

SHARE = Bounds(at_least=0, below=1)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW (arXiv 1711.05101), batch size, clipping and averaging of weights."""

    lr: float = config_field("peak learning rate of AdamW", 2e-3, unit="1/step", bounds=Bounds(above=0), common=True)
    lr_base_size: int | None = config_field(
        "batch size that lr is given for: lr is multiplied by global_batch_size / lr_base_size; default: no scaling",
        None,
        unit="images",
        bounds=Bounds(at_least=1),
    )
    global_batch_size: int = config_field(
        "images per optimiser step, over all devices", 64, unit="images", bounds=Bounds(at_least=1), common=True
    )
    weight_decay: float = config_field(
        "weight decay; not on biases, norms, positions, tokens, A, D, dt", 0.05, bounds=Bounds(at_least=0), common=True
    )
    layer_decay: float = config_field(
        "learning rate of a block divided by that of the next block (arXiv 2106.08254); embedding first, head last",
        1.0,
        bounds=Bounds(above=0, at_most=1),
    )
    beta1: float = config_field("AdamW: decay of the mean of gradients", 0.9, bounds=SHARE)
    beta2: float = config_field("AdamW: decay of the mean of squared gradients", 0.999, bounds=SHARE)
    max_grad_norm: float | None = config_field(
        "maximum norm of the gradient; none: no clipping", 1.0, bounds=Bounds(above=0)
    )
    model_ema_decay: float | None = config_field(
        "decay per step of an exponential moving average of the weights; default: no average",
        None,
        bounds=Bounds(above=0, below=1),
    )

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def peak_lr(self) -> float:
        """The learning rate at the end of the warm-up [1/step]."""
        return self.lr * (self.global_batch_size / self.lr_base_size if self.lr_base_size else 1.0)


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """The length of a run in passes over the training images."""

    kind: ClassVar[str] = "epochs"
    epochs: int = config_field(
        "passes over the training images; 0: none",
        10,
        unit="epochs",
        bounds=Bounds(at_least=0),
        common=True,
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The length of a run in optimiser steps. epochs: how many epochs these are taken for, which milestones and the
    number of evaluations in a plan refer to."""

    kind: ClassVar[str] = "steps"
    max_steps: int = config_field(
        "optimiser steps of the whole run, instead of epochs; the warm-up is then warmup_steps, or none",
        unit="steps",
        bounds=Bounds(at_least=1),
    )
    epochs: int = config_field(
        "epochs that max_steps amount to", 10, unit="epochs", bounds=Bounds(at_least=1), retained=True, common=True
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Half a cosine (arXiv 1608.03983) from the peak to min_lr."""

    kind: ClassVar[str] = "cosine"
    min_lr: float = config_field(
        "learning rate at the end of cosine and linear, as timm's --min-lr: scaled by layer_decay, not by lr_base_size",
        0.0,
        unit="1/step",
        bounds=Bounds(at_least=0),
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A straight line from the peak to min_lr (mmseg's poly at power 1)."""

    kind: ClassVar[str] = "linear"
    min_lr: float = config_field("learning rate at the end", 0.0, unit="1/step", bounds=Bounds(at_least=0))

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class MultiStep:
    """A tenth of the learning rate from each milestone on."""

    kind: ClassVar[str] = "multistep"
    milestones: tuple[int, ...] = config_field(
        "multistep: epochs after which the learning rate is a tenth, as 8,11", unit="epochs"
    )

    def __post_init__(self) -> None:
        check_fields(self)
        rule = "must be whole numbers of epochs, ascending, separated by commas, such as 8,11"
        ascending = list(self.milestones) == sorted(set(self.milestones)) and min(self.milestones, default=-1) >= 0
        check(ascending, "milestones", ",".join(map(str, self.milestones)) or "''", rule)


LENGTHS: dict[str, type] = {c.kind: c for c in (Epochs, Steps)}
LR_SCHEDULES: dict[str, type] = {c.kind: c for c in (Cosine, Linear, MultiStep)}


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The length of a run and its learning rate."""

    length: Epochs | Steps = config_field(
        "length of a run, in epochs or in steps", Epochs(), registry=LENGTHS, by_leaf=True
    )
    warmup_epochs: float = config_field(
        "linear warm-up of the learning rate", 1.0, unit="epochs", bounds=Bounds(at_least=0), common=True
    )
    warmup_steps: int | None = config_field(
        "linear warm-up in steps, instead of warmup_epochs", None, unit="steps", bounds=Bounds(at_least=1)
    )
    lr_schedule: Cosine | Linear | MultiStep = config_field(
        "learning rate after the warm-up: cosine (arXiv 1608.03983), linear, or multistep (a tenth from each milestone "
        "on)",
        Cosine(),
        registry=LR_SCHEDULES,
    )

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def epochs(self) -> int:
        """Epochs of the run; of one whose length is in steps, what these are taken for."""
        return self.length.epochs

    @property
    def max_steps(self) -> int | None:
        """Optimiser steps of a run whose length is in steps; None for epochs."""
        return getattr(self.length, "max_steps", None)

    @property
    def min_lr(self) -> float:
        """The learning rate at the end [1/step]; 0 for multistep."""
        return getattr(self.lr_schedule, "min_lr", 0.0)

    @property
    def milestones(self) -> tuple[int, ...]:
        """Epochs after which the learning rate is a tenth; none but for multistep."""
        return getattr(self.lr_schedule, "milestones", ())


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """When a run is evaluated, and with which weights."""

    val_interval: int | None = config_field(
        "epochs between evaluations for the learning curve; default: at the end only",
        None,
        unit="epochs",
        bounds=Bounds(at_least=1),
        common=True,
    )
    eval_weights: str = config_field(
        "weights whose test loss is reported and enters the laws: raw, or ema (averaged); the record has both",
        "raw",
        choices=("raw", "ema"),
    )
    eval_patches: tuple[int, ...] = config_field(
        "patch sizes that the finished model is evaluated at besides those that training draws, separated by commas; "
        "with --patch-embed flexible only",
        (),
        unit="px",
    )
    eval_img_sizes: tuple[int, ...] = config_field(
        "image sizes that the finished model is evaluated at besides img_size, separated by commas: the square root of "
        "an image's area, or what size_measure names; with --packing sequences only",
        (),
        unit="px",
    )

    def __post_init__(self) -> None:
        check_fields(self)
