"""Schedules of patch size, image size and crop together: every step has what the schedules have at its progress, once;
phases cover the run; what cannot be trained is refused in a line."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling import costs
from scaling.config.at_shape import learned_patches, model_shape, phase_config, shapes_of, step_batch_size
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.joint_schedule import Sizes, joint_schedule
from scaling.config.patch_weights import CROP, IMAGE, PATCH
from scaling.config.schedules import mean_shares, parse_schedule, spelled_schedule, step_bounds
from scaling.config.step_shapes import Course, PatchSchedule, StepShape
from scaling.costs.phases import phases_of
from scaling.costs.run_flops import course_of, cumulated_flops, seen_images
from scaling.errors import ConfigError

MODEL = StepShape(4, 32)
BASE = make_config(
    img_size=32, patch_size=4, patch_embed="flexible", pos_embed="sincos", num_train=640, global_batch_size=32
)

LENGTHS = st.lists(st.integers(1, 20), min_size=1, max_size=5)


def pure(draw, values, axis):
    """A text of stretches of one value, by their ends or by their lengths, with its ends."""
    lengths = draw(LENGTHS)
    sizes = [draw(st.sampled_from(values)) for _ in lengths]
    kept = [k for k in range(len(sizes)) if k == 0 or sizes[k] != sizes[k - 1]]
    sizes, lengths = [sizes[k] for k in kept], [lengths[k] for k in kept]
    total = sum(lengths)
    ends = [end / total for end in np.cumsum(lengths).tolist()]
    by_length = draw(st.booleans()) and len(sizes) > 1
    numbers = [length / total for length in lengths] if by_length else ends
    return ",".join(f"{size}@{number!r}" for size, number in zip(sizes, numbers, strict=True)), sizes, ends


@st.composite
def three(draw):
    return pure(draw, (16, 8, 4), PATCH), pure(draw, (16, 32), IMAGE), pure(draw, (0.5, 1), CROP)


def value_at(sizes, ends, progress):
    return sizes[int(np.searchsorted(ends, progress - 1e-9, side="left"))]


@given(three(), st.integers(1, 3))
def test_at_every_progress_the_shape_is_that_of_all_three_schedules(texts, cycles):
    stretches = joint_schedule(*(text for text, _, _ in texts), cycles)
    bounds = [0.0, *(one.end for one in stretches)]
    assert bounds == sorted(set(bounds))
    assert bounds[-1] == 1
    for stretch, (low, high) in zip(stretches, pairwise(bounds), strict=True):
        within = ((low + high) / 2 * cycles) % 1
        expected = Sizes(*(value_at(sizes, ends, within) for _, sizes, ends in texts))
        assert stretch.first == stretch.last == {expected: 1.0}


@given(three())
def test_lengths_and_ends_of_stretches_are_one_schedule(texts):
    for (text, sizes, ends), axis in zip(texts, (PATCH, IMAGE, CROP), strict=True):
        spelled = spelled_schedule(text, axis)
        assert spelled_schedule(spelled, axis) == spelled
        found = parse_schedule(text, axis)
        assert [next(iter(one.first)) for one in found] == sizes
        assert [one.end for one in found] == pytest.approx(ends, abs=1e-11)
        assert found[-1].end == 1


RAMPS = st.sampled_from(["16..8..4", "4..16", "16:3,8:1..8:1,4:3", "16,8,4", "4"])


@given(RAMPS, three(), st.integers(1, 50), st.sampled_from(["steps", "flops"]))
def test_of_steps_and_of_phases_the_mean_is_that_of_the_whole_run(ramp, texts, steps, progress):
    _, (image, _, _), (crop, _, _) = texts
    stretches = joint_schedule(ramp, image, crop, 2)
    flops = None
    if progress == "flops":
        flops = {
            size: 1 + (size.image * size.crop / size.patch) ** 2
            for one in stretches
            for size in (*one.first, *one.last)
        }
    whole = mean_shares(stretches, 0.0, 1.0, flops)
    assert sum(whole.values()) == pytest.approx(1)
    bounds = step_bounds(stretches, flops)
    for cuts in (np.linspace(0, 1, steps + 1).tolist(), bounds):
        total = dict.fromkeys(whole, 0.0)
        for low, high in pairwise(cuts):
            shares = mean_shares(stretches, low, high, flops)
            assert sum(shares.values()) == pytest.approx(1, abs=1e-8)
            for size, share in shares.items():
                total[size] += share * (high - low)
        assert total == pytest.approx(whole, abs=1e-8)


@given(three(), RAMPS, st.integers(1, 80), st.integers(1, 3), st.sampled_from(["steps", "flops"]), st.booleans())
def test_phases_cover_all_steps_once_and_have_their_flops(texts, ramp, steps, cycles, progress, mixed):
    (patch, sizes, _), (image, sides, _), (crop, _, _) = texts
    if 4 not in sizes or 32 not in sides:
        return
    schedule = PatchSchedule(
        patch_schedule=ramp if mixed else patch, image_schedule=image, crop_schedule=crop, cycles=cycles,
        progress_in=progress,
    )  # fmt: skip
    try:
        config = edit(BASE, step_shapes=schedule)
    except ConfigError:  # half of 16 px is less than a patch of 16 px
        return
    phases = phases_of(config, steps)
    assert [phase.first_step for phase in phases] == [sum(one.steps for one in phases[:k]) for k in range(len(phases))]
    assert sum(phase.steps for phase in phases) == steps
    for phase in phases:
        assert phase.images == pytest.approx(32 * phase.steps)
        assert set(phase.shares) <= set(shapes_of(config))
        if len(phase.shares) == 1:
            (shape,) = phase.shares
            fixed = phase_config(config, shape)
            assert phase.flops == pytest.approx(costs.recipe_step_flops(fixed) * 32 * phase.steps)


def test_constant_random_steps_ramps_and_cycles_are_schedules_of_the_patch():
    course = Course(MODEL, 12, {})

    def drawn(text, **more):
        schedule = PatchSchedule(patch_schedule=text, **more)
        return [schedule.at(0, step, course).patch_size for step in range(12)]

    assert drawn("4") == [4] * 12
    assert set(drawn("16,8,4")) == {16, 8, 4}
    assert drawn("16@0.5,8@0.25,4@0.25") == drawn("16@0.5,8@0.75,4@1") == [16] * 6 + [8] * 3 + [4] * 3
    up, down = drawn("4..16"), drawn("16..4")
    assert (up[0], up[-1], down[0], down[-1]) == (4, 16, 16, 4)
    assert drawn("16@0.5,4@0.5", cycles=3) == ([16] * 2 + [4] * 2) * 3


def test_equal_tokens_have_more_images_in_cheaper_steps_and_all_of_them_are_counted():
    config = edit(BASE, patch_schedule="16@0.25,8@0.25,4@0.5", batch_in="tokens")
    assert {s.patch_size: step_batch_size(config, s) for s in shapes_of(config)} == {16: 512, 8: 128, 4: 32}
    assert all(step_batch_size(config, s) * s.tokens == 32 * 64 for s in shapes_of(config))
    assert seen_images(config, 20) == 5 * 512 + 5 * 128 + 10 * 32
    by_phase = phases_of(config, 20)
    assert [phase.images for phase in by_phase] == [5 * 512, 5 * 128, 10 * 32]
    planned = costs.recipe_step_flops(config) * 32 * 20
    assert sum(phase.flops for phase in by_phase) == pytest.approx(planned, rel=1e-6)
    assert cumulated_flops(config, 20)[-1] == pytest.approx(planned, rel=1e-6)


def test_progress_in_flops_counts_the_images_of_a_step():
    config = edit(BASE, patch_schedule="16@0.3,8@0.3,4@0.4", batch_in="tokens", progress_in="flops")
    phases = phases_of(config, 10_000)
    spent = np.array([phase.flops for phase in phases])
    assert spent / spent.sum() == pytest.approx([0.3, 0.3, 0.4], abs=1e-3)


def test_a_schedule_of_images_needs_no_flexible_kernel_and_its_patches_are_one_group():
    config = edit(BASE, patch_embed="conv", image_schedule="16@0.5,32@0.5")
    assert config.step_shapes == PatchSchedule(image_schedule="16@0.5,32@1")
    assert learned_patches(config) == {4}
    assert [tuple(shape) for shape in shapes_of(config)] == [(4, 32, 0), (4, 16, 0)]
    assert edit(config, patch_size=8).group == config.group != edit(config, step_shapes="fixed").group
    assert ExperimentConfig.from_dict(config.to_dict()) == config
    half = costs.recipe_step_flops(edit(config, step_shapes="fixed", img_size=16))
    whole = costs.recipe_step_flops(edit(config, step_shapes="fixed"))
    assert costs.recipe_step_flops(config) == pytest.approx((half + whole) / 2, rel=1e-6)


def test_a_crop_has_the_costs_of_an_image_of_its_size():
    config = edit(BASE, patch_embed="conv", crop_schedule="0.5@0.5,1@1")
    small = StepShape(4, 16, 32)
    assert list(shapes_of(config)) == [MODEL, small]
    assert small.crop == 0.5
    flops = course_of(config, 10).flops
    assert flops[small] == costs.recipe_step_flops(edit(config, step_shapes="fixed", img_size=16))
    assert model_shape(config) == MODEL


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"patch_schedule": "16@0.3,8@0.3,4@0.3"}, "as lengths of stretches the numbers have the sum 0.9, not 1"),
        ({"image_schedule": "16@0.5,32@0.4"}, "the numbers have the sum 0.9, not 1"),
        ({"image_schedule": "18@0.5,32@1"}, "patch 4 does not divide a 18 px image; nearest that do: 3, 6"),
        ({"image_schedule": "16@0.5,24@1"}, "has 24 as its largest, and img_size is 32"),
        ({"image_schedule": "big@1"}, "'big' is not an image size; write 16@0.5,32@1 or 16..32"),
        ({"crop_schedule": "0.3@0.5,1@1"}, "crop 0.3 of a 32 px image is 9.6 px, not whole patches of 4 px; nearest"),
        ({"crop_schedule": "2@1"}, "'2' is not a share of the side above 0 and up to 1"),
        ({"crop_schedule": "0.5..1", "patch_schedule": "16..4"}, "patch_schedule and crop_schedule both draw"),
        (
            {"image_schedule": "24@0.5,32@1", "batch_in": "tokens"},
            "64 tokens are 2048 per step, which images of 36 tokens (patch 4, 24 px) do not divide; nearest "
            "global_batch_size that does: 27, 36",
        ),
        ({"batch_in": "tokens"}, "set --patch-schedule, --image-schedule or --crop-schedule"),
        ({"image_schedule": "16@0.5,32@1", "cycles": 0}, "cycles 0 must be 1 or more"),
        (
            {"image_schedule": "16@0.5,32@1", "packing": "sequences", "patch_embed": "conv"},
            "image_schedule 16@0.5,32@1 is for images of one size per step",
        ),
        (
            {"image_schedule": "16@0.5,32@1", "task": "segment", "num_classes": 4, "augment": "resize_crop"},
            "training images of segmentation are crops of img_size; use crop_schedule",
        ),
        (
            {"crop_schedule": "0.5@0.5,1@1", "task": "detect", "augment": "lsj", "head": "cascade_mask_rcnn"},
            "crop_schedule 0.5@0.5,1@1 changes the size of objects and boxes",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_in_a_line(fields, why):
    with pytest.raises(ConfigError) as e:
        edit(BASE, **fields)
    assert why in str(e.value)
    assert len(str(e.value).splitlines()) == 1


@given(st.text(alphabet="0123456789@.,:x ", max_size=20), st.sampled_from([PATCH, IMAGE, CROP]))
def test_any_text_is_a_schedule_or_refused_in_a_line(text, axis):
    try:
        found = parse_schedule(text, axis)
    except ConfigError as e:
        assert len(str(e).splitlines()) == 1  # noqa: PT017
    else:
        assert found[-1].end == 1
        assert spelled_schedule(spelled_schedule(text, axis), axis) == spelled_schedule(text, axis)
