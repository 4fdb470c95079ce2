"""The paper's figures in the report page: own numbers where runs replicate a setting of the paper, else none."""

import math

import pytest

from analysis.page.content import content_of
from analysis.page.paper import NONE, section
from analysis.records.run_set import load
from experiments.cli.resolve import resolve
from scaling.config.edit import edit
from tests.analysis.test_fit_laws import save
from tests.page.folders import Parsed, finished

LOSSES = {16: 1.1, 8: 0.9, 4: 0.8}  # by patch size [px]


def section_of(results):
    return section(content_of("results", load(results), {}, ("power",)))


@pytest.fixture(scope="module")
def replicated(tmp_path_factory):
    """Two seeds of Adventurer-Base at 64 px, pretrained, and at 128 px, finetuned, on all of ImageNet; and runs that
    replicate nothing: on a part of ImageNet, and on shapes."""
    results = tmp_path_factory.mktemp("results")
    for patch, loss in LOSSES.items():
        for seed in (0, 1):
            for image in (64, 128):
                run = resolve("imagenet.adventurer_base", patch, {"img_size": image, "seed": seed})[-1]
                save(results, run, loss + 0.02 * seed)
            save(results, edit(run, num_train=100_000), 3.0)
    finished(results)
    return section_of(results)


def lines_of(its, figure, source):
    """By panel and name of a line: {patch [px]: value}."""
    return {
        (panel["title"], line["name"]): dict(zip(line["patch"], line["y"], strict=True))
        for panel in its.data["figures"][figure - 1]["panels"]
        for line in panel["lines"]
        if line["source"] == source
    }


def test_without_a_replication_all_numbers_are_published(tmp_path):
    finished(tmp_path, patches=(8, 4))
    its = section_of(tmp_path)
    assert " ".join(NONE.split()) in " ".join(its.html.split())
    assert all(not lines_of(its, figure, "own") for figure in (1, 2, 3, 4))
    assert "Published and own numbers" not in its.html


def test_own_numbers_are_lines_beside_the_published_ones(replicated):
    panel = ("b Adventurer-Base classification 128 px", "test loss")
    assert lines_of(replicated, 1, "own") == {panel: {p: pytest.approx(loss + 0.01) for p, loss in LOSSES.items()}}
    assert {16: 0.9396, 8: 0.872}.items() <= lines_of(replicated, 1, "published")[panel].items()
    top1 = {p: pytest.approx(50 * (math.exp(-loss) + math.exp(-loss - 0.02)), rel=1e-4) for p, loss in LOSSES.items()}
    assert lines_of(replicated, 3, "own") == {("128 px", "Adventurer-Base"): top1}


def test_lines_of_equal_tokens_have_both_sides_and_are_named_by_tokens(replicated):
    found = lines_of(replicated, 4, "own")
    assert {panel for panel, _ in found} == {"Adventurer-Base"}
    assert {name.split(",")[0] for _, name in found} == {"64 tokens", "256 tokens", "1024 tokens"}
    assert sorted(patch for values in found.values() for patch in values) == [4, 4, 8, 8, 16]
    assert ("Adventurer-Base", "64 tokens") in lines_of(replicated, 4, "published")


def test_the_table_compares_every_own_number_with_the_published_one(replicated):
    cells = Parsed(replicated.html).within("td")
    at = cells.index("b Adventurer-Base classification 128 px test loss")
    assert cells[at + 1 : at + 6] == ["16", "0.9396", "1.11", "2", "0.1704"]
    assert "<p>11 numbers of this folder can be compared.</p>" in replicated.html
