"""A configuration as the flat dictionary of version 1.

Version 1 (until November 2026) had one flat value with the fields of all tasks; 0 and "" stood for "not set". Records
of version 1 hold such dictionaries, scaling/config/legacy.py reads them, canonical.py hashes them, and analysis/ names
its columns by them. A kind of a union that version 1 did not have appears by its name alone.
"""

from typing import TYPE_CHECKING, NamedTuple

from scaling.config.fields import Part, every_field, is_part
from scaling.config.initialization import FromFile, FromRun, FromTimm

if TYPE_CHECKING:
    from scaling.config.experiment import ExperimentConfig


class Old(NamedTuple):
    """A field of version 1."""

    default: object
    now: str = ""  # its name now; "": the same
    unset: bool = False  # 0 or "" stands for "not set", which is None now


# Fields of the first release: always in the canonical JSON.
_FIRST = {
    "task": Old("classify"), "data": Old("shapes", "dataset"), "data_root": Old("", unset=True),
    "data_version": Old(1), "backbone": Old("deit_nano"), "image": Old(16, "img_size"), "patch": Old(4, "patch_size"),
    "classes": Old(12, "num_classes"), "epochs": Old(10), "batch": Old(64, "global_batch_size"), "seed": Old(0),
    "train_images": Old(0, "num_train", unset=True), "test_images": Old(0, "num_val", unset=True),
    "crop": Old(1.0, "crop_pct"), "augment": Old("none"), "bad_images": Old("stop", "on_bad_image"), "lr": Old(2e-3),
    "weight_decay": Old(0.05), "beta1": Old(0.9), "beta2": Old(0.999), "warmup_epochs": Old(1.0),
    "clip": Old(1.0, "max_grad_norm", unset=True), "smoothing": Old(0.0), "drop_path": Old(0.0), "weights": Old(""),
    "position": Old("learned", "pos_embed"), "eval_every": Old(0, "val_interval", unset=True),
    "precision": Old("auto"),
}  # fmt: skip
# Fields added afterwards: in the canonical JSON only where they differ from their defaults.
_LATER = {
    "head": Old("linear"), "head_channels": Old(192), "steps": Old(0, "max_steps", unset=True), "val_split": Old(0.0),
    "objects": Old(1, "max_objects"), "short_side": Old(0, "resize_short", unset=True),
    "long_side": Old(0, "max_long", unset=True), "empty_images": Old("drop", "filter_empty_gt"),
    "slide": Old(0, "slide_stride", unset=True), "unlabelled": Old(255, "ignore_index"),
    "class_names": Old("", unset=True), "rand_augment": Old("", "auto_augment", unset=True),
    "erasing": Old(0.0, "random_erasing_prob"), "mixup": Old(0.0), "cutmix": Old(0.0),
    "repeats": Old(1, "aug_repeats"), "lr_batch": Old(0, "lr_base_size", unset=True), "min_lr": Old(0.0),
    "layer_decay": Old(1.0), "warmup_steps": Old(0, unset=True), "schedule": Old("cosine", "lr_schedule"),
    "milestones": Old(""), "ema": Old(0.0, "model_ema_decay", unset=True), "judged": Old("raw", "eval_weights"),
    "stage": Old("", unset=True), "start": Old(""), "compat": Old("fixed", "pos_embed_resampling"),
    "extend": Old(0, "embed_patch_size", unset=True), "flip": Old("released", "scan_direction"),
    "data_digest": Old("", unset=True), "weights_digest": Old("", unset=True),
}  # fmt: skip
FIRST = {name: one.default for name, one in _FIRST.items()}
LATER = {name: one.default for name, one in _LATER.items()}
DEFAULTS = {**FIRST, **LATER}
_ALL = {**_FIRST, **_LATER}
NAMES = {name: one.now for name, one in _ALL.items() if one.now}  # of version 1 and of now, where they differ
UNSET = frozenset(name for name, one in _ALL.items() if one.unset)
_BEFORE = {NAMES.get(name, name): name for name in DEFAULTS}
# Values under new names, by field: new -> version 1. All other values are spelled as they were.
VALUES: dict[str, dict[object, object]] = {
    "head": {"cascade_mask_rcnn": "cascade"},
    "augment": {"resize_crop": "scale_crop", "resize_crop_photometric": "scale_crop_distort", "lsj": "jitter_crop"},
    "schedule": {"linear": "poly", "multistep": "steps"},
    "judged": {"ema": "averaged"},
    "compat": {"aligned": "fixed", "released": "official"},
    "empty_images": {True: "drop", False: "keep"},
}


def to_flat(config: "ExperimentConfig") -> dict[str, object]:
    """All fields of version 1. What version 1 did not have is left out."""
    values = dict(DEFAULTS)
    parts: list[Part] = [config]
    for part in parts:
        for f in every_field(type(part)):
            value = getattr(part, f.name)
            if f.name != "config" and is_part(value):  # config: another run's
                parts.append(value)
            if f.name in _BEFORE:
                values[_BEFORE[f.name]] = _old(_BEFORE[f.name], value)
    return {**values, **_start(config)}


def _old(name: str, value: object) -> object:
    """A value as version 1 spelled it; of a union its kind."""
    if value is None:
        return type(DEFAULTS[name])()  # 0 or ""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    value = getattr(value, "kind", value)
    return VALUES.get(name, {}).get(value, value)


def _start(config: "ExperimentConfig") -> dict[str, object]:
    """Where the weights come from, which version 1 had in two fields."""
    init = config.init
    if isinstance(init, FromFile | FromTimm):
        return {"weights": init.source}
    return {"start": init.config.canonical} if isinstance(init, FromRun) else {}
