"""The calculators of the report page: every number is that of scaling.costs, and every control does what it is for."""

import json
import random
from types import SimpleNamespace

import pytest

from analysis.page.calculators import START, calculator_data, section
from analysis.page.cost_terms import CLASSES, FAMILIES, WAYS, spec_of
from analysis.page.section import as_json, part
from analysis.planning.cost_tables import by_patch, classifier
from scaling import costs
from scaling.config.patch_size import check_patch
from scaling.errors import ConfigError
from scaling.model_specs import MODEL_SPECS
from tests.page.alone import alone, evaluated, unnamed_controls

SETTINGS = 200


@pytest.fixture
def page(browser):
    with alone(browser, section(SimpleNamespace())) as opened:
        yield opened


def drawn(number):
    """Settings of the calculators, seeded."""
    rng = random.Random(number)
    patch, side = rng.choice([1, 2, 3, 4, 7, 8, 14, 16, 32]), rng.randint(2, 90)
    new_patch, new_side = rng.choice([1, 2, 4, 8, 16]), rng.randint(2, 90)
    return {
        "family": rng.choice(FAMILIES),
        "image": patch * side,
        "patch": patch,
        "width": 64 * rng.randint(1, 20),
        "depth": rng.randint(1, 48),
        "batch": rng.randint(1, 4096),
        "way": rng.choice(list(WAYS)),
        "images": rng.randint(1, 10**9),
        "epochs": rng.randint(1, 400),
        "rate": rng.uniform(0.1, 500),
        "newImage": new_patch * new_side,
        "newPatch": new_patch,
    }


def by_python(at, monkeypatch):
    """The same results by scaling.costs, of a model that is registered for it."""
    name = f"{at['family']}_drawn"
    monkeypatch.setitem(MODEL_SPECS, name, spec_of(at["family"], at["width"], at["depth"]))
    image, patch = at["image"], at["patch"]
    config = classifier(name, image, patch)
    table = costs.parameters_by_part(name, image, patch, CLASSES)
    forward = costs.flops(name, image, patch, CLASSES)
    assert forward == costs.recipe_flops(config)
    step = costs.recipe_step_flops(config)
    memory = costs.activation_bytes(config, WAYS[at["way"]])
    tokens, new = costs.tokens(image, patch), costs.tokens(at["newImage"], at["newPatch"])
    return {
        "tokens": tokens,
        "pairs": 0 if at["family"] == "adventurer" else (tokens + 1) ** 2,
        "projection": table["embedding"],
        "parameters": table.total,
        "memory": memory,
        "activations": memory * at["batch"],
        "state": costs.optimiser_bytes(table.total),
        "step": step * at["batch"],
        "hours": step * at["images"] * at["epochs"] / (at["rate"] * 1e12) / 3600,
        "side": image // patch,
        "newSide": at["newImage"] // at["newPatch"],
        "newTokens": new,
        "stretch": (at["newImage"] / at["newPatch"]) / (image / patch),
    }


def test_the_numbers_of_200_settings_are_those_of_scaling_costs(browser, monkeypatch):
    settings = [drawn(number) for number in range(SETTINGS)]
    found = evaluated(
        browser,
        f"([all, data]) => {{ {part('calculators.js')} return all.map((at) => calculators.results(at, data)); }}",
        [settings, json.loads(as_json(calculator_data()))],
    )
    assert len(found) == SETTINGS
    for at, has in zip(settings, found, strict=True):
        wanted = by_python(at, monkeypatch)
        assert has == pytest.approx(wanted, rel=1e-12, abs=0), at


def test_what_the_page_shows_first_is_in_the_cost_table(page):
    row = by_patch("deit_base", 224).set_index("patch").loc[16]
    shown = {
        one.get_attribute("name"): float(one.get_attribute("data-value"))
        for one in page.query_selector_all("output[data-value]")
    }
    assert shown["tokens"] == row["tokens"]
    assert shown["projection"] == row["projection"]
    assert shown["parameters"] == row["parameters"]
    assert shown["step"] == 3 * row["forward"] * START["batch"]
    assert shown["pairs"] == row["pairs"]
    assert shown["stretch"] == 2


def test_every_control_changes_what_it_is_for(page):
    def value(name):
        return float(page.get_attribute(f"output[name={name}]", "data-value"))

    before = value("tokens"), value("hours")
    page.select_option("[name=model]", "Adventurer-Base")
    assert value("pairs") == 0  # a scan
    page.select_option("[name=model]", "DeiT-Base")
    assert value("pairs") == 197**2
    page.focus("[name=patch]")
    page.keyboard.press("ArrowLeft")  # 14 px
    assert value("tokens") == 256
    page.fill("[name=image]", "448")
    assert value("tokens") == 1024
    page.select_option("[name=way]", "matrices")
    kept = value("memory")
    page.select_option("[name=way]", "recomputed")
    assert value("memory") < kept
    page.focus("[name=width]")
    page.keyboard.press("ArrowRight")
    assert page.input_value("[name=model]") == "DeiT of another size"
    assert page.text_content("[data-value-of=width]") == "832"
    parameters = value("parameters")
    page.focus("[name=depth]")
    page.keyboard.press("End")
    assert value("parameters") > 3 * parameters
    page.focus("[data-of=batch]")
    page.keyboard.press("Home")
    assert page.input_value("[name=batch]") == "1"
    assert value("activations") == value("memory")
    hours = value("hours")
    page.fill("[name=epochs]", "600")
    assert value("hours") == pytest.approx(2 * hours)
    page.select_option("[name=device]", "h100")
    assert page.input_value("[name=rate]") == "347.1"
    page.fill("[name=rate]", "100")
    assert page.input_value("[name=device]") == "own"
    page.fill("[name=newImage]", "224")
    assert value("stretch") == pytest.approx((224 / 16) / (448 / 14))
    assert before[0] == 196


def test_a_wrong_number_has_a_note_and_changes_nothing(page):
    before = page.text_content("output[name=step]")
    page.fill("[name=batch]", "-3")
    assert "Batch" in page.text_content("[role=status]")
    assert page.text_content("output[name=step]") == before
    page.fill("[name=batch]", "8")
    assert page.is_hidden("[role=status]")


def test_the_section_fits_a_narrow_screen_and_all_its_controls_have_names(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert unnamed_controls(page) == []


def test_the_patches_that_are_offered_tile_the_image(browser):
    sides = [2, 9, 224, 509]
    offered = evaluated(
        browser, f"(sides) => {{ {part('calculators.js')} return sides.map(calculators.patches); }}", sides
    )
    for image, patches in zip(sides, offered, strict=True):
        assert patches
        for patch in range(1, min(128, image - 1) + 1):
            try:
                check_patch(image, patch)
            except ConfigError:
                assert patch not in patches
            else:
                assert patch in patches
