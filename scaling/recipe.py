"""Recipe: one frozen, self-checking value that says all of what a run is, and the run_id that follows from it.

What a machine decides (workers, threads, where results go) is not here: two machines that run one recipe
make the same run. Standard library only.
"""

import dataclasses
import difflib
import functools
import hashlib
import json
import math
import re
import typing
from dataclasses import dataclass, field, fields
from typing import Any

from scaling.config.objectives import Supervised
from scaling.config.step_shapes import FixedShape
from scaling.errors import ConfigError
from scaling.model_specs import POS_EMBEDS, SIZES

TASKS = ("classify", "segment", "detect")
DATA = ("shapes", "cifar10", "imagenet", "ade20k", "camvid", "coco", "nuclei", "folder")
HEADS = ("linear", "upernet")  # of segmentation
TASK_HEADS = {"classify": ("linear",), "segment": HEADS, "detect": ("cascade",)}
SCHEDULES = ("cosine", "poly", "steps")
VIEWS = ("resized_crop", "three_augment", "three_augment_simple")  # augmentations that are made an image at a time
SCENES = ("scale_crop", "scale_crop_distort")  # augmentations of images with a label a pixel
OBJECTS = ("jitter_crop",)  # of images with boxes and masks
AUGMENTS = ("none", "flip", "pad_crop_flip", *VIEWS, *SCENES, *OBJECTS)
COMPATS = ("fixed", "official")  # how positions go to another grid: as they lie, or as the released code does it
STAGES = ("pretrain", "intermediate", "finetune")
TIMM = "timm:"  # before the name of a backbone or of weights that are timm's
DATA_PREFIXES = ("hfds/", "wds/")  # of Hugging Face data sets and WebDataset shards, as timm writes them


def nearest_dividing(image: int, patch: int) -> list[int]:
    """The divisors of image [px] next below and next above patch [px] (one of them where there is only one)."""
    divisors = [d for d in range(1, image + 1) if image % d == 0]
    below = [d for d in divisors if d < patch][-1:]
    above = [d for d in divisors if d > patch][:1]
    return below + above


def check_patch(image: int, patch: int) -> None:
    """Raise ConfigError unless square patches of `patch` px tile an `image` px side."""
    if patch < 1:
        raise ConfigError(f"patch {patch} is not a size; a patch is 1 px or more and divides the image ({image} px)")
    if image % patch:
        near = ", ".join(str(d) for d in nearest_dividing(image, patch))
        raise ConfigError(f"patch {patch} does not divide a {image} px image; nearest that do: {near}")


def check_name(what: str, name: str, known: typing.Iterable[str], listed: str = "") -> None:
    """Raise ConfigError with the nearest known name and all of them, unless name is one of them. listed: where all of
    them are found, if they are too many for a line: then the three nearest are named."""
    known = sorted(known)
    if name in known:
        return
    if listed:
        like = {one: difflib.SequenceMatcher(None, name, one).ratio() for one in known}
        of_this_name = [one for one in known if one.rpartition(".")[2] == name]
        near = (of_this_name or [one for one in known if like[one] >= max(0.65, *like.values()) - 0.03])[:3]
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ConfigError(f"unknown {what} {name!r}; {hint}{listed} lists all {len(known)}")
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(f"unknown {what} {name!r}; {hint}there is: {', '.join(n or repr(n) for n in known)}")


def _says(text: str, default: Any = dataclasses.MISSING, *, later: bool = False) -> Any:
    """A field with its help text. later: added after the first release, so left out of the canonical JSON
    while it holds its default, and the run_ids of earlier runs stand."""
    return field(default=default, metadata={"help": text, "later": later})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All of what a run is. Frozen; a variant is dataclasses.replace(recipe, patch=4); checks itself."""

    objectives: typing.ClassVar[tuple[Any, ...]] = (Supervised(),)
    step_shapes: typing.ClassVar[Any] = FixedShape()

    task: str = _says("what is learned: " + ", ".join(TASKS), "classify")
    data: str = _says(
        "data set: shapes (embedded), cifar10, imagenet, ade20k, camvid, coco, nuclei, folder, hfds/NAME (of Hugging "
        "Face) or wds/NAME (WebDataset shards)",
        "shapes",
    )
    data_root: str = _says(
        "folder or tar files of the data; relative names are looked up here, in $SCALING_DATA, in data/ and in "
        "../shared/data; empty for embedded data",
        "",
    )
    data_version: int = _says("version of the data: that of the embedded set's pixels, or your own count for yours", 1)
    backbone: str = _says(
        "model by name (Table 7 of arXiv 2502.03738, or nano), or timm:NAME for a plain ViT of timm's", "deit_nano"
    )
    head: str = _says(
        "what stands on the backbone: linear; in segmentation linear or upernet; in detection cascade (Cascade Mask "
        "R-CNN)",
        "linear",
        later=True,
    )
    head_channels: int = _says("hidden channels of upernet [1]", 192, later=True)
    image: int = _says(
        "side of the square input image; in segmentation of a training crop; in detection of the image that positions "
        "are made for, and of a crop [px]",
        16,
    )
    patch: int = _says("side of a square patch [px]; divides the image", 4)
    classes: int = _says("number of classes [1]", 12)
    epochs: int = _says("passes over the training images [epochs]", 10)
    batch: int = _says("images per optimiser step, over all devices [images]", 64)
    steps: int = _says(
        "optimiser steps of the whole run, instead of epochs; warm-up is then warmup_steps; 0: epochs say [1]",
        0,
        later=True,
    )
    seed: int = _says("seed of weights, order of images and augmentation", 0)
    train_images: int = _says("training images used, a fixed random subset that depends on no seed; 0: all [images]", 0)
    test_images: int = _says("test images used, chosen in the same way; 0: all [images]", 0)
    val_split: float = _says(
        "share of the training images that is held out of training, by a hash of their names, the same for every seed "
        "and patch: what --eval-every evaluates then, and val_ metrics in the record; the test images are for the end "
        "alone [1]; 0: none, and --eval-every takes the test images",
        0.0,
        later=True,
    )
    crop: float = _says(
        "share of the test image's side that is kept by the centre crop [1]; one value for a whole sweep (the "
        "released code takes 0.875 at patch 16 and 1.0 below)",
        1.0,
    )
    objects: int = _says("most objects in an image of shapes, from one up [1]", 1, later=True)
    short_side: int = _says(
        "segmentation and detection: short side that images are brought to before they are cropped or evaluated [px]; "
        "0: image",
        0,
        later=True,
    )
    long_side: int = _says("detection: the long side is at most this then [px]; 0: any", 0, later=True)
    empty_images: str = _says("detection: training images without an object: drop or keep", "drop", later=True)
    slide: int = _says(
        "segmentation: evaluate in windows of `image` px, so far apart [px]; 0: whole images at once", 0, later=True
    )
    unlabelled: int = _says(
        "segmentation: the value of pixels without a class in label files, beside 255 where that is no class; values "
        "above it count one less, so 0 is ADE20K's reduced zero label",
        255,
        later=True,
    )
    class_names: str = _says(
        "names of the classes, separated by commas; empty: as the data has them, else numbers", "", later=True
    )
    augment: str = _says(
        "training augmentation: none, flip, pad_crop_flip (shift by up to 1/8 of the side), resized_crop (random "
        "resized crop and flip; arXiv 1409.4842), three_augment (that, then grey, solarised or blurred, and jittered "
        "colours; arXiv 2204.07118), or three_augment_simple (the same on a simple random crop); segmentation: none, "
        "flip, scale_crop (scaled by 0.5 to 2, cropped, flipped), scale_crop_distort (and colours distorted); "
        "detection: none, flip, jitter_crop (large-scale jitter, arXiv 2012.07177: scaled by 0.1 to 2, cropped and "
        "flipped)",
        "none",
    )
    rand_augment: str = _says(
        "RandAugment (arXiv 1909.13719) after the crop, in timm's words such as rand-m9-mstd0.5-inc1; empty: none",
        "",
        later=True,
    )
    erasing: float = _says(
        "share of training images with a random rectangle erased (arXiv 1708.04896) [1]", 0.0, later=True
    )
    mixup: float = _says("mixup (arXiv 1710.09412): alpha of its Beta distribution [1]; 0: none", 0.0, later=True)
    cutmix: float = _says("CutMix (arXiv 1905.04899): alpha of its Beta distribution [1]; 0: none", 0.0, later=True)
    repeats: int = _says(
        "repeated augmentation (arXiv 1901.09335): copies of an image in a batch; an epoch stays as long [1]",
        1,
        later=True,
    )
    bad_images: str = _says(
        "an unreadable image file: stop (exit with its name) or skip (count it; in training, take the next one)", "stop"
    )
    lr: float = _says("peak learning rate of AdamW (arXiv 1711.05101) [1/step]", 2e-3)
    lr_batch: int = _says(
        "lr is meant for batches of so many images and scaled to batch; 0: lr as it is", 0, later=True
    )
    min_lr: float = _says(
        "learning rate that cosine and poly end at, as timm's --min-lr: lr_batch does not scale it, layer_decay does "
        "[1/step]",
        0.0,
        later=True,
    )
    layer_decay: float = _says(
        "learning rate of a block over that of the block after it (arXiv 2106.08254), embedding first, head last [1]",
        1.0,
        later=True,
    )
    weight_decay: float = _says("weight decay of AdamW [1]; not on biases, norms, positions, tokens, A, D, dt", 0.05)
    beta1: float = _says("AdamW: decay of the mean of gradients [1]", 0.9)
    beta2: float = _says("AdamW: decay of the mean of squared gradients [1]", 0.999)
    warmup_epochs: float = _says("linear warm-up of the learning rate [epochs], then down to min_lr by schedule", 1.0)
    warmup_steps: int = _says("linear warm-up [steps], instead of warmup_epochs; 0: that says", 0, later=True)
    schedule: str = _says(
        "of the learning rate after warm-up: cosine (arXiv 1608.03983), poly, whose power is 1: a straight line, or "
        "steps: a tenth from each of the milestones on",
        "cosine",
        later=True,
    )
    milestones: str = _says("ends of epochs at which `steps` goes down, separated by commas: 8,11", "", later=True)
    clip: float = _says("gradients are clipped to this norm [1]; 0: not", 1.0)
    smoothing: float = _says("label smoothing (arXiv 1512.00567) in the training loss [1]; never in the test loss", 0.0)
    drop_path: float = _says(
        "stochastic depth (arXiv 1603.09382) of the last block, linear from 0 at the first [1]", 0.0
    )
    ema: float = _says("decay of an exponential moving average of the weights, a step [1]; 0: none", 0.0, later=True)
    judged: str = _says(
        "whose test loss is the run's and goes into the laws: raw or averaged weights; the record has both",
        "raw",
        later=True,
    )
    stage: str = _says("which stage of a chain this is: pretrain, intermediate, finetune; empty: none", "", later=True)
    start: str = _says(
        "canonical JSON of the recipe whose run this one starts from, all of its weights; empty: of none",
        "",
        later=True,
    )
    compat: str = _says(
        "positions of other weights at another grid: fixed (each token's own) or official (as the released Adventurer "
        "code does, which takes the first for the class token's, although that is last)",
        "fixed",
        later=True,
    )
    extend: int = _says(
        "patch that pixels are embedded at, whose tokens are then interpolated to as many as `patch` gives: longer "
        "sequences without new pixels (Table 5 of arXiv 2502.03738) [px]; 0: embedded at `patch`",
        0,
        later=True,
    )
    weights: str = _says(
        "what the backbone starts from: a file of weights (.pth read with weights_only, or .safetensors), "
        "timm:NAME for timm's pretrained weights; empty: from scratch",
        "",
    )
    position: str = _says(
        "position encoding: learned (initialised at 0.02) or sincos (fixed, 2-D; arXiv 2104.02057)", "learned"
    )
    flip: str = _says(
        "Adventurer: the blocks that read the image backwards: released (the third and fourth only, as the released "
        "weights need) or alternate (two of every four, as arXiv 2410.07599 has it)",
        "released",
        later=True,
    )
    data_digest: str = _says(
        "fingerprint of what the data's files hold, found at the start: it names the run instead of data_root; not to "
        "be set",
        "",
        later=True,
    )
    weights_digest: str = _says(
        "fingerprint of what the file of weights holds, which names the run instead of its path; not to be set",
        "",
        later=True,
    )
    eval_every: int = _says("epochs between test evaluations for the curve; 0: at the end only [epochs]", 0)
    precision: str = _says("arithmetic: auto (bf16-mixed on a GPU that has it, else 32), 32, or bf16-mixed", "auto")

    def __post_init__(self) -> None:
        for f in fields(self):
            _check_type(f.name, f.type, getattr(self, f.name))
        for name in ("image", "classes", "epochs", "batch", "data_version"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "must be 1 or more")
        for name in ("seed", "train_images", "test_images", "eval_every", "weight_decay", "warmup_epochs", "clip"):
            _check(getattr(self, name) >= 0, name, getattr(self, name), "must be 0 or more")
        _check(self.seed < 2**32, "seed", self.seed, "must be below 2**32")
        alone = self.task == "detect"  # objects of one class are told from the background
        _check(self.classes >= 2 or alone, "classes", self.classes, "must be 2 or more to tell apart")
        _check(self.lr > 0, "lr", self.lr, "must be above 0")
        _check(0 < self.crop <= 1, "crop", self.crop, "must be above 0 and at most 1")
        for name in ("smoothing", "drop_path", "beta1", "beta2", "ema", "val_split"):
            _check(0 <= getattr(self, name) < 1, name, getattr(self, name), "must be in [0, 1)")
        self._check_later()
        check_name("task", self.task, TASKS)
        if not self.data.startswith(DATA_PREFIXES):
            check_name("data set", self.data, DATA)
        if not self.backbone.startswith(TIMM):
            check_name("backbone", self.backbone, SIZES)
        check_name("augment", self.augment, AUGMENTS)
        check_name("bad_images", self.bad_images, ("stop", "skip"))
        check_name("position", self.position, POS_EMBEDS)
        check_name("flip", self.flip, ("released", "alternate"))
        family = SIZES[self.backbone].family if self.backbone in SIZES else "timm"
        _check(self.flip == "released" or family == "adventurer", "flip", self.flip, f"is for Adventurer, not {family}")
        check_name("precision", self.precision, ("auto", "32", "bf16-mixed"))
        check_patch(self.image, self.patch)
        self._check_task()

    def _check_task(self) -> None:
        """What one task has and another has not."""
        check_name("head", self.head, {head for heads in TASK_HEADS.values() for head in heads})
        rule = f"is not for the task {self.task}, which has: {', '.join(TASK_HEADS[self.task])}"
        _check(self.head in TASK_HEADS[self.task], "head", self.head, rule)
        check_name("schedule", self.schedule, SCHEDULES)
        check_name("empty_images", self.empty_images, ("drop", "keep"))
        down = self.milestones.replace(" ", "").split(",") if self.milestones else []
        rule = "must be whole numbers of epochs, ascending, separated by commas, such as 8,11"
        ascending = all(word.isdecimal() for word in down) and [int(w) for w in down] == sorted({int(w) for w in down})
        _check(ascending, "milestones", repr(self.milestones), rule)
        rule = "and milestones go together: steps needs some, and nothing else has any"
        _check((self.schedule == "steps") == bool(down), "schedule", self.schedule, rule)
        for name in ("steps", "warmup_steps", "short_side", "long_side", "slide", "unlabelled"):
            _check(getattr(self, name) >= 0, name, getattr(self, name), "must be 0 or more")
        for name in ("objects", "head_channels"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "must be 1 or more")
        classes = [name for name in self.class_names.split(",") if name.strip()]
        if classes and len(classes) != self.classes:
            raise ConfigError(f"class_names names {len(classes)} classes, the recipe has {self.classes}; set --classes")
        if self.backbone.startswith(TIMM):
            for name, plain in (("position", "learned"), ("extend", 0), ("drop_path", 0.0)):
                rule = f"is not for timm's backbones, which have their own: add --{name.replace('_', '-')} {plain}"
                _check(getattr(self, name) == plain, name, getattr(self, name), rule)
        dense = {"crop": 1.0, "erasing": 0.0, "mixup": 0.0, "cutmix": 0.0, "rand_augment": "", "repeats": 1}
        others: dict[str, dict[str, Any]] = {  # fields of the other tasks, and what they are where they do nothing
            "classify": {"short_side": 0, "objects": 1},
            "segment": dense,
            "detect": {**dense, "smoothing": 0.0},
        }
        if self.task != "segment":
            others[self.task] |= {"slide": 0, "unlabelled": 255}
        if self.task != "detect":
            others[self.task] |= {"long_side": 0, "empty_images": "drop"}
        for name, idle in others[self.task].items():
            value = getattr(self, name)
            _check(value == idle, name, value, f"is not for the task {self.task}; leave it at {idle!r}")
        views = {"classify": ("pad_crop_flip", *VIEWS), "segment": SCENES, "detect": OBJECTS}[self.task]
        rule = f"is not for the task {self.task}; there is: none, flip, {', '.join(views)}"
        _check(self.augment in ("none", "flip", *views), "augment", self.augment, rule)
        if self.task == "segment":
            _check(self.classes <= 255, "classes", self.classes, "must be at most 255: a label is a byte")
        if self.slide:
            rule = f"is more than the window, {self.image} px: pixels between windows would never be seen"
            _check(self.slide <= self.image, "slide", self.slide, rule)

    def _check_later(self) -> None:
        """The fields that came after the first release."""
        for name in ("mixup", "cutmix", "lr_batch", "extend", "min_lr"):
            _check(getattr(self, name) >= 0, name, getattr(self, name), "must be 0 or more")
        rule = f"is above the peak learning rate, {self.peak_lr:g}: the schedule would rise; set --min-lr, 0 for none"
        _check(self.min_lr <= self.peak_lr, "min_lr", self.min_lr, rule)
        rule = "is where cosine and poly end; steps has its milestones"
        _check(not (self.min_lr and self.schedule == "steps"), "min_lr", self.min_lr, rule)
        _check(1 <= self.repeats <= 16, "repeats", self.repeats, "must be from 1 to 16")
        _check(0 <= self.erasing <= 1, "erasing", self.erasing, "must be in [0, 1]")
        _check(0 < self.layer_decay <= 1, "layer_decay", self.layer_decay, "must be above 0 and at most 1")
        fits = not self.rand_augment or self.augment in VIEWS
        _check(fits, "rand_augment", self.rand_augment, f"is done to views: set augment to one of {', '.join(VIEWS)}")
        check_name("judged", self.judged, ("raw", "averaged"))
        _check(self.judged == "raw" or self.ema > 0, "judged", self.judged, "needs an average: set ema, such as 0.9999")
        for name in ("data_digest", "weights_digest"):
            value = getattr(self, name)
            _check(not value or bool(re.fullmatch("[0-9a-f]{16}", value)), name, value, "must be 16 hex digits")
        check_name("stage", self.stage, ("", *STAGES))
        check_name("compat", self.compat, COMPATS)
        _check(not (self.start and self.weights), "weights", self.weights, "and a start are two beginnings; take one")
        if self.extend:
            check_patch(self.image, self.extend)
            rule = f"is below patch {self.patch}: a sequence is extended from a larger patch, such as 16"
            _check(self.extend >= self.patch, "extend", self.extend, rule)
        if self.start:
            before = self.predecessor
            assert before is not None
            same = ("backbone", "patch") if before.task != self.task else ("backbone", "patch", "classes")
            for name in same:
                ours, theirs = getattr(self, name), getattr(before, name)
                hint = f"first do that stage with --{name} {ours}"
                _check(
                    ours == theirs,
                    name,
                    ours,
                    f"differs from {theirs} of {before.run_id}, which it starts from; {hint}",
                )

    @property
    def predecessor(self) -> "Recipe | None":
        """The recipe of the run that this one starts from."""
        return _recipe_in(self.start) if self.start else None

    @property
    def peak_lr(self) -> float:
        """The learning rate at the end of the warm-up [1/step]."""
        return self.lr * (self.batch / self.lr_batch if self.lr_batch else 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Field names to values, all of them."""
        return dataclasses.asdict(self)

    def canonical_json(self) -> str:
        """The one JSON text of what this recipe is: sorted keys, no spaces; equal recipes give equal texts. Where the
        data and the weights lie is no part of it once their content is known (scaling/runs/identity.py)."""
        places = {"data_root": self.data_digest, "weights": self.weights_digest}
        nowhere = {name: "" for name, digest in places.items() if digest}
        return _as_json({**self._said(), **nowhere, "data": self._data_name})

    def complete_json(self) -> str:
        """As canonical_json, and where data and weights lie: what recipe.json has."""
        return _as_json(self._said())

    @property
    def _data_name(self) -> str:
        """The data set's name; of a Hugging Face data set on disk whose content is known, the last part of its path."""
        prefix, _, path = self.data.partition("/")
        on_disk = prefix == "hfds" and path.startswith(("/", ".", "~"))
        return f"{prefix}/{path.rstrip('/').rpartition('/')[2]}" if on_disk and self.data_digest else self.data

    def _said(self) -> dict[str, Any]:
        """Field names to values, without those that came later and are at their defaults."""
        mine = ((f, getattr(self, f.name)) for f in fields(self))
        return {f.name: value for f, value in mine if not (f.metadata["later"] and value == f.default)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """The inverse of to_dict and of canonical_json; unknown names raise ConfigError."""
        names = {f.name for f in fields(cls)}
        for name in values:
            check_name("recipe field", name, names)
        return cls(**values)

    @property
    def run_id(self) -> str:
        """Readable slug task-data-[stage-]backbone-px-patch-seed, then 8 hex digits of the canonical JSON's SHA-256."""
        data = "-".join(filter(None, [self._data_name.replace("/", "_"), self.stage]))
        digest = hashlib.sha256(self.canonical_json().encode()).hexdigest()[:8]
        return f"{self.task}-{data}-{_slug(self.backbone)}-{self.image}px-p{self.patch}-s{self.seed}-{digest}"

    @property
    def group(self) -> str:
        """run_id without patch and seed: runs of one group differ in nothing else, so one law is fitted to them."""
        values = json.loads(self.canonical_json())
        del values["patch"], values["seed"]
        if (before := self.predecessor) is not None:
            values["start"] = before.group
        digest = hashlib.sha256(_as_json(values).encode()).hexdigest()[:8]
        return f"{self.task}-{self._data_name.replace('/', '_')}-{_slug(self.backbone)}-{self.image}px-{digest}"


def _as_json(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


@functools.lru_cache(maxsize=1024)
def _recipe_in(text: str) -> Recipe:
    """The recipe of a canonical JSON; read once, as it is asked for at every check of a recipe that starts from it."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as e:
        raise ConfigError(f"start is no recipe in JSON ({e})") from e
    if not isinstance(values, dict):
        raise ConfigError(f"start is no recipe in JSON but {values!r}")
    return Recipe.from_dict(values)


def _slug(backbone: str) -> str:
    """A name, timm:NAME perhaps, as a part of a folder's name whose parts are joined by dashes."""
    return backbone.replace(":", "_").replace("-", "_")


def _check(ok: bool, name: str, value: Any, rule: str) -> None:
    if not ok:
        raise ConfigError(f"{name} {value} {rule}")


def _check_type(name: str, kind: Any, value: Any) -> None:
    """bool is no int here, an int is a float, and a float is finite."""
    ok = {
        str: isinstance(value, str),
        int: isinstance(value, int) and not isinstance(value, bool),
        float: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
    }[kind]
    if not ok:
        raise ConfigError(f"{name} is {value!r}, which is not a {kind.__name__}")
