"""FlatValues: the fields of version 1 and their types, spelled as now and None where version 1 had 0 or "" for "not
set". flat.py has the defaults of version 1; legacy.py makes a configuration of such values. Standard library only.
"""

from typing import TypedDict


class FlatValues(TypedDict):
    """One run. Units and bounds are those of the fields of a configuration (docs/config.md)."""

    # of the first release
    task: str
    data: str
    data_root: str | None
    data_version: int
    backbone: str
    image: int
    patch: int
    classes: int
    epochs: int
    batch: int
    seed: int
    train_images: int | None
    test_images: int | None
    crop: float
    augment: str
    bad_images: str
    lr: float
    weight_decay: float
    beta1: float
    beta2: float
    warmup_epochs: float
    clip: float | None
    smoothing: float
    drop_path: float
    weights: str
    position: str
    eval_every: int | None
    precision: str
    # added afterwards
    head: str
    head_channels: int
    steps: int | None
    val_split: float
    objects: int
    short_side: int | None
    long_side: int | None
    empty_images: bool
    slide: int | None
    unlabelled: int
    class_names: str | None
    rand_augment: str | None
    erasing: float
    mixup: float
    cutmix: float
    repeats: int
    lr_batch: int | None
    min_lr: float
    layer_decay: float
    warmup_steps: int | None
    schedule: str
    milestones: str
    ema: float | None
    judged: str
    stage: str | None
    start: str
    compat: str
    extend: int | None
    flip: str
    data_digest: str | None
    weights_digest: str | None
