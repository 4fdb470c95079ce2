"""Sizes of packed images: their text, their distribution, their mean cost, and what does not go with packing."""

import numpy as np
import pytest
from scipy import stats

from scaling import costs
from scaling.config.at_shape import evaluated_sizes, images_of_step, model_shape, step_shape
from scaling.config.edit import edit, make_config
from scaling.config.packing import PLANS, SequencePacking, parse_sizes
from scaling.costs.run_flops import course_of
from scaling.errors import ConfigError
from scaling.packing import row_plan


@pytest.fixture
def packed(tiny):
    return edit(tiny, packing="sequences", image_sizes="8-32", pos_embed="sincos")


def drawn(count=4000, **fields):
    packing, shares = SequencePacking(**fields), np.random.default_rng(0).random(count)
    return np.array([packing.size_at(float(share)) for share in shares])


def test_the_named_plans_are_those_that_there_are():
    assert set(PLANS) == set(row_plan.PLANS)


@pytest.mark.parametrize(
    ("text", "sizes"), [("native", ()), ("64", (64,)), ("64, 32", (64, 32)), ("64-256", (64, 256)), ("9-9", (9, 9))]
)
def test_sizes_are_read(text, sizes):
    assert tuple(parse_sizes(text)) == sizes


@pytest.mark.parametrize("text", ["", "0", "-5", "a-b", "64-", "256-64", "1-2-3", "8,9-10", "12.5", "1e3", "٣"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ConfigError, match=r"^image_sizes "):
        SequencePacking(image_sizes=text)


def test_sizes_of_a_range_are_uniform():
    assert stats.kstest(drawn(image_sizes="64-256"), stats.uniform(64, 192).cdf).pvalue > 0.01


@pytest.mark.parametrize("mean", [-0.5, 0.0, 0.5])
def test_or_truncated_normal(mean):
    sizes = drawn(image_sizes="64-384", size_distribution="truncated_normal", size_mean=mean)
    wanted = stats.truncnorm(-1 - mean, 1 - mean, mean)
    assert stats.kstest((sizes - 224) / 160, wanted.cdf).pvalue > 0.01


def test_sizes_of_a_list_are_drawn_equally_often():
    counts = np.unique(drawn(image_sizes="32,64,16"), return_counts=True)
    assert counts[0].tolist() == [16, 32, 64]
    assert stats.chisquare(counts[1]).pvalue > 0.01


def test_the_extremes_of_a_distribution_are_the_ends_of_the_range():
    for distribution in ("uniform", "truncated_normal"):
        packing = SequencePacking(image_sizes="64-256", size_distribution=distribution)
        assert packing.size_at(0.0) == pytest.approx(64)
        assert packing.size_at(1.0) == pytest.approx(256)


@pytest.mark.parametrize("name", ["deit_nano", "adventurer_nano"])
def test_training_flops_are_the_mean_over_sizes_and_not_those_of_the_mean_size(packed, name):
    packed = edit(packed, backbone=name, patch_size=1)
    wanted = np.mean(
        [costs.recipe_flops(edit(packed, packing="none", img_size=round(s))) for s in np.arange(8, 32.01, 0.25)]
    )
    assert costs.recipe_step_flops(packed) / 3 == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("name", ["deit_nano", "adventurer_nano"])
def test_memory_is_planned_for_the_largest_size_that_is_drawn(packed, name):
    packed = edit(packed, backbone=name)
    for sizes, largest in (("8-32", 32), ("40,8", 40), ("10-10", 8), ("native", 16)):
        one_size = edit(packed, packing="none", img_size=largest)
        assert costs.step_bytes(edit(packed, image_sizes=sizes), 4) == costs.step_bytes(one_size, 4)
    short = edit(packed, image_sizes="8-96", patch_size=4, sequence_length=66)
    assert costs.step_bytes(short, 4) == costs.step_bytes(edit(short, packing="none", img_size=32), 4)


def test_a_size_per_step_is_distributed_as_one_per_image_and_a_function_of_seed_and_step(packed):
    packed = edit(packed, image_sizes="8-40", image_sizes_per="batch")
    course = course_of(packed, 4000)
    sizes = [step_shape(packed, step, course).img_size for step in range(4000)]
    shares = images_of_step(packed, model_shape(packed))
    values, counts = np.unique(sizes, return_counts=True)
    wanted = {8: 1 / 8, 16: 1 / 4, 24: 1 / 4, 32: 1 / 4, 40: 1 / 8}
    assert {shape.img_size: share for shape, share in shares.items()} == pytest.approx(wanted)
    assert stats.chisquare(counts, 4000 * np.array([wanted[size] for size in values.tolist()])).pvalue > 0.01
    assert sizes[100:104] == [step_shape(packed, step, course).img_size for step in range(100, 104)]
    other = edit(packed, seed=1)
    assert sizes[:64] != [step_shape(other, step, course).img_size for step in range(64)]


def test_images_of_their_own_sizes_are_taken_to_have_that_of_the_model(packed):
    native = edit(packed, image_sizes="native")
    assert images_of_step(native, model_shape(native)) == {model_shape(native): 1.0}
    assert costs.recipe_step_flops(native) == costs.recipe_step_flops(edit(native, packing="none"))


def test_a_run_is_evaluated_at_its_own_size_first(packed):
    assert evaluated_sizes(packed) == (16,)
    assert evaluated_sizes(edit(packed, eval_img_sizes=(32, 8, 16))) == (16, 8, 32)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_sizes": "native", "image_sizes_per": "batch"}, "image_sizes_per batch needs sizes to draw"),
        ({"eval_img_sizes": (12,)}, "^patch 8 does not divide a 12 px image"),
        ({"image_sizes": "native", "eval_img_sizes": (8,)}, "eval_img_sizes 8 is never used"),
        ({"packing": "none", "eval_img_sizes": (8,)}, "eval_img_sizes 8 needs images of any sizes"),
        ({"augment": "pad_crop_flip"}, "augment pad_crop_flip crops to a square"),
        ({"mixup": 0.5}, "mixup 0.5 needs images of one size"),
        ({"random_erasing_prob": 0.5}, "random_erasing_prob 0.5 needs images of one size"),
        ({"patch_embed": "flexible"}, "packing sequences needs --patch-embed conv"),
        ({"sequence_length": 1}, "sequence_length 1 must be 2 or more"),
        (
            {"backbone": "timm:vit_tiny_patch16_224", "drop_path": 0.0, "pos_embed": "learned"},
            "packing sequences is for",
        ),
        ({"on_large_image": "crop"}, "on_large_image"),
    ],
)
def test_what_does_not_go_with_packing_is_refused(packed, fields, message):
    with pytest.raises(ConfigError, match=message):
        edit(packed, **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"head": "upernet"}, r"^head upernet reads maps of one size, .*: --head linear$"),
        ({"slide_stride": 16}, "^slide_stride 16 is for images that are cropped"),
        ({"resize_short": 32}, "^resize_short 32 is for images that are cropped, .* --image-sizes$"),
        ({"augment": "resize_crop"}, "^augment resize_crop crops to a square"),
    ],
)
def test_what_does_not_go_with_packed_segmentation_is_refused(fields, message):
    packed = make_config(task="segment", packing="sequences", num_classes=4, img_size=32)
    with pytest.raises(ConfigError, match=message):
        edit(packed, **fields)


def test_detection_is_refused():
    with pytest.raises(ConfigError, match=r"^packing sequences is for the tasks classify and segment, not detect"):
        make_config(task="detect", packing="sequences")


@pytest.mark.parametrize(
    "text", ["", "2", "0.5", "2-0.5", "0.1-1", "1-8", "a-b", "-1-2", "1-2-3", "1,2", "1e0-2", "٣-4"]
)
def test_what_is_no_range_of_ratios_is_refused(packed, text):
    with pytest.raises(ConfigError, match=r"^aspect_ratios "):
        edit(packed, aspect_ratios=text)


def test_ratios_are_for_generated_images_that_are_packed(packed):
    assert edit(packed, aspect_ratios="0.5-2").data.aspect_ratios == "0.5-2"
    with pytest.raises(ConfigError, match=r"^aspect_ratios 1-2 needs images of any sizes: --packing sequences"):
        edit(packed, aspect_ratios="1-2", packing="none")
    with pytest.raises(ConfigError, match=r"^aspect_ratios 1-2 is for shapes"):
        edit(packed, aspect_ratios="1-2", dataset="cifar10")


def test_the_new_fields_change_no_id_where_they_have_their_defaults(packed):
    assert edit(packed, keep_aspect_ratio=True, aspect_ratios=None).run_id == packed.run_id
    others = {edit(packed, keep_aspect_ratio=False).run_id, edit(packed, aspect_ratios="0.5-2").run_id}
    assert len({packed.run_id, *others}) == 3
