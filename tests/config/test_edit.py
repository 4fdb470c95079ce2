import pytest

from scaling.config.edit import edit, make_config, value_of
from scaling.config.experiment import ExperimentConfig
from scaling.config.optim import Epochs, MultiStep, Steps
from scaling.config.patch_embeds import ConvPatchEmbed, ExtendedPatchEmbed
from scaling.config.task import Classification, LinearHead, Segmentation, SlidingWindow, UperNetHead, WholeImages
from scaling.errors import ConfigError

BASE = ExperimentConfig()


def test_fields_are_given_by_their_last_name():
    config = edit(BASE, patch_size=2, lr=1e-3, num_train=100, mixup=0.2, epochs=3)
    assert (config.model.patch_size, config.optim.lr, config.data.num_train) == (2, 1e-3, 100)
    assert (config.classification.mixup, config.schedule.epochs) == (0.2, 3)
    assert edit(config) is config


def test_a_union_is_switched_by_its_name_and_keeps_what_both_kinds_have():
    segment = edit(BASE, task="segment", smoothing=0.1, head_channels=48)
    assert segment.task == Segmentation(head=LinearHead(head_channels=48), smoothing=0.1)
    assert edit(segment, head="upernet").segmentation.head == UperNetHead(head_channels=48)
    assert edit(segment, task=Classification()).task == Classification()


def test_a_union_is_switched_by_a_field_that_one_kind_has_and_back_by_none():
    extended = edit(BASE, embed_patch_size=8)
    assert extended.model.patch_embed == ExtendedPatchEmbed(patch_size=4, embed_patch_size=8)
    assert edit(extended, patch_size=2).model.embed_patch_size == 8
    assert edit(extended, embed_patch_size=None).model.patch_embed == ConvPatchEmbed(patch_size=4)
    slide = edit(BASE, task="segment", slide_stride=8)
    assert slide.segmentation.eval_mode == SlidingWindow(slide_stride=8)
    assert edit(slide, slide_stride=None).segmentation.eval_mode == WholeImages()
    assert edit(BASE, initial_checkpoint="w.pth").init.kind == "file"
    assert edit(edit(BASE, initial_checkpoint="w.pth"), init="scratch").init.kind == "scratch"


def test_epochs_and_steps_are_two_lengths_of_a_run():
    steps = edit(BASE, max_steps=5)
    assert steps.schedule.length == Steps(max_steps=5, epochs=10)
    assert edit(steps, epochs=3).schedule.length == Epochs(epochs=3)
    assert edit(steps, epochs=3, max_steps=6).schedule.length == Steps(max_steps=6, epochs=3)
    assert edit(steps, max_steps=None).schedule.length == Epochs(epochs=10)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"resize_short": 3},
            "resize_short is not an option of the task classify, which has: aug_repeats, augment, auto_augment",
        ),
        ({"task": "segment", "mixup": 0.1}, "mixup is not an option of the task segment, which has: augment"),
        ({"milestones": (8,)}, "milestones does not apply to lr_schedule cosine; choose --lr-schedule multistep"),
        ({"pos_embed_resampling": "released"}, "set --initial-checkpoint"),
        ({"initial_checkpoint": "a", "pretrained": "b"}, "initial_checkpoint and pretrained exclude each other"),
        ({"epoch": 3}, "did you mean epochs?"),
        ({"packing": "navit"}, "unknown packing 'navit'; there is: none, sequences"),
        ({"step_shapes": "variable"}, "unknown step_shapes 'variable'; there is: fixed, patch_schedule, random_patch"),
        ({"objectives": "contrastive"}, "unknown objectives 'contrastive'; there is: distillation, supervised"),
        (
            {"patch_embed": "stem"},
            "unknown patch_embed 'stem'; did you mean conv_stem? there is: adaptive, conv, ",
        ),
        ({"lr_schedule": "multistep"}, "multistep needs milestones: set --milestones"),
    ],
)
def test_what_does_not_apply_is_refused(fields, message):
    with pytest.raises(ConfigError) as e:
        make_config(**fields)
    assert message in str(e.value)


def test_multistep_takes_its_milestones():
    config = edit(BASE, lr_schedule="multistep", milestones=(8, 11))
    assert config.schedule.lr_schedule == MultiStep(milestones=(8, 11))
    assert edit(config, objectives="supervised").objectives == BASE.objectives


def test_a_value_is_found_by_its_name():
    config = make_config(task="segment", head="upernet", patch_size=2)
    names = ("patch_size", "head", "task", "lr", "mixup", "img_size", "resize_short")
    assert [value_of(config, name) for name in names] == [2, "upernet", "segment", 2e-3, None, 16, None]


def test_another_file_of_weights_or_of_a_teacher_has_no_fingerprint_yet():
    digest = "0123456789abcdef"
    read = make_config(
        initial_checkpoint="a.pth", weights_digest=digest, teacher="b.pth", teacher_digest=digest, data_root=None
    )
    assert edit(read, lr=0.1).weights_digest == digest
    assert edit(read, initial_checkpoint="c.pth").weights_digest is None
    assert edit(read, initial_checkpoint="c.pth", weights_digest=digest).run_id == read.run_id
    assert edit(read, teacher="c.pth").distillation.teacher_digest is None
