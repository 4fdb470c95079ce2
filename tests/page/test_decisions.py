"""The decision helper of the report page: its answers are those of plan.py --recommend for the same candidates."""

import json
import os
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from analysis.page.decisions import section
from analysis.page.section import part
from analysis.planning.predicted_error import Predicted, published_models, published_values
from experiments.planning.candidates import published_candidates
from experiments.planning.choice import Choice, Limits
from experiments.planning.cost_estimate import device
from scaling.costs.hardware import CARDS
from tests.page.alone import alone, evaluated, unnamed_controls

PLACES = (("classify", 128, "l40s", 2), ("segment", 512, "rtx4090", 1), ("detect", 800, "a100", 8))
LIMITS = 70  # random ones per place


@pytest.fixture
def page(browser):
    with alone(browser, section(SimpleNamespace())) as opened:
        yield opened


def interpolated(task, image, on):
    """The candidates of plan.py --recommend that the helper has, with their predicted errors."""
    every = list(published_candidates(task, published_models(task), image, on, None))
    every = [one for one in every if one.patch in (1, 2, 4, 8, 16, 32, 64)]
    patches = [one.patch * (1.0 if task == "classify" else image / one.image) for one in every]
    error, beyond = published_values(task, [one.model for one in every], patches, [one.image for one in every])
    kept = [n for n, names in enumerate(beyond) if names in ("", "pair")]
    value = error[kept]
    law = Predicted(value, value, value, np.empty((0, len(kept))), ("",) * len(kept), "error", "%", "", "the law")
    return [every[n] for n in kept], law


def named(one):
    return one and (one["model"], one["patch"], one["image"])


def test_the_answers_of_random_limits_are_those_of_the_command(browser):
    data, rng = json.loads(part("decisions.json")), random.Random(0)
    for task, image, card, devices in PLACES:
        on = device(card, devices, Path(os.devnull))
        candidates, law = interpolated(task, image, on)
        rows = [dict(zip(data["columns"], row, strict=True)) for row in data["rows"][task][str(image)]]
        limits = [
            Limits(10 ** rng.uniform(-1, 5), on.card.memory, rng.choice([0, 0, image / rng.uniform(4, 400)]), image)
            for _ in range(LIMITS)
        ]
        rates = {"rate": on.card.bf16, "bandwidth": on.card.traffic, "memory": on.card.memory, "devices": devices}
        asked = [{**rates, "hours": one.hours, "object": one.object_px, "image": image} for one in limits]
        found = evaluated(
            browser,
            f"([rows, asked, needed, rules]) => {{ {part('decisions.js')} "
            "return asked.map((at) => decisions.recommend(rows, at, needed, rules)); }",
            [rows, asked, data["needed"][task], data],
        )
        answered = 0
        for one, has in zip(limits, found, strict=True):
            wanted = Choice(task, candidates, law, one)
            if wanted.answer < 0:
                assert has["answer"] is None
                near = wanted.least
                at = near >= 0 and candidates[near]
                assert named(has["nearest"]) == ((at and (at.model, at.patch, at.image)) or None)
                continue
            answered += 1
            cheaper, dearer, *_ = wanted.others()
            for shown, number in (("answer", wanted.answer), ("cheaper", cheaper.number), ("dearer", dearer.number)):
                if number < 0:
                    assert has[shown] is None
                    continue
                at = candidates[number]
                assert named(has[shown]) == (at.model, at.patch, at.image)
                assert has[shown]["hours"] == pytest.approx(at.hours, rel=1e-8)
                assert has[shown]["card"] == pytest.approx(at.need_bytes, rel=1e-8)
                assert has[shown]["tokens"] == at.last.tokens
                assert has[shown]["parameters"] == at.last.parameters
                assert has[shown]["error"] == pytest.approx(law.value_M[number], rel=1e-6)
        assert answered > LIMITS / 4


def test_the_cards_are_those_of_the_data_sheets():
    data = json.loads(part("decisions.json"))
    assert data["cards"] == [[name, card.bf16, card.traffic, card.memory] for name, card in CARDS.items()]


def test_the_example_of_the_docs_has_its_answer(page):
    assert page.text_content(".answer") == "Adventurer-Base, patch 8 px, image 512 px"
    assert "An object of 12 px spans 1.5 patches; 1.4 are required" in page.text_content(".why")
    page.select_option("[name=application]", "satellite")
    assert "has 32 px for satellite; differs" in page.text_content(".why")
    page.fill("[name=hours]", "200")
    assert page.text_content(".answer") == "Adventurer-Base, patch 4 px, image 512 px"
    page.select_option("[name=card]", "h100")
    assert page.input_value("[name=memory]") == "80"
    page.select_option("[name=task]", "classify")
    assert page.input_value("[name=image]") == "224"
    page.fill("[name=hours]", "1")
    assert page.text_content(".answer").startswith("Nothing fits. The nearest is Adventurer-Tiny")
    page.fill("[name=hours]", "-1")
    assert page.text_content(".answer").startswith("Hours of training on all cards: ")
    assert page.query_selector_all("tbody tr") == []


def test_the_section_fits_a_narrow_screen_and_all_its_controls_have_names(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert unnamed_controls(page) == []
