"""The configurations of a budget have the share of draws of the laws in which they are the best."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.fitting.bootstrap import bootstrap
from analysis.fitting.laws import fit
from analysis.planning.frontier_draws import CostedLaw, drawn_losses, frontier_shares
from analysis.records.run_set import load
from analysis.report.budget_section import budget_section
from analysis.report.law_report import law_input
from analysis.report.law_table import fit_groups
from tests.analysis.test_fit_laws import sweep

PATCHES = np.repeat([16, 8, 4, 2, 1], 3)


def costed(name: str, factor: float, price: float, seed: int, noise: float = 0.03) -> CostedLaw:
    loss = factor * PATCHES**0.5 * np.exp(noise * np.random.default_rng(seed).normal(size=PATCHES.size))
    points = pd.DataFrame({"patch": PATCHES, "y": loss, "cost": price / PATCHES.astype(float) ** 2})
    return CostedLaw(name, fit(points["patch"], points["y"]), points)


def test_shares_are_counted_as_by_a_loop_over_the_draws():
    laws = [costed("a", 1.0, 1.0, 0), costed("b", 1.01, 0.99, 1)]
    table = frontier_shares(laws, "cost", drawn_losses(laws, draws=50))
    drawn = {of.name: bootstrap(of.law, draws=50, seed=n).parameters for n, of in enumerate(laws)}
    prices = {(of.name, p): c for of in laws for p, c in zip(of.points["patch"], of.points["cost"], strict=True)}
    for row in table.itertuples():
        wins = 0
        for draw in range(50):
            loss = {
                (name, p): drawn[name]["A"][draw] * p ** drawn[name]["alpha"][draw]
                for (name, p), price in prices.items()
                if price <= row.budget * (1 + 1e-9)
            }
            wins += min(loss, key=lambda key: loss[key]) == (row.name, row.patch)
        assert row.share == pytest.approx(wins / 50)


def test_a_clear_winner_has_all_draws_and_a_tie_is_shared():
    laws = [costed("a", 1.0, 1.0, 0), costed("b", 2.0, 1.0, 1)]
    clear = frontier_shares(laws, "cost", drawn_losses(laws, draws=200))
    assert clear.loc[clear["name"] == "a", "share"].tolist() == [1.0] * 5
    assert clear.loc[clear["name"] == "b", "share"].tolist() == [0.0] * 5
    assert clear["budget"].is_monotonic_increasing
    laws = [costed("a", 1.0, 1.0, 0), costed("b", 1.0, 1.0, 0)]
    tie = frontier_shares(laws, "cost", drawn_losses(laws, draws=400))
    assert tie["share"].between(0.35, 0.65).all()
    assert tie["rival_share"].to_numpy() == pytest.approx(1 - tie["share"].to_numpy())


def test_the_report_has_a_budget_of_flops_and_one_of_seconds(tmp_path):
    runs = load(sweep(tmp_path / "results", seeds=(0, 1)))
    text = "\n".join(budget_section(runs, fit_groups(law_input(runs).own, ["power", "shifted"])))
    assert "classify shapes, budget in training FLOPs:" in text
    assert "classify shapes, budget in training time [s]:" in text
    assert text.count("deit_nano p1 |") == 2
    assert "not reliable" not in text


def test_a_law_that_does_not_describe_its_points_is_named(tmp_path):
    runs = load(sweep(tmp_path / "results", seeds=(0, 1), backbones=("deit_nano",)))
    step = np.where(runs.frame["patch"] > 2, 2.0, 0.2) * (1 + 0.01 * runs.frame["seed"])
    runs = replace(runs, frame=runs.frame.assign(test_loss=step))
    text = "\n".join(budget_section(runs, fit_groups(law_input(runs).own, ["power"])))
    assert "The law does not describe the points of deit_nano: shares with them are not reliable." in text


def test_laws_without_degrees_of_freedom_have_no_draws(tmp_path):
    runs = load(sweep(tmp_path / "results", patches=(16, 8, 4)))
    assert list(budget_section(runs, fit_groups(law_input(runs).own, ["shifted"]))) == []
    assert list(budget_section(None, [])) == []
