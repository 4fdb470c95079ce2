"""The canonical JSON of a configuration, which run IDs are hashes of.

It is that of version 1 (flat.py), so that a configuration which version 1 could express has the ID that version 1 gave
it. What version 1 could not express is one more entry, "further", with the values that differ from their defaults: a
field or a part that is added to the configuration later changes no ID where it has its default. Standard library only.
"""

import dataclasses
import json
from collections.abc import Collection
from typing import TYPE_CHECKING

from scaling.config.data import DataConfig
from scaling.config.fields import Part, every_field
from scaling.config.flat import FIRST, LATER, to_flat
from scaling.config.initialization import FromFile, FromRun, FromTimm, Scratch
from scaling.config.model import LearnedPosEmbed, ModelConfig, SinCosPosEmbed
from scaling.config.objectives import Supervised
from scaling.config.optim import Cosine, Epochs, EvaluationConfig, Linear, MultiStep, OptimConfig, ScheduleConfig, Steps
from scaling.config.packing import NoPacking
from scaling.config.patch_embeds import ConvPatchEmbed, ExtendedPatchEmbed
from scaling.config.step_shapes import FixedShape
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

if TYPE_CHECKING:
    from scaling.config.experiment import ExperimentConfig

# The parts that version 1 could express, and those of their fields that to_flat has: never extended. A field that is
# added to one of these classes, and a class that is added, are under "further".
VERSION_1: dict[type, str] = {
    ModelConfig: "backbone img_size drop_path scan_direction",
    ConvPatchEmbed: "patch_size",
    ExtendedPatchEmbed: "patch_size embed_patch_size",
    LearnedPosEmbed: "",
    SinCosPosEmbed: "",
    DataConfig: "dataset data_root data_digest data_version num_classes class_names num_train num_val val_split "
    "max_objects on_bad_image",
    Classification: "augment crop_pct smoothing auto_augment random_erasing_prob mixup cutmix aug_repeats",
    Segmentation: "augment smoothing resize_short ignore_index",
    Detection: "augment resize_short max_long filter_empty_gt",
    LinearHead: "head_channels",
    UperNetHead: "head_channels",
    CascadeMaskRCNN: "head_channels",
    WholeImages: "",
    SlidingWindow: "slide_stride",
    OptimConfig: "lr lr_base_size global_batch_size weight_decay layer_decay beta1 beta2 max_grad_norm model_ema_decay",
    ScheduleConfig: "warmup_epochs warmup_steps",
    Epochs: "epochs",
    Steps: "max_steps epochs",
    Cosine: "min_lr",
    Linear: "min_lr",
    MultiStep: "milestones",
    EvaluationConfig: "val_interval eval_weights",
    Scratch: "pos_embed_resampling",
    FromFile: "initial_checkpoint weights_digest pos_embed_resampling",
    FromTimm: "pretrained pos_embed_resampling",
    FromRun: "config pos_embed_resampling",
    Supervised: "",
    FixedShape: "",
    NoPacking: "",
}


def canonical(config: "ExperimentConfig") -> str:
    """The one JSON text of a configuration, and of those that differ from it in locations alone: sorted keys, no
    spaces. Where data and weights are is in it only while their fingerprint is not known."""
    values = {k: v for k, v in to_flat(config).items() if k in FIRST or v != LATER[k]}
    values["data"] = data_name(config)
    for place, digest in (("data_root", "data_digest"), ("weights", "weights_digest")):
        if values.get(digest):
            values[place] = ""
    more = further(config)
    return as_json(values | ({"further": more} if more else {}))


def further(config: "ExperimentConfig") -> dict[str, object]:
    """What version 1 could not express and is not the default, nested; the run before left out."""
    found = _fields(config, ("seed", "stage", "precision"), expressed=True)
    names = config.data.class_names or ()
    if any("," in name or not name.strip() for name in names):  # version 1 joined them with commas
        others = found.get("data")
        found["data"] = {**(others if isinstance(others, dict) else {}), "class_names": list(names)}
    return found


def _fields(part: Part, had: Collection[str], expressed: bool) -> dict[str, object]:
    """The fields of a part that differ from their defaults, but for locations and what version 1 had. expressed:
    whether version 1 could express the part that this one belongs to."""
    found = {
        f.name: _value(getattr(part, f.name), expressed)
        for f in every_field(type(part))
        if (f.compare or _stands_for_contents(part, f.name))
        and f.name not in had
        and getattr(part, f.name) != f.default
    }
    return {name: value for name, value in found.items() if value != {}}


def _stands_for_contents(part: Part, name: str) -> bool:
    """Whether the location in a field is all that is known of what is there: its fingerprint is not."""
    return getattr(part, f"{name}_digest", "") is None


def _value(value: object, expressed: bool) -> object:
    if isinstance(value, tuple):
        return [_value(one, expressed=False) for one in value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    known = expressed and type(value) in VERSION_1
    kind = {"kind": value.kind} if not known and hasattr(value, "kind") else {}
    return kind | _fields(value, VERSION_1[type(value)].split() if known else (), known)


def data_name(config: "ExperimentConfig") -> str:
    """The data set's name; of a Hugging Face data set on disk whose content is known, the last part of its path."""
    prefix, _, path = config.data.dataset.partition("/")
    on_disk = prefix == "hfds" and path.startswith(("/", ".", "~")) and config.data.data_digest
    return f"{prefix}/{path.rstrip('/').rpartition('/')[2]}" if on_disk else config.data.dataset


def as_json(values: dict[str, object]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
