"""Version 1, one flat dictionary per run: records, recipe.json, YAML files and option names of before are read here.

from_flat reads a whole dictionary, translate reads single options. flat.py is the way back. Standard library only.
"""

import functools
import json
from collections.abc import Mapping
from typing import cast

from scaling.config.data import DataConfig
from scaling.config.experiment import ExperimentConfig
from scaling.config.fields import check_name
from scaling.config.flat import FIRST, LATER, VALUES
from scaling.config.flat_values import FlatValues
from scaling.config.initialization import FromFile, FromRun, FromTimm, Scratch
from scaling.config.model import TIMM, LearnedPosEmbed, ModelConfig, SinCosPosEmbed
from scaling.config.optim import Cosine, Epochs, EvaluationConfig, Linear, MultiStep, OptimConfig, ScheduleConfig, Steps
from scaling.config.patch_embeds import ConvPatchEmbed, ExtendedPatchEmbed
from scaling.config.task import (
    CascadeMaskRCNN,
    Classification,
    Detection,
    LinearHead,
    Segmentation,
    SlidingWindow,
    UperNetHead,
    WholeImages,
)
from scaling.errors import ConfigError, NewerRecordError

# Names of version 1 and of now, where they differ.
NAMES = {
    "data": "dataset", "image": "img_size", "patch": "patch_size", "extend": "embed_patch_size",
    "position": "pos_embed", "flip": "scan_direction", "classes": "num_classes", "train_images": "num_train",
    "test_images": "num_val", "objects": "max_objects", "bad_images": "on_bad_image", "batch": "global_batch_size",
    "lr_batch": "lr_base_size", "clip": "max_grad_norm", "ema": "model_ema_decay", "steps": "max_steps",
    "schedule": "lr_schedule", "eval_every": "val_interval", "judged": "eval_weights", "crop": "crop_pct",
    "rand_augment": "auto_augment", "erasing": "random_erasing_prob", "repeats": "aug_repeats",
    "short_side": "resize_short", "long_side": "max_long", "slide": "slide_stride", "unlabelled": "ignore_index",
    "empty_images": "filter_empty_gt", "compat": "pos_embed_resampling",
}  # fmt: skip
# Where version 1 had 0 or "" for "not set".
UNSET = frozenset({
    "data_root", "extend", "train_images", "test_images", "class_names", "lr_batch", "clip", "ema", "steps",
    "warmup_steps", "eval_every", "rand_augment", "short_side", "long_side", "slide", "stage", "data_digest",
    "weights_digest",
})  # fmt: skip
DEFAULTS = {**FIRST, **LATER}
_TO_NEW = {name: {old: new for new, old in values.items()} for name, values in VALUES.items()}


def from_flat(values: Mapping[str, object]) -> ExperimentConfig:
    """The configuration of a dictionary of version 1; what is missing has version 1's default. Raises
    ConfigError, and NewerRecordError for a field that version 1 did not have."""
    if unknown := sorted(set(values) - set(DEFAULTS)):
        raise NewerRecordError(f"unknown field {unknown[0]} of a recipe: a newer version wrote it")
    # The dataclasses check the types of their fields.
    v = cast(FlatValues, {name: _new(name, value) for name, value in {**DEFAULTS, **values}.items()})
    check_name("task", v["task"], ("classify", "segment", "detect"))
    config = ExperimentConfig(
        model=_model(v),
        data=DataConfig(
            dataset=v["data"],
            data_root=v["data_root"],
            data_digest=v["data_digest"],
            data_version=v["data_version"],
            num_classes=v["classes"],
            class_names=names_in_text(v["class_names"]),
            num_train=v["train_images"],
            num_val=v["test_images"],
            val_split=v["val_split"],
            max_objects=v["objects"],
            on_bad_image=v["bad_images"],
        ),
        task=_task(v),
        optim=OptimConfig(
            lr=v["lr"],
            lr_base_size=v["lr_batch"],
            global_batch_size=v["batch"],
            weight_decay=v["weight_decay"],
            layer_decay=v["layer_decay"],
            beta1=v["beta1"],
            beta2=v["beta2"],
            max_grad_norm=v["clip"],
            model_ema_decay=v["ema"],
        ),
        schedule=_schedule(v),
        evaluation=EvaluationConfig(val_interval=v["eval_every"], eval_weights=v["judged"]),
        init=_init(v),
        seed=v["seed"],
        stage=v["stage"],
        precision=v["precision"],
    )
    return config


def _new(name: str, value: object) -> object:
    """A value of version 1 as it is spelled now."""
    if name in UNSET and value in (0, "") and not isinstance(value, bool):
        return None
    return _TO_NEW.get(name, {}).get(value, value) if isinstance(value, str) else value


def names_in_text(text: str | None) -> tuple[str, ...] | None:
    """ "cat, dog" as ("cat", "dog")."""
    return tuple(name.strip() for name in text.split(",") if name.strip()) or None if text is not None else None


def _model(v: FlatValues) -> ModelConfig:
    patch: ConvPatchEmbed | ExtendedPatchEmbed = ConvPatchEmbed(patch_size=v["patch"])
    if v["extend"] is not None:
        patch = ExtendedPatchEmbed(patch_size=v["patch"], embed_patch_size=v["extend"])
    check_name("position", v["position"], ("learned", "sincos"))
    return ModelConfig(
        backbone=v["backbone"],
        img_size=v["image"],
        patch_embed=patch,
        pos_embed=SinCosPosEmbed() if v["position"] == "sincos" else LearnedPosEmbed(),
        drop_path=v["drop_path"],
        scan_direction=v["flip"],
    )


def _task(v: FlatValues) -> Classification | Segmentation | Detection:
    channels = v["head_channels"]
    if v["task"] == "classify":
        check_name("head", v["head"], ("linear",))
        return Classification(
            head=LinearHead(head_channels=channels),
            crop_pct=v["crop"],
            smoothing=v["smoothing"],
            augment=v["augment"],
            auto_augment=v["rand_augment"],
            random_erasing_prob=v["erasing"],
            mixup=v["mixup"],
            cutmix=v["cutmix"],
            aug_repeats=v["repeats"],
        )
    if v["task"] == "segment":
        check_name("head", v["head"], ("linear", "upernet"))
        return Segmentation(
            head=(UperNetHead if v["head"] == "upernet" else LinearHead)(head_channels=channels),
            eval_mode=WholeImages() if v["slide"] is None else SlidingWindow(slide_stride=v["slide"]),
            augment=v["augment"],
            smoothing=v["smoothing"],
            resize_short=v["short_side"],
            ignore_index=v["unlabelled"],
        )
    check_name("head", v["head"], ("cascade_mask_rcnn",))
    return Detection(
        head=CascadeMaskRCNN(head_channels=channels),
        augment=v["augment"],
        resize_short=v["short_side"],
        max_long=v["long_side"],
        filter_empty_gt=v["empty_images"],
    )


def _schedule(v: FlatValues) -> ScheduleConfig:
    falling: dict[str, type[Cosine | Linear]] = {"cosine": Cosine, "linear": Linear}
    check_name("schedule", v["schedule"], (*falling, MultiStep.kind))
    multistep = v["schedule"] == MultiStep.kind
    return ScheduleConfig(
        length=Epochs(epochs=v["epochs"]) if v["steps"] is None else Steps(max_steps=v["steps"], epochs=v["epochs"]),
        warmup_epochs=v["warmup_epochs"],
        warmup_steps=v["warmup_steps"],
        lr_schedule=MultiStep(milestones=_milestones(v["milestones"]))
        if multistep
        else falling[v["schedule"]](min_lr=v["min_lr"]),
    )


def _milestones(text: str) -> tuple[int, ...]:
    words = text.replace(" ", "").split(",") if text else []
    if not all(word.isdecimal() for word in words):
        rule = "must be whole numbers of epochs, ascending, separated by commas, such as 8,11"
        raise ConfigError(f"milestones {text!r} {rule}")
    return tuple(map(int, words))


def _init(v: FlatValues) -> Scratch | FromFile | FromTimm | FromRun:
    if v["start"] and v["weights"]:
        raise ConfigError(f"weights {v['weights']} and the run that it starts from exclude each other")
    if v["start"]:
        return FromRun(config=read_predecessor(v["start"]), pos_embed_resampling=v["compat"])
    if v["weights"].startswith(TIMM):
        return FromTimm(pretrained=v["weights"].removeprefix(TIMM), pos_embed_resampling=v["compat"])
    if v["weights"] or v["weights_digest"]:
        digest = v["weights_digest"]  # a canonical form with a fingerprint has no path
        return FromFile(initial_checkpoint=v["weights"] or "?", weights_digest=digest, pos_embed_resampling=v["compat"])
    return Scratch(pos_embed_resampling=v["compat"])


@functools.lru_cache(maxsize=1024)
def read_predecessor(text: str) -> ExperimentConfig:
    """The configuration of a canonical JSON of version 1."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as e:
        raise ConfigError(f"start is not JSON ({e})") from e
    if not isinstance(values, dict):
        raise ConfigError(f"start is not a mapping but {values!r}")
    return from_flat(values)


def translate(options: Mapping[str, object]) -> tuple[dict[str, object], set[str]]:
    """Options of version 1 under the names of now, and which of these are to be ignored where they do not apply: those
    with version 1's default, as files of before list all fields. Values are of the types of version 1's defaults.
    Raises ConfigError."""
    given = {NAMES.get(name, name): _new(name, value) for name, value in options.items() if name not in _SPECIAL}
    if options.get("class_names"):
        given["class_names"] = names_in_text(cast(str, options["class_names"]))
    if "milestones" in options:
        given["milestones"] = _milestones(cast(str, options["milestones"]))
    if "weights" in options:
        given |= _weights(cast(str, options["weights"]))
    idle = {NAMES.get(name, name) for name, value in options.items() if name in DEFAULTS and value == DEFAULTS[name]}
    return given, idle


_SPECIAL = ("weights", "start", "data_digest", "weights_digest")


def _weights(weights: str) -> dict[str, object]:
    if weights.startswith(TIMM):
        return {"pretrained": weights.removeprefix(TIMM)}
    return {"initial_checkpoint": weights} if weights else {"init": "scratch"}
