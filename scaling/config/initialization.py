"""Source of the initial weights of the backbone: none, a file, timm, another run, or the teacher of distillation.

A file is identified by the fingerprint of its contents; its path is no part of a run. FromRun holds the whole
configuration of the run that must be finished before this one.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from scaling.config.data import check_digest
from scaling.config.fields import check, check_fields, config_field
from scaling.config.model import TIMM
from scaling.config.patch_embeds import RESIZE_METHODS

if TYPE_CHECKING:
    from scaling.config.experiment import ExperimentConfig

RESAMPLINGS = ("aligned", "bilinear", "released")


def _resampling(retained: bool = False) -> str:
    return config_field(
        "resampling of the initial weights' position embedding to another grid: aligned (bicubic), bilinear, or "
        "released (bicubic as in the released Adventurer code: the first token is taken for the class token, although "
        "that is the last)",
        "aligned",
        choices=RESAMPLINGS,
        retained=retained,
    )


def _load_head() -> bool:
    return config_field(
        "load the classifier of the initial weights too: the data must have its classes, by the same numbers", False
    )


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """Random initial weights, from the seed. pos_embed_resampling has no effect here, and is part of the run IDs of
    version 1."""

    kind: ClassVar[str] = "scratch"
    source: ClassVar[None] = None
    pos_embed_resampling: str = _resampling(retained=True)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class FromFile:
    """Weights of a file here, at an https address or on the Hugging Face hub (hf:NAME/FILE)."""

    kind: ClassVar[str] = "file"
    initial_checkpoint: str = config_field(
        "file of initial weights: .pth, .safetensors or .npz (of JAX); a path, https://... or hf:NAME/FILE",
        location=True,
        common=True,
    )
    weights_digest: str | None = config_field(
        "fingerprint of the contents of the file; identifies it instead of its path",
        None,
        found=True,
        follows="initial_checkpoint",
    )
    pos_embed_resampling: str = _resampling()
    load_head: bool = _load_head()

    def __post_init__(self) -> None:
        check_fields(self)
        check(bool(self.initial_checkpoint), "initial_checkpoint", repr(self.initial_checkpoint), "is empty")
        name = self.initial_checkpoint.removeprefix(TIMM)
        rule = f"is a name of timm's pretrained weights, not of a file: use --pretrained {name}"
        check(name == self.initial_checkpoint, "initial_checkpoint", self.initial_checkpoint, rule)
        check_digest("weights_digest", self.weights_digest)

    @property
    def source(self) -> str:
        """Source of the weights: a path or an address, or timm:NAME; None for the other kinds."""
        return self.initial_checkpoint


@dataclass(frozen=True, kw_only=True)
class FromTimm:
    """Pretrained weights of timm, by name."""

    kind: ClassVar[str] = "timm"
    pretrained: str = config_field("name of timm's pretrained weights, as vit_base_patch16_224.augreg_in1k")
    pos_embed_resampling: str = _resampling()
    load_head: bool = _load_head()

    def __post_init__(self) -> None:
        check_fields(self)
        check(bool(self.pretrained), "pretrained", repr(self.pretrained), "is empty")

    @property
    def source(self) -> str:
        return TIMM + self.pretrained


@dataclass(frozen=True, kw_only=True)
class FromRun:
    """The weights that a finished run reported: all of them, or, for another task, those of the backbone."""

    kind: ClassVar[str] = "run"
    source: ClassVar[None] = None
    config: "ExperimentConfig" = config_field("configuration of the run that is finished first", found=True)
    pos_embed_resampling: str = _resampling()
    patch_embed_resampling: str | None = config_field(
        "how the kernel of the other run's patch embedding is resized to this patch size (pi, vanilla, area, norm: see "
        "resize); none: both have the same patch size",
        None,
        choices=RESIZE_METHODS,
        found=True,
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class FromTeacher:
    """The weights of the teacher of the objective distillation, with its head; the patch embedding and the positions
    are resampled."""

    kind: ClassVar[str] = "teacher"
    source: ClassVar[None] = None
    pos_embed_resampling: str = _resampling()

    def __post_init__(self) -> None:
        check_fields(self)


INITS: dict[str, type] = {c.kind: c for c in (Scratch, FromFile, FromTimm, FromRun, FromTeacher)}
