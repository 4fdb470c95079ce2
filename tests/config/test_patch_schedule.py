"""The weights of patch sizes over a run are those of the schedule, exactly on average; texts are read strictly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from scaling import costs
from scaling.config.at_shape import evaluated_patches, model_shape, shapes_of
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.patch_weights import PATCH
from scaling.config.schedules import mean_shares, parse_schedule, spelled_schedule
from scaling.config.step_shapes import Course, PatchSchedule, RandomPatch, StepShape
from scaling.costs.run_flops import course_of, cumulated_flops, shape_flops, steps_of_equal_flops
from scaling.errors import ConfigError

MODEL = StepShape(2, 16)
FLOPS = {16: 1.0, 8: 3.0, 4: 12.0, 2: 65.0}
STRETCHES, RAMP, MIXED = "16@0.3,8@0.6,4@0.85,2@1", "16..8..4..2", "16:3,8:1..8:1,4:3..2"
LEARNING = make_config(
    img_size=16, patch_size=2, patch_embed="flexible", patch_schedule=RAMP, pos_embed="grid", num_train=640
)


def shares_at(text, progress):
    """The shares at a progress (n,), by interpolation between the knots of the text; (n, patches)."""
    if "@" in text:
        ends = [float(part.partition("@")[2]) for part in text.split(",")]
        number = np.searchsorted(ends, progress, side="left")
        return np.eye(len(FLOPS))[number]
    knots = []
    for part in text.split(".."):
        weights = dict.fromkeys(FLOPS, 0.0)
        for one in part.split(","):
            size, _, weight = one.partition(":")
            weights[int(size)] = float(weight or 1)
        knots.append(np.array(list(weights.values())) / sum(weights.values()))
    places = np.linspace(0, 1, len(knots))
    return np.stack([np.interp(progress, places, column) for column in np.array(knots).T], axis=1)


def reference(text, begin, end, flops):
    """Mean shares by the sum over 50,000 parts of progress, each of which has as many steps as its cost allows."""
    middles = (np.arange(50_000) + 0.5) / 50_000
    shares = shares_at(text, middles)
    steps = np.ones(len(middles)) if flops is None else 1 / (shares @ np.array(list(flops.values())))
    after = np.cumsum(steps) / steps.sum()
    its = (after > begin) & (after <= end)
    return (shares[its] * steps[its, None]).sum(0) / steps[its].sum()


@pytest.mark.parametrize("flops", [None, FLOPS])
@pytest.mark.parametrize("text", [STRETCHES, RAMP, MIXED])
@pytest.mark.parametrize(("begin", "end"), [(0, 1), (0.17, 0.64), (0.9, 1)])
def test_shares_are_the_integral_of_the_schedule(text, flops, begin, end):
    found = mean_shares(parse_schedule(text, PATCH), begin, end, flops)
    expected = list(reference(text, begin, end, flops))
    assert [found.get(patch, 0.0) for patch in FLOPS] == pytest.approx(expected, abs=3e-4)


SIZES = st.sampled_from(list(FLOPS))
PURE = st.lists(st.tuples(SIZES, st.integers(1, 50)), min_size=1, max_size=6)
KNOTS = st.lists(st.dictionaries(SIZES, st.floats(0.01, 100), min_size=1), min_size=1, max_size=5)


def pure_text(parts):
    ends = np.cumsum([length for _, length in parts])
    stretches = [(size, end / ends[-1]) for (size, _), end in zip(parts, ends, strict=True)]
    kept = [one for one, after in zip(stretches, [*stretches[1:], (0, 0)], strict=True) if one[0] != after[0]]
    return ",".join(f"{size}@{float(end)!r}" for size, end in kept)


def ramp_text(knots):
    return "..".join(",".join(f"{size}:{weight!r}" for size, weight in knot.items()) for knot in knots)


TEXTS = st.one_of(PURE.map(pure_text), KNOTS.map(ramp_text))


@given(TEXTS, st.integers(1, 60), st.sampled_from([None, FLOPS]))
def test_the_steps_of_a_run_have_the_shares_of_the_whole_run_on_average(text, steps, flops):
    stretches = parse_schedule(text, PATCH)
    total = dict.fromkeys(FLOPS, 0.0)
    for step in range(steps):
        shares = mean_shares(stretches, step / steps, (step + 1) / steps, flops)
        assert sum(shares.values()) == pytest.approx(1, abs=1e-8)
        assert all(share > 0 for share in shares.values())
        for patch, share in shares.items():
            total[patch] += share / steps
    whole = mean_shares(stretches, 0.0, 1.0, flops)
    assert total == pytest.approx({patch: whole.get(patch, 0.0) for patch in FLOPS}, abs=1e-9)


@given(TEXTS)
def test_a_schedule_has_one_spelling(text):
    one = PatchSchedule(patch_schedule=text)
    assert PatchSchedule(patch_schedule=one.patch_schedule) == one
    spaced = text.replace(",", " , ").replace("@", " @ ")
    assert PatchSchedule(patch_schedule=spaced) == one


def test_every_stretch_of_one_patch_size_is_pure_but_for_the_step_in_which_two_meet():
    course = Course(MODEL, 30, {})
    found = [PatchSchedule(patch_schedule=STRETCHES).at(0, step, course).patch_size for step in range(30)]
    assert found[:9] + found[9:18] + found[18:25] + found[26:] == [16] * 9 + [8] * 9 + [4] * 7 + [2] * 4
    assert found[25] in (4, 2)
    meeting = [PatchSchedule(patch_schedule=STRETCHES).at(seed, 25, course).patch_size for seed in range(2_000)]
    assert meeting.count(4) / 2_000 == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("patches", ["16,8,4,2", "16:1,8:2,2:5", "2"])
def test_a_constant_schedule_draws_what_random_patch_draws(patches):
    course = Course(MODEL, 500, {})
    for text in (patches, f"{patches}..{patches}..{patches}"):
        for progress in ("steps", "flops"):
            constant = PatchSchedule(patch_schedule=text, progress_in=progress)
            its = Course(MODEL, 500, {StepShape(patch, 16): cost for patch, cost in FLOPS.items()})
            draws = [constant.at(3, step, its) for step in range(500)]
            assert draws == [RandomPatch(patches=patches).at(3, step, course) for step in range(500)]


def test_a_part_of_a_ramp_draws_patches_as_often_as_its_shares():
    course, ramp = Course(MODEL, 9_000, {}), PatchSchedule(patch_schedule=RAMP)
    found = [ramp.at(0, step, course) for step in range(4_500)]
    shares = ramp._shares(MODEL, {}, 0.0, 0.5)
    assert set(found) == set(shares) == {StepShape(patch, 16) for patch in (16, 8, 4)}
    counts = [found.count(shape) for shape in shares]
    assert chisquare(counts, [len(found) * share for share in shares.values()]).pvalue > 1e-3


def test_a_draw_depends_on_seed_step_and_length_alone():
    course, ramp = Course(MODEL, 200, {}), PatchSchedule(patch_schedule=RAMP)
    first = [ramp.at(0, step, course) for step in range(200)]
    assert first[120:] == [PatchSchedule(patch_schedule=RAMP).at(0, step, course) for step in range(120, 200)]
    assert first != [ramp.at(1, step, course) for step in range(200)]


def test_in_flops_every_stretch_has_its_share_of_them():
    config = edit(LEARNING, patch_schedule=STRETCHES, progress_in="flops")
    flops = shape_flops(config)
    shares = config.step_shapes.shares(model_shape(config), flops)
    spent = np.array([share * flops[shape] for shape, share in shares.items()])
    assert spent / spent.sum() == pytest.approx([0.3, 0.3, 0.25, 0.15])
    assert next(iter(shares)).patch_size == 16
    assert max(shares.values()) == shares[StepShape(16, 16)] > 0.6


@pytest.mark.parametrize("progress", ["steps", "flops"])
@pytest.mark.parametrize("text", [STRETCHES, RAMP])
def test_planned_flops_are_those_of_the_patches_drawn_in_expectation(text, progress):
    config = edit(LEARNING, patch_schedule=text, progress_in=progress)
    drawn = [cumulated_flops(edit(config, seed=seed), 150)[-1] for seed in range(60)]
    planned = costs.recipe_step_flops(config) * config.optim.global_batch_size * 150
    error = np.std(drawn) / np.sqrt(len(drawn))
    assert abs(np.mean(drawn) - planned) < max(4 * error, 1e-6 * planned)
    assert costs.recipe_training_flops(config, 640) == costs.recipe_step_flops(config) * 640.0 * config.schedule.epochs


def test_cumulated_flops_are_those_of_every_step_until_then():
    config = edit(LEARNING, patch_schedule=STRETCHES, seed=2)
    course, found = course_of(config, 40), cumulated_flops(config, 40)
    assert found[0] == 0
    for step in range(40):
        patch = config.step_shapes.at(2, step, course).patch_size
        fixed = edit(config, step_shapes="fixed", patch_size=patch)
        assert found[step + 1] - found[step] == costs.recipe_step_flops(fixed) * config.optim.global_batch_size


@pytest.mark.parametrize("steps", [300, 1_000])
@pytest.mark.parametrize("fields", [{"patch_schedule": RAMP}, {"patch_schedule": STRETCHES}, {"patches": "16,8,4,2"}])
def test_steps_of_equal_flops_have_them_within_a_hundredth(fields, steps):
    fixed, other = edit(LEARNING, step_shapes="fixed"), edit(LEARNING, **fields)
    flops = costs.recipe_step_flops(fixed) * fixed.optim.global_batch_size * steps
    found = steps_of_equal_flops(other, flops)
    assert abs(costs.recipe_step_flops(other) * other.optim.global_batch_size * found / flops - 1) <= 0.01
    assert found > 2 * steps
    assert steps_of_equal_flops(fixed, flops) == steps


@given(st.text(alphabet="0123456789@.,: x", max_size=20))
def test_any_text_is_a_schedule_or_refused(text):
    try:
        stretches = parse_schedule(text, PATCH)
    except ConfigError as e:
        assert len(str(e).splitlines()) <= 1  # noqa: PT017
    else:
        assert stretches[-1].end == 1
        assert spelled_schedule(spelled_schedule(text, PATCH), PATCH) == spelled_schedule(text, PATCH)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"patch_schedule": ""}, "set --patch-schedule, --image-schedule or --crop-schedule"),
        ({"patch_schedule": "16@0.5,2@0.9"}, "ends at 0.9; the last stretch ends at 1, as 2@1"),
        ({"patch_schedule": "16@0.5,8@0.5,2@1"}, "8 px ends at 0.5, which is not after 0.5"),
        ({"patch_schedule": "16@0.5,8,2@1"}, "'' is not a progress above 0 and up to 1"),
        ({"patch_schedule": "16@0.5,2@1.5"}, "'1.5' is not a progress above 0 and up to 1; write 16@0.3,8@0.6,4@1"),
        ({"patch_schedule": "16@nan,2@1"}, "'nan' is not a progress"),
        ({"patch_schedule": "16@0.3,16@0.5,2@1"}, "has 16 px twice in a row; make it one stretch"),
        ({"patch_schedule": "x@1"}, "'x' is not a patch size"),
        ({"patch_schedule": "16..8..0"}, "'0' is not a patch size"),
        ({"patch_schedule": "16...2"}, "'.2' is not a patch size"),
        ({"patch_schedule": "16..5..2"}, "patch 5 does not divide a 16 px image"),
        ({"patch_schedule": "16..4"}, "patch_schedule 16..4 has 4 as its finest, and patch_size is 2"),
        ({"progress_in": "images"}, "unknown progress_in 'images'; there is: flops, steps"),
        ({"step_shapes": "fixed", "patch_schedule": RAMP}, "patch_schedule does not apply to step_shapes fixed"),
        ({"patch_embed": "conv"}, "step_shapes patch_schedule needs a kernel that is resized"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_line(fields, why):
    with pytest.raises(ConfigError) as e:
        edit(LEARNING, **fields)
    assert why in str(e.value)
    assert len(str(e.value).splitlines()) == 1


def test_progress_in_flops_that_are_unknown_is_refused():
    with pytest.raises(ConfigError, match="progress_in flops needs a cost model"):
        PatchSchedule(patch_schedule=RAMP, progress_in="flops").at(0, 0, Course(MODEL, 10, {}))


def test_a_schedule_is_chosen_by_its_field_and_read_back():
    config = edit(LEARNING, patch_schedule="16@0.50, 2@1.0", progress_in="flops", eval_patches=(8,))
    assert config.step_shapes == PatchSchedule(patch_schedule="16@0.5,2@1", progress_in="flops")
    assert ExperimentConfig.from_dict(config.to_dict()) == config
    assert edit(config, patch_schedule="16@0.5,2@1").run_id == config.run_id != LEARNING.run_id
    assert config.group == edit(config, seed=3).group
    assert [shape.patch_size for shape in shapes_of(config)] == [16, 2]
    assert evaluated_patches(config) == (2, 8, 16)
    with pytest.raises(ConfigError, match="patch_schedule needs patch_schedule: set --patch-schedule"):
        edit(edit(LEARNING, step_shapes="fixed"), step_shapes="patch_schedule")
