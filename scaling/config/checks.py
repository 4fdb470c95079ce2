"""Checks that concern several parts of a configuration, and the one place where they are made."""

from typing import TYPE_CHECKING

from scaling.config.fields import check
from scaling.config.initialization import FromRun, FromTeacher
from scaling.config.packing import NATIVE, SequencePacking
from scaling.config.patch_embeds import AdaptivePatchEmbed
from scaling.config.patch_size import check_patch
from scaling.config.step_shapes import PatchSchedule, RandomPatch, StepShape
from scaling.config.task import Classification, Detection, LinearHead, Segmentation, SlidingWindow
from scaling.config.token_drop import NoDrop
from scaling.errors import ConfigError
from scaling.model_specs import CLASS_TOKENS

if TYPE_CHECKING:
    from scaling.config.experiment import ExperimentConfig


def check_config(config: "ExperimentConfig") -> None:
    """Raise ConfigError where parts that are valid alone do not fit together."""
    _check_objectives(config)
    _check_classes(config)
    _check_patches(config)
    _check_packing(config)
    _check_norm(config)
    _check_learning_rate(config)
    rule = "needs averaged weights: set model_ema_decay, such as 0.9999"
    averaged = config.optim.model_ema_decay is not None
    check(config.evaluation.eval_weights == "raw" or averaged, "eval_weights", config.evaluation.eval_weights, rule)
    if isinstance(config.task, Segmentation) and isinstance(config.task.eval_mode, SlidingWindow):
        side, stride = config.model.img_size, config.task.eval_mode.slide_stride
        rule = f"is more than the window, {side} px: pixels between windows would never be evaluated"
        check(stride <= side, "slide_stride", stride, rule)
    _check_resampling(config)
    if isinstance(config.init, FromRun):
        _check_predecessor(config, config.init)


def _check_objectives(config: "ExperimentConfig") -> None:
    kinds = [objective.kind for objective in config.objectives]
    if not kinds:
        raise ConfigError("objectives is empty: the training loss needs one term or more, such as supervised")
    if twice := [kind for kind in kinds if kinds.count(kind) > 1]:
        raise ConfigError(f"objectives has {twice[0]} {len(twice)} times: the terms of a loss are of different kinds")
    _check_distillation(config, kinds)


def _check_distillation(config: "ExperimentConfig", kinds: list[str]) -> None:
    distillation = config.distillation
    if distillation is None:
        if isinstance(config.init, FromTeacher):
            raise ConfigError("init teacher needs a teacher: set --teacher RUN, FILE or timm:NAME")
        return
    if not isinstance(config.task, Classification):
        raise ConfigError(f"distillation is of class logits: the task {config.task.kind} has none; leave out --teacher")
    rule = "leaves a weight to the supervised loss, which is not among the objectives: add supervised, or set 1"
    check("supervised" in kinds or distillation.distil_weight == 1, "distil_weight", distillation.distil_weight, rule)


def _check_classes(config: "ExperimentConfig") -> None:
    classes = config.data.num_classes
    if not isinstance(config.task, Detection):  # objects of one class are distinguished from the background
        check(classes >= 2, "num_classes", classes, f"must be at least 2 for the task {config.task.kind}")
    if isinstance(config.task, Segmentation):
        check(classes <= 255, "num_classes", classes, "must be at most 255: a label is a byte")


def _check_patches(config: "ExperimentConfig") -> None:
    model, drawn, others = config.model, config.step_shapes, config.evaluation.eval_patches
    several = isinstance(drawn, RandomPatch) or (isinstance(drawn, PatchSchedule) and drawn.patch_schedule)
    asked = {"step_shapes": drawn.kind} if several else {}
    asked |= {"eval_patches": ",".join(map(str, others))} if others else {}
    for name, value in asked.items():
        rule = (
            f"needs a kernel that is resized, and patch_embed is {model.patch_embed.kind}: set --patch-embed flexible"
        )
        check(model.any_patch, name, value, rule)
    for patch in others:
        check_patch(model.img_size, patch)
    shape = StepShape(model.patch_size, model.img_size)
    if isinstance(drawn, RandomPatch):
        drawn.check_model(shape)
    if isinstance(drawn, PatchSchedule):
        drawn.check_model(shape, config.optim.global_batch_size)
        _check_schedule(config, drawn)


def _check_schedule(config: "ExperimentConfig", schedule: PatchSchedule) -> None:
    """The tasks and options that cannot have images of other sizes in training than in evaluation."""
    sizes = {name: getattr(schedule, name) for name in ("image_schedule", "crop_schedule") if getattr(schedule, name)}
    for name, value in sizes.items():
        rule = "is for images of one size per step, and packing is sequences: leave it out"
        check(not isinstance(config.packing, SequencePacking), name, value, rule)
        rule = "gives a teacher images of other sizes: leave out --teacher"
        check(config.distillation is None, name, value, rule)
        rule = "changes the size of objects and boxes, which no training view of detection follows: leave it out"
        check(not isinstance(config.task, Detection), name, value, rule)
    if isinstance(config.task, Segmentation) and schedule.image_schedule:
        rule = "would be a crop: training images of segmentation are crops of img_size; use crop_schedule"
        check(False, "image_schedule", schedule.image_schedule, rule)


def _check_packing(config: "ExperimentConfig") -> None:
    packing, model, task = config.packing, config.model, config.task
    sizes = config.evaluation.eval_img_sizes
    if not isinstance(packing, SequencePacking):
        rule = "needs images of any sizes: --packing sequences"
        check(not sizes, "eval_img_sizes", ",".join(map(str, sizes)), rule)
        check(config.data.aspect_ratios is None, "aspect_ratios", config.data.aspect_ratios, rule)
        return
    native = packing.image_sizes == NATIVE
    rule = "is never used: images are evaluated at their own sizes; set --image-sizes"
    check(not (native and sizes), "eval_img_sizes", ",".join(map(str, sizes)), rule)
    for size in sizes:
        check_patch(size, model.patch_size)
    if not isinstance(task, Classification):
        rule = f"leaves out patches, and the task {task.kind} has an answer in each: it is for the task classify"
        check(isinstance(packing.token_drop, NoDrop), "token_drop", packing.token_drop.kind, rule)
    name, value = "packing", packing.kind
    check(not isinstance(task, Detection), name, value, f"is for the tasks classify and segment, not {task.kind}")
    check(model.family in CLASS_TOKENS, name, value, f"is for {', '.join(CLASS_TOKENS)}, not {model.backbone}")
    check(model.patch_embed.kind == "conv", name, value, f"needs --patch-embed conv, not {model.patch_embed.kind}")
    check(task.augment in ("none", "flip"), "augment", task.augment, "crops to a square; packed images: none or flip")
    if isinstance(task, Segmentation):
        rule = "reads maps of one size, and packed images have sizes of their own: --head linear"
        check(isinstance(task.head, LinearHead), "head", task.head.kind, rule)
        rule = "is for images that are cropped, and packed images are whole: leave it out"
        check(task.slide_stride is None, "slide_stride", task.slide_stride, rule)
        check(task.resize_short is None, "resize_short", task.resize_short, rule + ", and set --image-sizes")
    for option in ("mixup", "cutmix", "random_erasing_prob", "auto_augment"):
        rule = "needs images of one size, and packing is sequences: set it to none"
        check(not getattr(task, option, None), option, getattr(task, option, None), rule)
    check(config.distillation is None, name, value, "gives a teacher no images of one size: leave out --teacher")


def _check_norm(config: "ExperimentConfig") -> None:
    """What statistics of a batch cannot be combined with."""
    name, value = "norm", config.model.norm
    if value == "layer":
        return
    rule = f"is for the task classify, not {config.task.kind}: set it to layer"
    check(isinstance(config.task, Classification), name, value, rule)
    rule = "counts all tokens of rows, and rows of packed images and of adaptive patches have padding: set it to layer"
    packed = isinstance(config.packing, SequencePacking) or isinstance(config.model.patch_embed, AdaptivePatchEmbed)
    check(not packed, name, value, rule)
    rule = "has statistics that are no weights, which averaged weights (model_ema_decay) would not fit: set it to layer"
    check(config.optim.model_ema_decay is None, name, value, rule)


def _check_learning_rate(config: "ExperimentConfig") -> None:
    end, peak = config.schedule.min_lr, config.optim.peak_lr
    rule = f"is above the peak learning rate, {peak:g}: the schedule would rise; set --min-lr, 0 for none"
    check(end <= peak, "min_lr", end, rule)


def _check_resampling(config: "ExperimentConfig") -> None:
    model, how = config.model, getattr(config.init, "pos_embed_resampling", "aligned")
    has_table = model.family != "timm" and (model.pos_embed.kind in ("learned", "grid") or model.learned_table)
    rule = f"is for learned positions of DeiT and Adventurer; {model.backbone} with {model.pos_embed.kind} has none"
    check(how != "bilinear" or has_table, "pos_embed_resampling", how, rule)


def _check_predecessor(config: "ExperimentConfig", init: FromRun) -> None:
    before = init.config
    if type(before) is not type(config):
        raise ConfigError(f"init.config is {before!r}, which is not an ExperimentConfig")
    pairs: dict[str, tuple[object, object]] = {"backbone": (config.model.backbone, before.model.backbone)}
    if init.patch_embed_resampling is not None:
        for model in (config.model, before.model):
            rule = f"resizes the kernel of --patch-embed conv, not of {model.patch_embed.kind}"
            check(model.patch_embed.kind == "conv", "patch_embed_resampling", init.patch_embed_resampling, rule)
    elif not (config.model.any_patch or before.model.any_patch):  # else the kernel is resized anyway
        pairs["patch_size"] = (config.model.patch_size, before.model.patch_size)
    if type(before.task) is type(config.task):
        pairs["num_classes"] = (config.data.num_classes, before.data.num_classes)
    for name, (ours, theirs) in pairs.items():
        hint = f"first do that stage with --{name.replace('_', '-')} {ours}"
        check(ours == theirs, name, ours, f"differs from {theirs} of {before.run_id}, which it starts from; {hint}")
