"""Groups and their laws as a table, a file and a checklist."""

import math

import numpy as np
import pandas as pd
import pytest

from analysis.fitting.laws import fit
from analysis.records.groups import Group, published_groups
from analysis.records.published import load_published
from analysis.report.checklist import checklist
from analysis.report.law_table import fit_group, fit_groups, laws_frame, lines, parameter_text

PATCH = np.array([16.0, 8, 4, 2, 1])


def group(y, patches=PATCH, **more) -> Group:
    points = pd.DataFrame({"patch": patches, "seed": 0, "y": y, "tokens": (16 / np.asarray(patches)) ** 2})
    return Group("nano", "g-1", "own", points, **more)


def noisy(seeds: int = 1) -> Group:
    rng = np.random.default_rng(0)
    x = np.repeat(PATCH, seeds)
    return group((0.4 + 0.3 * x**0.6) * np.exp(0.01 * rng.normal(size=len(x))), x)


def test_published_groups_are_all_rows_with_three_patch_sizes():
    groups = published_groups()
    sources = pd.Series([g.source for g in groups]).value_counts().to_dict()
    assert sources == {"Figure 1": 9, "Tables 1, 4": 10, "Table 2": 2, "Table 3": 2}
    assert all(g.patches >= 4 for g in groups)
    of = {g.key: g for g in groups}
    row = load_published("table1_imagenet_patch").query("model == 'DeiT-Base' and input_px == 64").iloc[0]
    points = of["Tables 1, 4: DeiT-B 64"].points.set_index("patch")["y"]
    assert points[16] == pytest.approx(100 - row["p16"])
    assert points[1] == pytest.approx(100 - row["p1"])


def test_no_line_of_the_table_is_wider_than_a_terminal_and_names_stand_once(unbanded):
    table = lines(fit_groups(published_groups(), ["power", "shifted"]))
    assert max(map(len, table)) <= 80
    assert sum(line.startswith("c Adventurer-B 224") for line in table) == 1
    assert len(table) == 2 + 3 * 23


def test_a_parameter_that_is_not_identified_has_no_point_anywhere(unsaved, unbanded):
    laws = fit_groups([g for g in published_groups() if g.name.startswith("d ")], ["shifted"])
    assert parameter_text(laws[0].law, "L_inf") == "at most 0.30"
    row = laws_frame(laws).iloc[0]
    assert math.isnan(row["L_inf"])
    assert (row["L_inf_low"], row["L_inf_identified"]) == (0, False)
    assert "| L_inf | not identified, [0, 0.3025] |" in checklist(laws)


def test_digits_of_a_parameter_follow_its_interval():
    law = fit(PATCH, (0.4 + 0.3 * PATCH**0.6) * np.exp(1e-4 * np.array([1, -1, 1, -1, 1])), "shifted")
    assert parameter_text(law, "L_inf").startswith("0.400 [0.39")
    assert len(parameter_text(law, "alpha")) <= 20
    assert parameter_text(law, "gamma") == "-"
    three = fit([4, 2, 1], [2, 1.5, 1.4], "shifted")
    assert parameter_text(three, "L_inf") == "no interval"


def test_laws_run_over_every_size_that_the_points_have():
    laws = fit_groups([noisy()], ["power"], ["patch", "tokens", "flops_per_image"])
    frame = laws_frame(laws).set_index("x")
    assert list(frame.index) == ["patch", "tokens"]
    assert frame.loc["tokens", "alpha"] == pytest.approx(-frame.loc["patch", "alpha"] / 2, rel=1e-6)
    assert frame.loc["tokens", "held_out_x"] == 256


@pytest.mark.parametrize(
    ("its", "form", "why"),
    [
        (group([2.0, 1.5], [4, 2]), "power", "2 patch sizes finished, a law needs 3 or more"),
        (group([2.0, 1.5, 1.4], [4, 2, 1]), "shifted", "3 points of 3 patch sizes; the shifted law needs 4"),
        (group(0.4 + 0.3 * PATCH**0.6), "m4", "the m4 law needs an upper bound, which test loss does not have"),
        (group(0.4 + 0.3 * PATCH**0.6, ceiling=1.0), "bounded", "every value must be below L_0, 1"),
        (group(0.4 + 0.3 * PATCH**0.6), "broken", "5 points of 5 patch sizes; the broken law needs 8"),
        (group([1.0] * 5), "power", "all 5 y are 1; a law needs distinct values"),
    ],
)
def test_why_there_is_no_law_is_said(its, form, why):
    found = fit_group(its, form)
    assert found.law is None
    assert why in found.why


def test_a_law_without_a_held_out_patch_says_why():
    found = fit_group(group([2.0, 1.5, 1.4, 1.39], [8, 4, 2, 1]), "shifted")
    assert found.law is not None
    assert found.held_out is not None
    three = fit_group(group([2.0, 1.5, 1.4], [4, 2, 1]), "power")
    assert three.held_out is not None
    assert three.held_out.n == 2


def test_the_checklist_answers_every_question_of_a_fit():
    laws = fit_groups([noisy(seeds=3)], ["power", "shifted"])
    text = checklist(laws)
    for answer in (
        "of log L; least squares",
        "batched Levenberg-Marquardt, complex-step derivatives; 16 starts",
        "L_inf in [0, inf]",
        "yes: slope ",
        "bootstrap of seed noise",
        "% of the loss (10 degrees of freedom)",
        "15 points of 5 patch sizes",
        "Dropped: none.",
        "AICc prefers shifted",
        "smallest patch held out | predicted ",
    ):
        assert answer in text, answer
    before, steps = text.split("### Is a smaller patch better?")
    steps, after = steps.split("### Fits")
    bars = [
        {line.count("|") for line in part.splitlines() if line.startswith("| ")} for part in (before + after, steps)
    ]
    assert bars[0] <= {3, 4}
    assert bars[1] == {8}


def test_the_checklist_names_what_was_dropped_and_what_cannot_be_told():
    its = group(noisy().points["y"], dropped=("run-p2-s1: failed (loss is nan)",), held={"lr": 0.002, "epochs": 3})
    text = checklist(fit_groups([its], ["power", "shifted", "broken"]))
    assert "Dropped: run-p2-s1: failed (loss is nan)." in text
    assert "lr 0.002, epochs 3; not tuned per patch size" in text
    assert "- broken: not fitted; 5 points of 5 patch sizes; the broken law needs 8" in text
    assert "none: 5 points at 5 different x" in text
    assert "none: 5 points are too few to resample pairs, 8 are needed" in text
    assert "undefined at this n: more than 5 points are needed" in text
    assert "AICc cannot choose between these forms" in text


def test_hours_count_every_device():
    from analysis.records.groups import own_groups
    from analysis.records.run_frame import COLUMNS
    from analysis.records.run_set import RunSet

    row = dict.fromkeys(COLUMNS, "") | {"group": "g", "family": "g", "status": "finished", "classes": 10, "patch": 4}
    row |= {"task": "classify", "test_loss": 1.0, "wall_time": 7200.0, "machine_devices": 8, "backbone": "b", "crop": 1}
    frame = pd.DataFrame([row | {"image": 16, "tokens": 16, "flops_per_image": 1.0, "parameters": 1, "seed": 0}])
    (one,), refused = own_groups(RunSet(frame))
    assert one.points["device_hours"].tolist() == [16.0]
    assert one.ceiling == pytest.approx(math.log(10))
    assert refused == {}
