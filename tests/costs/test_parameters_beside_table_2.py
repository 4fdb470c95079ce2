"""Parameters stand beside Table 2 with and without the table of learned positions, and what a head adds is said."""

from dataclasses import replace

import pytest

from analysis.paper.tables import BARE, table2
from analysis.records.run_set import load
from analysis.report.text_tables import markdown
from analysis.report.wide_table import notes
from experiments.recipes import ade20k, shapes
from scaling.costs import position_parameters, recipe_parameters
from tests.analysis.test_runs import save

LINEAR = {  # our parameters, and those without positions [M]
    ("tiny", 16): (11.60, 11.34),
    ("tiny", 4): (15.35, 11.16),
    ("tiny", 2): (27.92, 11.15),
    ("base", 8): (100.56, 97.41),
    ("base", 4): (109.88, 97.30),
    ("base", 2): (147.60, 97.27),
}
UPERNET = {16: 13.0, 8: 8.3, 4: 5.9, 2: 5.9}  # less linear, of Base [M]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    for size, patch in LINEAR:
        run = getattr(ade20k, f"adventurer_{size}")(patch)
        save(results, run, 0.9, metrics={"miou": 40.0}, parameters=recipe_parameters(run))
    fixed = shapes.seg_nano(4)
    save(results, fixed, 0.9, metrics={"miou": 60.0}, parameters=recipe_parameters(fixed))
    return table2(load(results).frame)


@pytest.mark.parametrize(("cell", "millions"), LINEAR.items(), ids=str)
def test_the_position_table_is_told_apart_from_the_rest(table, cell, millions):
    table = table.frame
    model, patch = f"Adventurer-{cell[0].title()}", cell[1]
    at = table[(table["model"] == model) & (table["patch"] == patch) & (table["decoder"] == "linear")]
    own = at.set_index("metric")["own"]
    assert own["parameters"] == pytest.approx(millions[0], abs=0.006)
    assert own[BARE] == pytest.approx(millions[1], abs=0.006)
    assert at.loc[at["metric"] == BARE, "published"].isna().all()  # the paper has one number, of whatever


def test_fixed_positions_are_no_parameters(table):
    own = table.frame[table.frame["model"] == "adventurer_nano"].set_index("metric")["own"]
    assert own["parameters"] == own[BARE] > 0
    assert position_parameters(shapes.seg_nano(4)) == 0
    assert position_parameters(replace(ade20k.adventurer_tiny(16), image=512)) == 1025 * 256


@pytest.mark.parametrize(("patch", "millions"), UPERNET.items())
def test_what_the_larger_head_adds_is_what_is_said(patch, millions):
    linear = ade20k.adventurer_base(patch)
    more = recipe_parameters(replace(linear, head="upernet")) - recipe_parameters(linear)
    assert more / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_head_is_explained_where_it_is_shown(table):
    said = markdown(table)
    assert "13.0, 8.3, 5.9, 5.9 M more than linear in Adventurer-Base at patch 16, 8, 4, 2" in said
    assert "the paper gives none" in said
    assert "position embeddings of a 512 px crop are 0.8, 3.1, 12.6, 50.3 M" in said
    assert not any("head_channels" in note for note in notes(table2()))  # nothing of one's own, nothing to explain
