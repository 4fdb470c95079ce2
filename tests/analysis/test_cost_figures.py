"""The calculators of notebook 03: their numbers are those of scaling/costs.py, and every slider's value draws."""

import io

import pytest
from matplotlib.figure import Figure

from analysis.planning import cost_tables
from analysis.planning.allocation import best
from analysis.planning.cost_tables import (
    PARTS,
    by_patch,
    classifier,
    image_memory,
    largest_batch,
    memory_by_patch,
    on_card,
    resized,
)
from analysis.planning.throughput_model import image_seconds
from analysis.plots.costs import (
    length_figure,
    memory_figure,
    parameter_figure,
    parts_figure,
    resolution_figure,
    use_figure,
)
from scaling import costs
from scaling.costs import MemoryPolicy
from scaling.costs.training_memory import SHARE, step_bytes

BACKBONES = ("deit_base", "adventurer_base")


@pytest.fixture(scope="module")
def configured():
    return on_card("a100")


def drawn(figure: Figure) -> str:
    """All that a figure says, once it has been drawn."""
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    texts = [[axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()] for axes in figure.axes]
    texts.extend([text.get_text() for text in legend.get_texts()] for legend in figure.legends)
    return "\n".join(word.replace("\n", " ") for words in texts for word in words)


def values(figure: Figure, panel: int, line: int = 0) -> dict[float, float]:
    x, y = figure.axes[panel].lines[line].get_data()
    return dict(zip(x, y, strict=True))


def test_a_row_of_deit_base_is_what_can_be_counted_by_hand():
    """At 224 px and patch 16, of 768 channels, 12 blocks and 1,000 classes; multiply-adds count twice."""
    row = by_patch("deit_base", 224).set_index("patch").loc[16]
    assert (row["tokens"], row["pairs"]) == (14 * 14, 197**2)
    projection, positions, classes = 3 * 16**2 * 768 + 768, 197 * 768, 1000 * 768 + 1000
    block = 2 * 2 * 768 + (3 * 768**2 + 3 * 768) + (768**2 + 768) + 2 * 4 * 768**2 + 5 * 768
    assert (row["projection"], row["positions"]) == (projection, positions)
    assert row["parameters"] == projection + positions + 768 + 12 * block + 2 * 768 + classes == 86_567_656  # timm's
    assert row["embedding"] == 2 * 196 * 768 * 768
    assert row["projections"] == 12 * 2 * 197 * 4 * 768**2
    assert row["attention"] == 12 * 2 * 2 * 197**2 * 768
    assert (row["scan"], row["convolution"]) == (0, 0)
    assert row["mlp"] == 12 * 2 * 197 * 8 * 768**2
    assert row["head"] == 2 * 768 * 1000
    assert row["forward"] == sum(row[part] for part in PARTS)


def test_a_mixer_without_attention_scans_and_convolves():
    row = by_patch("adventurer_base", 224).set_index("patch").loc[16]
    assert row["attention"] == 0
    assert min(row["scan"], row["convolution"]) > 0
    assert row["forward"] == pytest.approx(sum(row[part] for part in PARTS))
    assert row["parameters"] == costs.parameters("adventurer_base", 224, 16, 1000)  # against built ones: test_costs.py


def test_only_patches_that_divide_the_image_and_are_smaller_have_a_row():
    assert list(by_patch("deit_base", 224)["patch"]) == [32, 16, 8, 4, 2, 1]
    assert list(by_patch("deit_base", 256)["patch"]) == [64, 32, 16, 8, 4, 2, 1]
    assert list(by_patch("deit_base", 64)["patch"]) == [32, 16, 8, 4, 2, 1]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_projection_and_positions_are_all_of_the_model_that_follows_the_patch(backbone):
    table = by_patch(backbone, 256)
    assert (table["parameters"] - table["projection"] - table["positions"]).nunique() == 1
    assert table.set_index("patch")["projection"][16] == 3 * 16**2 * 768 + 768


def test_ratios_that_common_texts_get_wrong_come_out_of_the_arithmetic():
    at = by_patch("deit_base", 224).set_index("patch")
    assert list(at["tokens"][:3]) == [49, 196, 784]
    assert (costs.tokens(224, 8) / costs.tokens(224, 32)) ** 2 == 4**4 == 256
    assert at["pairs"][8] / at["pairs"][32] == pytest.approx((785 / 50) ** 2)
    assert at["pairs"][8] / at["pairs"][32] == pytest.approx(246.5, abs=0.02)
    assert at["forward"][8] / at["forward"][16] == pytest.approx(4.45, abs=0.005)
    assert at["embedding"].nunique() == 1
    assert at["projection"][8] - at["projection"][16] == -442_368
    assert at["positions"][8] - at["positions"][16] == 451_584


@pytest.mark.parametrize("backbone", BACKBONES)
def test_an_image_takes_what_a_step_of_one_more_takes_more_and_less_where_blocks_are_recomputed(backbone):
    table = memory_by_patch(backbone, 224, "a100").set_index(["way", "patch"])["memory"]
    for patch in (16, 4):
        config = classifier(backbone, 224, patch)
        large, small = (step_bytes(config, batch, MemoryPolicy(number=2)) for batch in (512, 256))
        assert table["fused attention", patch] == pytest.approx((large - small) / 256, rel=0.02)
        assert table["fused, blocks recomputed", patch] < 0.5 * table["fused attention", patch]


def test_with_fused_attention_memory_grows_with_tokens_and_with_matrices_it_does_not():
    table = memory_by_patch("deit_base", 224, "a100").set_index(["way", "patch"])["memory"]
    for coarse, fine in ((16, 8), (8, 4), (4, 2), (2, 1)):
        assert table["fused attention", fine] / table["fused attention", coarse] == pytest.approx(4, rel=0.015)
    kept = table["attention keeps its matrices"]
    assert kept[1] / kept[2] > 15


def test_a_model_without_attention_has_no_matrices_to_keep():
    assert "attention keeps its matrices" not in set(memory_by_patch("adventurer_base", 224, "a100")["way"])
    assert "matrices" not in drawn(memory_figure("adventurer_base"))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("card", ["a100", "rtx4090"])
def test_the_largest_batch_fits_and_one_image_more_does_not(backbone, card):
    config = classifier(backbone, 224, 8)
    room = costs.CARDS[card].memory - costs.optimiser_bytes(costs.recipe_parameters(config))
    for way in ({}, {"grad_checkpointing": True}):
        most = largest_batch(config, card, **way)
        assert step_bytes(config, most, MemoryPolicy(number=2, **way)) <= SHARE * room
        assert step_bytes(config, most + 1, MemoryPolicy(number=2, **way)) > SHARE * room


def test_where_not_even_one_image_fits_the_batch_is_0():
    assert largest_batch(classifier("deit_base", 224, 1), "rtx4090", flash=False) == 0


@pytest.mark.parametrize(("image", "patch"), [(224, 16), (224, 32), (128, 8), (512, 1)])
def test_on_another_image_either_the_patch_or_the_tokens_are_held(image, patch):
    table = resized("deit_base", image, patch)
    patch_held, tokens_held = (table[table["held"] == held] for held in ("patch", "tokens"))
    assert set(patch_held["image"]) == set(tokens_held["image"]) >= {image, 2 * image, 3 * image}
    assert set(patch_held["patch"]) == {patch}
    assert set(patch_held["kernel"]) == {"kept"}
    assert set(tokens_held["tokens"]) == {costs.tokens(image, patch)}
    assert set(tokens_held["positions"]) == {"kept"}
    for row in table.to_dict("records"):
        assert row["tokens"] == costs.tokens(row["image"], row["patch"])
        assert row["forward"] == costs.flops("deit_base", row["image"], row["patch"], 1000)
        assert row["memory"] == image_memory(classifier("deit_base", row["image"], row["patch"]))


def test_what_is_resampled_is_told():
    table = resized("deit_base", 224, 16).set_index(["held", "image"])
    assert table.loc[("patch", 448), "positions"] == "14x14 to 28x28"
    assert table.loc[("tokens", 448), "kernel"] == "16 to 32 px"
    assert (table.loc[("patch", 224), ["positions", "kernel"]] == "kept").all()


def test_hours_on_a_card_are_those_of_the_cost_model(configured):
    row = configured.query("model == 'Adventurer-Base' and patch == 4 and image == 224").iloc[0]
    config = classifier("adventurer_base", 224, 4)
    images = 300 * costs.IMAGENET_IMAGES
    assert row["hours"] == pytest.approx(images * image_seconds(config, costs.CARDS["a100"], 1024) / 3600)
    assert row["batch"] == largest_batch(config, "a100")
    assert row["memory"] == image_memory(config)


def test_a_budget_of_hours_buys_no_more_than_it_pays_for(configured):
    bought = best(configured, [30, 1000, 10_000], cost="hours")
    assert (bought["hours"] <= bought["budget"]).all()
    assert bought["predicted"].is_monotonic_decreasing


def test_a_faster_card_takes_fewer_hours_for_the_same_configurations(configured):
    faster = on_card("h100")
    assert (faster["hours"] < configured["hours"]).all()
    assert (faster["predicted"] == configured["predicted"]).all()


def test_the_figures_draw_the_numbers_of_their_frames(configured):
    table = by_patch("deit_base", 224).set_index("patch")
    assert values(length_figure(), 0) == table["tokens"].to_dict()
    assert values(length_figure(), 1) == table["pairs"].to_dict()
    assert values(parameter_figure(image=224), 0) == table["projection"].to_dict()
    shares = values(parameter_figure(image=224), 1, line=1)
    assert shares == pytest.approx((100 * table["positions"] / table["parameters"]).to_dict())
    assert values(parts_figure(), 0) == table["forward"].to_dict()
    fused = memory_by_patch("deit_base", 224, "a100").query("way == 'fused attention'").set_index("patch")
    assert values(memory_figure(), 0, line=1) == fused["memory"].to_dict()
    its = configured.query("model == 'Adventurer-Base' and image == 224").set_index("patch")
    assert values(use_figure(), 1) == its["hours"].to_dict()


def test_shares_of_flops_fill_every_bar():
    bars = parts_figure().axes[1].patches
    tops = {bar.get_x(): bar.get_y() + bar.get_height() for bar in bars}
    assert all(99.5 < top <= 100.0001 for top in tops.values())  # the classifier is less than 0.1 %


def test_the_chosen_patch_is_told_in_words():
    said = drawn(length_figure(image=224, patch=8))
    assert "28 x 28 = 784 tokens" in said
    assert "785² = 616,225 elements" in said


@pytest.mark.parametrize(("image", "patch"), [(64, 32), (384, 32), (512, 1)])
def test_the_ends_of_the_sliders_draw(image, patch):
    assert f"patch {patch}: {image // patch} x {image // patch} = " in drawn(length_figure(image, patch))
    assert "adventurer_tiny" in drawn(resolution_figure("adventurer_tiny", image, patch))
    backbone = "adventurer_base" if patch == 1 else "deit_base"
    assert backbone in drawn(parameter_figure(backbone, image))
    assert backbone in drawn(parts_figure(backbone, image))
    assert "rtx4090: 24 GB" in drawn(memory_figure(backbone, image, "rtx4090"))


@pytest.mark.parametrize(("model", "image"), [("Adventurer-Tiny", 64), ("Adventurer-Huge", 224)])
def test_configurations_of_the_law_draw(model, image):
    said = drawn(use_figure(model, image, "l40s"))
    assert f"{model} at {image} px" in said
    assert "one l40s" in said


def test_configurations_are_fitted_once_and_not_changed():
    on_card("a100")
    assert "hours" not in cost_tables._configured()
