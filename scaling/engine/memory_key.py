"""Memory key: everything that the memory of a training step depends on; found micro-batches are remembered by it."""

import hashlib
import json

from scaling.config.experiment import ExperimentConfig
from scaling.costs.conditions import Conditions

# Fields of a recipe that memory does not depend on. Any other field is taken to matter: a needless search costs
# seconds, a size that does not fit costs a crash.
IDLE = (
    *("seed", "data_version", "class_names", "unlabelled", "train_images", "test_images", "crop", "slide"),
    *("rand_augment", "erasing", "repeats", "epochs", "steps", "eval_every", "judged", "stage", "start", "weights"),
    *("lr", "lr_batch", "layer_decay", "weight_decay", "beta1", "beta2", "warmup_epochs", "warmup_steps"),
    *("schedule", "milestones", "smoothing", "compat", "bad_images"),
    *("data_root", "weights_digest"),  # data_digest counts: sizes of images may be the data's
)


def memory_key(config: ExperimentConfig, ran: Conditions, device: str, world: int) -> str:
    """A readable name and a hash. device: its name; world: devices that share a run [1]."""
    fields = {name: value for name, value in config.to_dict().items() if name not in IDLE}
    fields["ema"] = config.optim.model_ema_decay is not None  # a second set of weights, whatever its decay
    how = ran._replace(threads=0, workers=0, jobs=0)._asdict()
    text = json.dumps([fields, how, world], sort_keys=True)
    model = f"{config.task.kind} {config.task.head.kind} {config.model.backbone} {config.model.img_size}/{config.model.patch_size} {ran.precision}"
    return f"{device}, {model}, {hashlib.sha256(text.encode()).hexdigest()[:8]}"
