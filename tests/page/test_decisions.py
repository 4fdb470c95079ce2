"""The decision helper of the report page: its answers are those of plan.py --recommend for the same candidates."""

import json
import os
import random
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from analysis.page.choices import COLUMNS
from analysis.page.decisions import section
from analysis.page.section import part
from analysis.planning.predicted_error import Predicted, published_models, published_values
from analysis.records.groups import own_groups
from analysis.records.run_set import load
from experiments.planning.candidates import own_candidates, published_candidates
from experiments.planning.choice import Choice, Limits
from experiments.planning.cost_estimate import device
from experiments.planning.decision_rows import own_choices
from experiments.planning.recommend import choice, own_runs
from scaling.costs.hardware import CARDS
from tests.page.alone import alone, evaluated, unnamed_controls
from tests.page.folders import finished

PLACES = (("classify", 128, "l40s", 2), ("segment", 512, "rtx4090", 1), ("detect", 800, "a100", 8))
LIMITS = 70  # random ones per place


@pytest.fixture
def page(browser):
    with alone(browser, section(SimpleNamespace(choices=()))) as opened:
        yield opened


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    finished(folder, patches=(8, 4, 2, 1), seeds=(0, 1))  # all that plan.py considers
    return folder


def own(results):
    (found,) = own_choices(own_groups(load(results))[0], results)
    return found


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
        wanted = [Choice(task, candidates, law, one) for one in limits]
        assert answers_agree(browser, rows, wanted, on) > LIMITS / 4


def test_the_answers_for_own_runs_are_those_of_the_command(browser, results, monkeypatch):
    monkeypatch.setattr("analysis.planning.predicted_error.DRAWS", 2)
    choices, rng, on = own(results), random.Random(0), device("rtx4090", 2, Path(os.devnull))
    assert (choices.task, choices.data, choices.measure, choices.unit) == ("classify", "shapes", "test loss", "nats")
    ((image, rows),) = choices.rows.items()
    command = choice("classify", Limits(np.inf, on.card.memory, 0, image), on, results, None)
    hours, need = [one.hours for one in command.candidates], [one.need_bytes for one in command.candidates]
    configs = own_runs("classify", image, results).configs
    answered = 0
    for _ in range(LIMITS):
        most, memory = (rng.uniform(0.5, 1.5) * rng.choice(of) for of in (hours, [1e12, *need]))
        its = on._replace(card=on.card._replace(memory=memory))
        limits = Limits(most, memory, rng.choice([0, image / rng.uniform(1, 20)]), image)
        wanted = Choice("classify", list(own_candidates(configs, "classify", its)), command.predicted, limits)
        answered += answers_agree(browser, [dict(zip(COLUMNS, row, strict=True)) for row in rows], [wanted], its)
    assert LIMITS / 4 < answered < LIMITS


def test_runs_without_a_law_are_no_choices(tmp_path):
    finished(tmp_path, patches=(16, 8))
    assert list(own_choices(own_groups(load(tmp_path))[0], tmp_path)) == []


def answers_agree(browser, rows, choices, on):
    """Assert that the page has the choices' answers, and return how many of these have one."""
    card = on.card
    rates = {"rate": card.bf16, "bandwidth": card.traffic, "memory": card.memory, "devices": on.cards}
    limits = [one.limits for one in choices]
    asked = [{**rates, "hours": one.hours, "object": one.object_px, "image": one.original} for one in limits]
    data = json.loads(part("decisions.json"))
    found = evaluated(
        browser,
        f"([rows, asked, needed, rules]) => {{ {part('decisions.js')} "
        "return asked.map((at) => decisions.recommend(rows, at, needed, rules)); }",
        [rows, asked, data["needed"][choices[0].task], data],
    )
    answered = 0
    for wanted, has in zip(choices, found, strict=True):
        candidates = wanted.candidates
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
            assert has[shown]["error"] == pytest.approx(wanted.predicted.value_M[number], rel=1e-6)
    return answered


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


def test_runs_of_the_folder_are_a_task_of_their_own(browser, results):
    with alone(browser, section(SimpleNamespace(choices=(own(results),)))) as page:
        page.select_option("[name=task]", label="classification of shapes, runs of this folder")
        assert page.text_content("th.error") == "Predicted test loss [nats]"
        assert re.fullmatch(r"(deit|adventurer)_nano, patch \d px, image \d+ px", page.text_content(".answer"))
        assert page.is_visible(".count.own")
        page.select_option("[name=task]", "segment")
        assert page.text_content("th.error") == "Predicted error [%]"
        assert not page.is_visible(".count.own")


def test_the_section_fits_a_narrow_screen_and_all_its_controls_have_names(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert unnamed_controls(page) == []
