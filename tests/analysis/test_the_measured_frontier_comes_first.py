"""What a budget buys is told from what was measured first, and from a law with what the law misses beside it."""

import numpy as np
import pytest

from analysis.planning.allocation import best, configurations, law_of, published_surface, row_misses
from analysis.planning.measured_pareto import measured, steps
from analysis.planning.surface_selection import forms_weighed, released, resampled_laws, wins
from experiments import plan
from experiments.planning.budget import training_flops

DRAWS = 40  # that these tests take


@pytest.fixture(scope="module")
def surface():
    return published_surface()


@pytest.fixture(scope="module")
def configured(surface):
    return configurations(surface, training=training_flops)


@pytest.fixture(scope="module")
def points():
    return measured(training_flops)


def test_no_measured_point_beats_one_of_the_measured_frontier(points):
    for one in points.itertuples():
        better = points[(points["training_flops"] <= one.training_flops) & (points["y"] < one.y)]
        assert better.empty == one.frontier
    assert len(points) == 40


def test_most_of_the_measured_frontier_has_patches_below_16_px(points):
    on = points[points["frontier"]]
    assert (len(on), (on["patch"] < 16).sum()) == (10, 6)


def test_at_128_px_patches_and_at_224_px_models_gain_more_for_their_flops(points):
    gained = steps(points).set_index(["image", "model"])
    assert (gained.loc[128, "by_patch"] > gained.loc[128, "by_model"]).all()
    assert (gained.loc[224, "by_patch"] < gained.loc[224, "by_model"]).all()
    row = gained.loc[128, "Adventurer-Small"]
    flops = [training_flops("Adventurer-Small", 128, patch) for patch in (16, 8)]
    assert row["by_patch"] == pytest.approx((22.4 - 19.5) / np.log(flops[1] / flops[0]))


def test_the_law_has_a_floor_in_the_models_term_because_aicc_says_so(surface):
    table = forms_weighed(surface)
    assert table["form"].tolist() == ["floored", "surface"] == [surface.law.form, "surface"]
    assert table["aicc"].tolist() == pytest.approx([-290.5, -273.2], abs=0.05)
    assert surface.law.objective == "squares"
    assert all(surface.law.identified.values())


def test_intervals_of_a_measurement_hold_what_the_law_has_not_seen(surface):
    """Rows that are left out, and released models that stand in no table: both nearly always inside."""
    unseen = released(surface)
    assert len(unseen) == 6
    assert unseen["inside"].all()
    missed = row_misses(surface.points, surface.law.form)["miss"]
    assert surface.spread == pytest.approx(np.sqrt(np.mean(missed**2)))
    low, high = surface.interval(*(surface.points[name] for name in ("parameters", "patch", "image")))
    assert ((low < surface.points["y"]) & (surface.points["y"] < high)).all()
    narrow = surface.law.band(99e6, 8.0, 224.0)
    assert surface.interval(99e6, 8.0, 224.0)[0] < narrow[0]


def test_a_row_that_is_left_out_is_no_part_of_its_law(surface):
    its = surface.points.query("model == 'Adventurer-Large' and image == 128")
    rest = surface.points.drop(its.index)
    law = law_of(rest, surface.law.form)
    found = row_misses(surface.points, surface.law.form).loc[its.index, "predicted"]
    assert found.to_numpy() == pytest.approx(law.predict(its["parameters"], its["patch"], its["image"]))


def test_shares_of_resampled_laws_are_shares_and_every_draw_gives_a_law(surface, configured):
    laws, none = resampled_laws(surface, DRAWS)
    assert sum(map(len, laws.values())) + none == DRAWS
    assert none == 0
    assert min(map(len, laws.values())) > DRAWS / 8  # both forms are chosen: the errors are as large as the floor
    won = wins(surface, configured, [1e20, 1e21], draws=DRAWS)
    assert won.groupby("budget")["share"].sum().tolist() == pytest.approx([1.0, 1.0])
    pick = best(configured, [1e21]).iloc[0]
    assert (won[won["budget"] == 1e21].iloc[0][["model", "patch", "image"]] == pick[["model", "patch", "image"]]).all()


def test_the_plan_tells_the_measured_first_and_the_picks_with_how_often_they_win(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.planning.budget.DRAWS", DRAWS)
    assert plan.main(["--budget", "1e20", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    titles = ("Measured Pareto frontier", "Predicted optimum per budget", "error on held-out rows")
    places = [" ".join(said.split()).index(title) for title in titles]
    assert places == sorted(places)
    (row,) = [line for line in said.splitlines() if line.strip().startswith("1e+20")]
    assert row.endswith("%")
    assert max(map(len, said.splitlines())) <= 80
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"{name}.csv" for name in ("measured", "frontier", "budget", "wins")),
        "optimal.png",
        "optimal.pdf",
    }
