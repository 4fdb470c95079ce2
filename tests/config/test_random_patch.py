"""The patch size of every step is drawn by seed and step alone; lists of patches are read strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from scaling import costs
from scaling.config.at_shape import at_shape, evaluated_patches, model_shape
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.patch_weights import PATCHES, parse_patches, parse_weights
from scaling.config.step_shapes import Course, PatchSchedule, RandomPatch, StepShape
from scaling.errors import ConfigError

FLEXIBLE = make_config(
    img_size=16, patch_size=1, patch_embed="flexible", step_shapes="random_patch", pos_embed="grid", num_train=640
)
PAPER = StepShape(8, 240)


def drawn(shapes, model, seed=0, steps=10_000):
    return [shapes.at(seed, step, Course(model, steps, {})) for step in range(steps)]


def test_by_default_the_patches_are_those_of_the_paper_at_its_image_size():
    assert [shape.patch_size for shape in RandomPatch().shares(PAPER, {})] == [48, 40, 30, 24, 20, 16, 15, 12, 10, 8]
    assert [shape.patch_size for shape in RandomPatch().shares(StepShape(8, 224), {})] == [32, 28, 16, 14, 8]
    assert [shape.patch_size for shape in RandomPatch(coarsest_patch=16).shares(StepShape(4, 32), {})] == [16, 8, 4]


@pytest.mark.parametrize(
    ("shapes", "read"),
    [
        (RandomPatch(patches="60:7,8:5"), "step_shapes.parse_patches"),
        (PatchSchedule(patch_schedule="60:7,8:5..8"), "schedules.parse_weights"),
    ],
)
def test_the_text_is_read_once_for_all_steps(shapes, read, monkeypatch):
    texts, parse = [], parse_weights
    monkeypatch.setattr(f"scaling.config.{read}", lambda text, axis=PATCHES: texts.append(text) or parse(text, axis))
    drawn(shapes, PAPER, steps=20)
    assert len(texts) == len(set(texts)) <= 3  # of a schedule the image size is one


@pytest.mark.parametrize("patches", ["all", "48:1,8:2,16:5"])
def test_patches_are_drawn_as_often_as_their_weights(patches):
    shapes = RandomPatch(patches=patches)
    found, shares = drawn(shapes, PAPER), shapes.shares(PAPER, {})
    assert sum(shares.values()) == pytest.approx(1)
    assert set(found) == set(shares)
    counts = [found.count(shape) for shape in shares]
    assert chisquare(counts, [len(found) * share for share in shares.values()]).pvalue > 1e-3


def test_a_draw_depends_on_seed_and_step_alone():
    shapes = RandomPatch()
    first = drawn(shapes, PAPER, steps=200)
    assert first == drawn(RandomPatch(), PAPER, steps=200)
    assert first[150:] == [
        RandomPatch().at(0, step, Course(PAPER, 200, {})) for step in range(150, 200)
    ]  # as a resumed run
    assert first != drawn(shapes, PAPER, seed=1, steps=200)


SIZES = st.dictionaries(st.integers(1, 512), st.floats(1e-3, 1e3), min_size=1, max_size=8)


@given(SIZES, st.randoms())
def test_a_list_of_patches_has_one_spelling_whatever_its_order(weights, random):
    parts = [f"{size}:{weight!r}" for size, weight in weights.items()]
    random.shuffle(parts)
    one = RandomPatch(patches=",".join(parts))
    assert RandomPatch(patches=one.patches) == one
    if len(set(weights.values())) == 1:
        assert one.patches == ",".join(map(str, sorted(weights, reverse=True)))
    else:
        assert parse_patches(one.patches) == weights


@given(st.text(max_size=20))
def test_any_text_is_a_list_of_patches_or_refused(text):
    try:
        found = parse_patches(text)
    except ConfigError as e:
        assert len(str(e).splitlines()) <= max(1, len(repr(text).splitlines()))  # noqa: PT017
    else:
        assert found
        assert all(size >= 1 and weight > 0 for size, weight in found.items())


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"patches": ""}, "patches '': '' is not a patch size"),
        ({"patches": "8,x"}, "'x' is not a patch size; write 16,8,4 or 16:1,8:2"),
        ({"patches": "8,-4"}, "'-4' is not a patch size"),
        ({"patches": "8,8:2,1"}, "names 8 twice"),
        ({"patches": "8:0,1"}, "the weight '0' is not a number above 0"),
        ({"patches": "8:nan,1"}, "the weight 'nan' is not"),
        ({"patches": "8:1:2,1"}, "the weight '1:2' is not"),
        ({"patches": "5,1"}, "patch 5 does not divide a 16 px image; nearest that do: 4, 8"),
        ({"patches": "16,4"}, "has 4 as its finest, and patch_size is 1; the model is planned for the finest: set"),
        ({"patch_size": 8, "coarsest_patch": 4}, "coarsest_patch 4 is below patch_size 8"),
        ({"patch_embed": "conv"}, "step_shapes random_patch needs a kernel that is resized"),
        ({"eval_patches": (3,)}, "patch 3 does not divide a 16 px image"),
        ({"eval_patches": (2,), "patch_embed": "conv", "step_shapes": "fixed"}, "eval_patches 2 needs a kernel"),
        ({"resize": "area!"}, "unknown resize 'area!'; did you mean area"),
        ({"kernel_size": 0}, "kernel_size 0 must be 1 or more"),
        ({"grid_size": 0}, "grid_size 0 must be 1 or more"),
        ({"backbone": "timm:vit_tiny_patch16_224"}, "add --pos-embed learned"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_line(fields, why):
    with pytest.raises(ConfigError) as e:
        edit(FLEXIBLE, **fields)
    assert why in str(e.value)
    assert len(str(e.value).splitlines()) == 1


def test_a_flexible_recipe_is_read_back_and_names_its_finest_patch():
    config = edit(FLEXIBLE, patches="8:2, 1", eval_patches=(2,), kernel_size=16, grid_size=5)
    assert config.step_shapes.patches == "8:2,1:1"
    assert ExperimentConfig.from_dict(config.to_dict()) == config
    assert "-16px-p1-s0-" in config.run_id
    assert config.group == edit(config, seed=3).group != edit(config, patches="8,1").group
    assert edit(config, patches="1,8:2.0").run_id == config.run_id


def test_a_finished_run_is_evaluated_at_its_patches_the_finest_first():
    assert evaluated_patches(FLEXIBLE) == (1, 2, 4, 8, 16)
    assert evaluated_patches(edit(FLEXIBLE, patches="4,1", eval_patches=(16, 2))) == (1, 2, 4, 16)
    assert evaluated_patches(edit(FLEXIBLE, step_shapes="fixed", eval_patches=(8,))) == (1, 8)
    assert evaluated_patches(make_config(img_size=16, patch_size=4)) == (4,)


def test_flops_of_training_are_the_mean_over_the_draws_and_memory_is_that_of_the_finest_patch():
    config = edit(FLEXIBLE, patches="8:3,2:1", patch_size=2)
    fixed = {patch: edit(config, step_shapes="fixed", patch_size=patch) for patch in (8, 2)}
    flops = {patch: costs.recipe_flops(one) for patch, one in fixed.items()}
    assert costs.recipe_step_flops(config) == round(3 * (0.75 * flops[8] + 0.25 * flops[2]))
    assert costs.recipe_flops(config) == flops[2]
    assert costs.memory_bytes(config, 8) == costs.memory_bytes(fixed[2], 8)
    found = drawn(config.step_shapes, model_shape(config))
    counted = sum(3 * costs.recipe_flops(at_shape(config, shape)) for shape in found) / len(found)
    assert costs.recipe_step_flops(config) == pytest.approx(counted, rel=0.05)
