"""Memory key: everything that the memory of a training step depends on; found micro-batches are remembered by it."""

import hashlib
import json

from scaling.config.edit import leaf_values
from scaling.config.experiment import ExperimentConfig
from scaling.costs.conditions import Conditions

# Fields of a recipe that memory does not depend on. Any other field is taken to matter: a needless search costs
# seconds, a size that does not fit costs a crash.
IDLE = (
    *("seed", "data_version", "class_names", "ignore_index", "num_train", "num_val", "crop_pct", "slide_stride"),
    *("eval_mode", "auto_augment", "random_erasing_prob", "aug_repeats", "length", "epochs", "max_steps", "stage"),
    *("val_interval", "eval_weights", "init", "initial_checkpoint", "pretrained", "config", "weights_digest"),
    *("lr", "lr_base_size", "layer_decay", "weight_decay", "beta1", "beta2", "warmup_epochs", "warmup_steps"),
    *("lr_schedule", "milestones", "min_lr", "smoothing", "pos_embed_resampling", "on_bad_image"),
    *("patch_embed_resampling", "sincos_transfer", "rope_transfer"),
    *("data_root",),  # data_digest counts: sizes of images may be the data's
)


def memory_key(config: ExperimentConfig, ran: Conditions, device: str, world: int) -> str:
    """A readable name and a hash. device: its name; world: devices that share a run [1]."""
    fields = {name: value for name, value in leaf_values(config).items() if name not in IDLE}
    fields["model_ema_decay"] = config.optim.model_ema_decay is not None  # a second set of weights, whatever its decay
    if config.distillation is not None:
        fields["teacher"] = config.distillation.teacher_digest or config.distillation.teacher
    how = ran._replace(threads=0, workers=0, jobs=0)._asdict()
    text = json.dumps([fields, how, world], sort_keys=True)
    size = f"{config.model.img_size}/{config.model.patch_size}"
    model = f"{config.task.kind} {config.task.head.kind} {config.model.backbone} {size} {ran.precision}"
    return f"{device}, {model}, {hashlib.sha256(text.encode()).hexdigest()[:8]}"
