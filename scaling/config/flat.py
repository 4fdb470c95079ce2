"""A configuration as the flat dictionary of version 1.

Version 1 (until November 2026) had one flat value with the fields of all tasks; 0 and "" stood for "not set". Records
of version 1 hold such dictionaries, scaling/config/legacy.py reads them, canonical.py hashes them, and analysis/ names
its columns by them. A kind of a union that version 1 did not have appears by its name alone.
"""

from typing import TYPE_CHECKING

from scaling.config.initialization import FromFile, FromRun, FromTimm
from scaling.config.task import Classification, Detection, Segmentation

if TYPE_CHECKING:
    from scaling.config.experiment import ExperimentConfig

# Fields of the first release and their defaults: always in the canonical JSON.
FIRST: dict[str, object] = {
    "task": "classify", "data": "shapes", "data_root": "", "data_version": 1, "backbone": "deit_nano", "image": 16,
    "patch": 4, "classes": 12, "epochs": 10, "batch": 64, "seed": 0, "train_images": 0, "test_images": 0, "crop": 1.0,
    "augment": "none", "bad_images": "stop", "lr": 2e-3, "weight_decay": 0.05, "beta1": 0.9, "beta2": 0.999,
    "warmup_epochs": 1.0, "clip": 1.0, "smoothing": 0.0, "drop_path": 0.0, "weights": "", "position": "learned",
    "eval_every": 0, "precision": "auto",
}  # fmt: skip
# Fields added afterwards: in the canonical JSON only where they differ from their defaults.
LATER: dict[str, object] = {
    "head": "linear", "head_channels": 192, "steps": 0, "val_split": 0.0, "objects": 1, "short_side": 0,
    "long_side": 0, "empty_images": "drop", "slide": 0, "unlabelled": 255, "class_names": "", "rand_augment": "",
    "erasing": 0.0, "mixup": 0.0, "cutmix": 0.0, "repeats": 1, "lr_batch": 0, "min_lr": 0.0, "layer_decay": 1.0,
    "warmup_steps": 0, "schedule": "cosine", "milestones": "", "ema": 0.0, "judged": "raw", "stage": "", "start": "",
    "compat": "fixed", "extend": 0, "flip": "released", "data_digest": "", "weights_digest": "",
}  # fmt: skip
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
    model, data, optim, schedule = config.model, config.data, config.optim, config.schedule
    values: dict[str, object] = {
        "task": config.task.kind,
        "data": data.dataset,
        "data_root": data.data_root or "",
        "data_version": data.data_version,
        "data_digest": data.data_digest or "",
        "backbone": model.backbone,
        "image": model.img_size,
        "patch": model.patch_size,
        "extend": model.embed_patch_size or 0,
        "position": model.pos_embed.kind,
        "drop_path": model.drop_path,
        "flip": model.scan_direction,
        "classes": data.num_classes,
        "class_names": ",".join(data.class_names or ()),
        "train_images": data.num_train or 0,
        "test_images": data.num_val or 0,
        "val_split": data.val_split,
        "objects": data.max_objects,
        "bad_images": data.on_bad_image,
        "epochs": schedule.epochs,
        "steps": schedule.max_steps or 0,
        "warmup_epochs": schedule.warmup_epochs,
        "warmup_steps": schedule.warmup_steps or 0,
        "schedule": schedule.lr_schedule.kind,
        "min_lr": schedule.min_lr,
        "milestones": ",".join(map(str, schedule.milestones)),
        "batch": optim.global_batch_size,
        "lr": optim.lr,
        "lr_batch": optim.lr_base_size or 0,
        "weight_decay": optim.weight_decay,
        "layer_decay": optim.layer_decay,
        "beta1": optim.beta1,
        "beta2": optim.beta2,
        "clip": 0.0 if optim.max_grad_norm is None else optim.max_grad_norm,
        "ema": optim.model_ema_decay or 0.0,
        "judged": config.evaluation.eval_weights,
        "eval_every": config.evaluation.val_interval or 0,
        "seed": config.seed,
        "stage": config.stage or "",
        "precision": config.precision,
        **_task(config.task),
        **_init(config),
    }
    named = {name: VALUES.get(name, {}).get(value, value) for name, value in values.items()}
    return {**FIRST, **LATER, **named}


def _task(task: Classification | Segmentation | Detection) -> dict[str, object]:
    channels = getattr(task.head, "head_channels", LATER["head_channels"])
    head = {"head": task.head.kind, "head_channels": channels, "augment": task.augment}
    if isinstance(task, Classification):
        return {
            **head,
            "crop": task.crop_pct,
            "smoothing": task.smoothing,
            "rand_augment": task.auto_augment or "",
            "erasing": task.random_erasing_prob,
            "mixup": task.mixup,
            "cutmix": task.cutmix,
            "repeats": task.aug_repeats,
        }
    values = {**head, "short_side": task.resize_short or 0}
    if isinstance(task, Segmentation):
        slide = getattr(task.eval_mode, "slide_stride", 0)
        return {**values, "smoothing": task.smoothing, "slide": slide, "unlabelled": task.ignore_index}
    return {**values, "long_side": task.max_long or 0, "empty_images": task.filter_empty_gt}


def _init(config: "ExperimentConfig") -> dict[str, object]:
    init = config.init
    found: dict[str, object] = {}
    if isinstance(init, FromFile):
        found = {"weights": init.initial_checkpoint, "weights_digest": init.weights_digest or ""}
    elif isinstance(init, FromTimm):
        found = {"weights": init.source}
    elif isinstance(init, FromRun):
        found = {"start": init.config.canonical}
    return {**found, "compat": getattr(init, "pos_embed_resampling", "aligned")}
