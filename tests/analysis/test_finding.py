"""What is found between patch sizes: means over thirds of the layers and seeds by a loop, and what decides."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.similarity.finding import THIRDS, finding, thirds
from analysis.similarity.measured import measured_pairs, of_one_seed
from scaling.rng import stream

LAYERS = {"patches": ["embed", "1 mix", "1", "2 mix", "2", "3 mix", "3"]}
LAYERS["class token"] = LAYERS["patches"][1:]


def pairs(cka, seeds=3):
    """All pairs of points of models of three patch sizes, CKA by cka(tokens, layer number, seed)."""
    rows = []
    for tokens, layers in LAYERS.items():
        points = [(seed, patch, n) for patch in (16, 8, 4) for seed in range(seeds) for n in range(len(layers))]
        for a, (seed_a, patch_a, of_a) in enumerate(points):
            for seed_b, patch_b, of_b in points[a:]:
                value = cka(tokens, of_a, seed_a) if of_a == of_b else 0.1
                rows.append((tokens, seed_a, patch_a, layers[of_a], seed_b, patch_b, layers[of_b], value))
    columns = ["tokens", *(f"{name}_{end}" for end in "ab" for name in ("seed", "patch", "layer")), "cka"]
    return pd.DataFrame(rows, columns=columns)


def dip(tokens, layer, seed):
    """Patches apart in the middle, the class token alike throughout."""
    return 0.99 if tokens == "class token" else (0.9, 0.9, 0.9, 0.4, 0.4, 0.8, 0.8)[layer] + 0.01 * seed


def test_a_third_is_the_mean_over_its_layers_and_all_pairs_of_patch_sizes():
    table = pairs(dip)
    table["cka"] = stream(0, "test").random(len(table))
    found = thirds(table)
    assert list(found.columns) == [(tokens, third) for tokens in LAYERS for third in THIRDS]
    assert list(found.index) == [(0, 0), (1, 1), (2, 2)]
    of_third = {"patches": (["embed", "1 mix", "1"], ["2 mix", "2"], ["3 mix", "3"])}
    of_third["class token"] = (["1 mix", "1"], ["2 mix", "2"], ["3 mix", "3"])
    for tokens, parts in of_third.items():
        for third, layers in zip(THIRDS, parts, strict=True):
            values = [
                row.cka
                for row in table.itertuples()
                if row.tokens == tokens and row.seed_a == row.seed_b == 1 and row.patch_a != row.patch_b
                if row.layer_a == row.layer_b and row.layer_a in layers
            ]
            assert len(values) == 3 * len(layers)
            assert found.loc[(1, 1), (tokens, third)] == pytest.approx(np.mean(values))


def test_between_seeds_the_patch_size_is_the_same():
    table = pairs(lambda *_: 0.5)
    equal = (table["patch_a"] == table["patch_b"]) & (table["seed_a"] != table["seed_b"])
    table.loc[equal, "cka"] = 0.7
    found = thirds(table, across="seed")
    assert list(found.index) == [(0, 1), (0, 2), (1, 2)]
    assert found.to_numpy() == pytest.approx(0.7)


def test_the_finding_of_the_paper_is_found_where_it_is_there():
    found = finding(pairs(dip))
    holds = found["holds"].to_dict()
    assert holds["patches: early more alike than the middle"] == "yes"
    assert holds["patches: end more alike than the middle"] == "yes"
    assert [found.loc[f"class token more alike than patches, {third}", "holds"] for third in THIRDS] == ["yes"] * 3
    assert found.loc["patches: end more alike than the middle", "difference"] == pytest.approx(0.4)
    assert set(found["seeds"]) == {3}


def test_the_opposite_is_said_and_what_varies_between_seeds_is_undecided():
    upside_down = finding(pairs(lambda *at: 1 - dip(*at)))
    assert upside_down.loc["patches: early more alike than the middle", "holds"] == "no"
    varied = finding(pairs(lambda tokens, layer, seed: 0.5 + 0.1 * (seed - 0.9) * (layer < 3)))
    row = varied.loc["patches: early more alike than the middle"]
    low, high = stats.ttest_1samp([0.1 * (seed - 0.9) for seed in range(3)], 0).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert row["holds"] == "undecided"


def test_one_seed_decides_nothing():
    found = finding(pairs(dip, seeds=1))
    assert set(found["holds"]) == {"undecided"}
    assert np.isnan(found["low"].astype(float)).all()


def test_what_is_shipped_is_three_seeds_of_each_kind_and_makes_whole_matrices():
    table = measured_pairs()
    kinds = table.groupby(["backbone", "models", "coarsest"])
    assert len(kinds) == 8
    for _, its in kinds:
        assert set(finding(its)["seeds"]) == {3}
        assert thirds(its, across="seed").notna().all(axis=None)
    assert table["cka"].between(-0.1, 1).all()
    whole = table[(table["backbone"] == "deit_nano") & (table["coarsest"] == 16) & (table["models"] == "fixed")]
    patches, class_token = of_one_seed(whole, 1)
    assert patches.cka_PP.shape == (21, 21)
    assert class_token.cka_PP.shape == (18, 18)
    assert [model.label for model in patches.models] == ["p16", "p8", "p4"]
    assert np.array_equal(patches.cka_PP, patches.cka_PP.T)
    assert np.diag(patches.cka_PP) == pytest.approx(1)
