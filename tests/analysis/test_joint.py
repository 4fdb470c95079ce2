"""Joint laws of model size and patch size: which groups make one, and what it misses."""

import numpy as np
import pandas as pd
import pytest

from analysis.fitting.joint import fit_joint
from analysis.fitting.laws import fit2
from analysis.fitting.lineshapes import joint
from analysis.records.groups import Group, published_groups
from analysis.records.published import load_published
from analysis.report.joint_table import joint_frame, joint_lines

PATCH = np.array([16.0, 8, 4, 2, 1])
TRUTH = {"E": 0.5, "A": 40.0, "a": 0.35, "B": 0.03, "b": 0.9}


def group(backbone: str, parameters: float, **about) -> Group:
    """Five patch sizes of a model; the embedding of large patches adds to its parameters."""
    noise = np.exp(0.002 * np.random.default_rng(int(parameters)).normal(size=5))
    y = joint(parameters, PATCH, **TRUTH) * noise
    points = pd.DataFrame({"patch": PATCH, "y": y, "parameters": parameters + 768 * (PATCH**2 - 1)})
    return Group(
        backbone, backbone, "own", points, about={"backbone": backbone, "data": "shapes", "image": 16, **about}
    )


def nanos(sizes: int = 4) -> list[Group]:
    return [group(f"deit_{name}", 1e4 * 8**k) for k, name in enumerate(("pico", "nano", "micro", "tiny")[:sizes])]


def test_models_of_one_family_have_the_law_that_made_them():
    (law,) = fit_joint(nanos())
    assert law.name == "deit shapes"
    assert law.points["parameters"].unique() == pytest.approx([1e4, 8e4, 64e4, 512e4])  # at patch 1
    assert law.law.parameters == pytest.approx(TRUTH, rel=0.1)
    assert law.worst < 0.01


def test_groups_make_a_joint_law_of_three_models_of_one_kind():
    assert fit_joint(nanos(2)) == []
    assert fit_joint([*nanos(2), group("deit_micro", 64e4, image=32)]) == []
    assert fit_joint([*nanos(2), group("adventurer_micro", 64e4)]) == []
    assert (
        len(fit_joint([*nanos(3), *(group(f"adventurer_{n}", s) for n, s in (("a", 1e4), ("b", 8e4), ("c", 6e5)))]))
        == 2
    )


def test_table_4_makes_two_and_says_that_size_and_patch_do_not_just_add():
    laws = {law.name: law for law in fit_joint(published_groups())}
    assert set(laws) == {"Adventurer 128", "Adventurer 224"}
    assert laws["Adventurer 128"].law.n == 20
    table, sizes = load_published("table4_model_and_patch"), load_published("table7_models").set_index("model")
    rows = table[table["input_px"] == 224].melt(["input_px", "model"]).dropna()
    millions = sizes["params_m"].loc[["Adventurer-" + model for model in rows["model"]]].to_numpy(float)
    patch = rows["variable"].str[1:].astype(float).to_numpy()
    again = fit2(millions * 1e6, patch, 100 - rows["value"].to_numpy(float), "joint")
    assert laws["Adventurer 224"].law.loss == pytest.approx(again.loss, rel=1e-6)
    assert laws["Adventurer 128"].worst > 0.1


def test_the_table_is_80_columns_wide_and_tells_no_point_that_is_not_identified():
    laws = fit_joint([*published_groups(), *nanos()])
    table = joint_lines(laws)
    assert max(map(len, table)) <= 80
    row = next(line for line in table if line.startswith("Adventurer 128"))
    assert "at most 17" in row
    frame = joint_frame(laws).set_index("name")
    assert np.isnan(frame.loc["Adventurer 128", "E"])
    assert frame.loc["Adventurer 128", "E_low"] == 0
    assert frame.loc["deit shapes", "a"] == pytest.approx(0.35, abs=0.05)
    assert frame.loc["deit shapes", ["models", "patches", "n"]].tolist() == [4, 5, 20]
