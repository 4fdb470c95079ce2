"""Estimates of claims on stability, schedules, norms and crops, computed again from the measured files by scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.claims.estimates import ESTIMATES
from analysis.claims.measured import measured


def t_interval(values):
    """Mean and 95 % interval."""
    values = np.asarray(values, float)
    return values.mean(), *stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))


def estimate(name, what):
    (found,) = [one for one in ESTIMATES[name]() if one.what.startswith(what)]
    return found[1:]


def test_a_gap_of_batch_norm_is_the_largest_less_the_smallest_of_a_seed():
    runs = measured("batch_statistics_shapes")
    its = runs[(runs["norm"] == "batch") & (runs["patches"] == "8,4,2 px")]
    gaps = its.pivot(index="seed", columns="patch", values="gap")
    assert gaps.shape == (5, 3)
    assert estimate("batch_norm_gap", "DeiT-nano, trained at 8,4,2 px") == pytest.approx(
        t_interval(np.ptp(gaps, axis=1))
    )
    assert len(ESTIMATES["batch_norm_gap"]()) == 2


def test_the_time_of_a_step_with_batch_norm_is_a_mean_over_rounds():
    rounds = measured("norm_steps").query("model == 'deit_nano' and patch == 4")["ratio"]
    assert estimate("batch_norm_step", "deit_nano, 16 px, patch 4") == pytest.approx(t_interval(rounds))


def test_drawn_sizes_are_sharper_by_a_geometric_mean():
    runs = measured("sharpness_drawn_shapes").query("backbone == 'deit_nano'")
    tops = runs.pivot(index="seed", columns="patches", values="eigenvalue")
    logs = np.log(tops["8,4,2 px"] / tops["4 px"])
    assert estimate("sharpness_of_drawn", "DeiT-nano") == pytest.approx(np.exp(t_interval(logs)))


def octaves_of_good_rates(losses, margin=0.02):
    """Of a table of seeds by rates, none of which failed and whose first and last are not good: the width of what is
    within the margin of the lowest mean."""
    means = losses.mean(skipna=False)
    best, level = means.idxmin(), means.min() + margin
    ends = []
    for side in (means[::-1].loc[best:], means.loc[best:]):  # from the best rate down, and up
        at = int((side > level).to_numpy().argmax())  # the first that is not good
        ends.append(np.interp(level, side.iloc[at - 1 : at + 1], np.log2(side.index[at - 1 : at + 1])))
    return ends[1] - ends[0]


def test_ranges_of_learning_rates_are_compared_by_the_jackknife():
    runs = measured("rate_range_shapes").astype({"clip": str})
    for backbone, name in (("deit_nano", "DeiT-nano"), ("adventurer_nano", "Adventurer-nano")):
        its = runs[(runs["backbone"] == backbone) & (runs["clip"] != "none")]
        values = []
        for patches in ("4 px", "16,8,4 px"):
            losses = its[its["patches"] == patches].pivot(index="seed", columns="lr", values="test_loss")
            assert losses.shape == (5, 10)
            parts = np.array([octaves_of_good_rates(losses.drop(index=seed)) for seed in losses.index])
            values.append(len(losses) * octaves_of_good_rates(losses) - (len(losses) - 1) * parts)
        assert estimate("rate_range", name) == pytest.approx(t_interval(values[1] - values[0]))


def test_divergences_are_a_share_of_runs_with_the_interval_of_clopper_and_pearson():
    settings = measured("stability_shapes")
    for backbone, name, n in (("deit_nano", "DeiT-nano", 27), ("adventurer_nano", "Adventurer-nano", 9)):
        its = settings[(settings["backbone"] == backbone) & (settings["patches"] == "16,8,4 px")]
        its = its[its["clip"] == "none"]
        k = int((its["failed"] | ~(its["test_loss"] <= math.log(3))).sum())
        low = stats.beta.ppf(0.025, k, n - k + 1) if k else 0.0
        high = stats.beta.ppf(0.975, k + 1, n - k)
        found = estimate("divergences", f"{name}, {n} runs")
        assert found == pytest.approx((100 * k / n, 100 * low, 100 * high), rel=1e-4)


def test_growing_crops_are_compared_with_as_many_whole_images():
    runs = measured("growing_crops_shapes")
    growing = runs[runs["order"].str.startswith("crop 0.5@")].set_index("seed")
    whole = runs[(runs["order"] == "4 px alone") & (runs["images"] == growing["images"].iloc[0])].set_index("seed")
    assert len(growing) == len(whole) >= 3
    assert estimate("growing_crops_accuracy", "shapes") == pytest.approx(t_interval(growing["miou"] - whole["miou"]))
    logs = np.log(growing["seconds"] / whole["seconds"])
    assert estimate("growing_crops_time", "shapes") == pytest.approx(np.exp(t_interval(logs)))


def test_the_rarest_class_is_that_of_whole_images():
    table = measured("class_shares").query("data == 'camvid' and crop == 0.5 and `class` == 'bicyclist'")
    assert estimate("rarest_class_in_crops", "CamVid, bicyclist") == pytest.approx(t_interval(table["ratio"]))


def test_positions_are_compared_by_the_rise_after_a_change():
    runs = measured("position_changes_shapes").query("backbone == 'deit_nano'")
    means = runs.pivot_table(index="seed", columns="positions", values="spike")
    assert estimate("spikes_of_positions", "DeiT-nano") == pytest.approx(t_interval(means["sincos1d"] - means["none"]))


def test_drawn_sizes_are_compared_with_the_smallest_alone_on_fewest_images():
    runs = measured("orders").query("data == 'cifar10' and backbone == 'deit_nano' and patch == 4")
    alone = runs[(runs["order"] == "4 px alone") & (runs["images"] == 29952)].set_index("seed")["test_loss"]
    drawn = runs[runs["order"] == "16:3,8:3,4:4"].set_index("seed")["test_loss"]
    assert estimate("drawn_over_alone", "CIFAR-10, DeiT-nano") == pytest.approx(t_interval(drawn - alone))


def test_rises_at_changes_of_the_patch_leave_out_those_of_images():
    changes = measured("shape_changes").query("data == 'cifar10' and backbone == 'deit_nano'")
    its = changes[~changes["schedule"].str.contains("image")]
    assert 0 < len(its) < len(changes)
    assert estimate("spikes_at_patch_changes", "CIFAR-10, DeiT-nano") == pytest.approx(
        t_interval(its.groupby("seed")["spike"].mean())
    )
