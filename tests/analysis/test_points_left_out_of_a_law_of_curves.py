"""Hold-outs of L(p, D): what is left out, and the errors of the law and of naive rules beside a plain calculation."""

import numpy as np
import pytest

from analysis.fitting.curve_hold_out import hold_out_images, hold_out_patch
from analysis.fitting.laws import fit2
from analysis.report.axes_report import report_axes
from tests.analysis.test_undertraining import law, points, results


def test_a_law_without_noise_predicts_what_was_left_out_and_naive_rules_do_not():
    its = points(0, noise=0.0)
    patch, images = hold_out_patch(its), hold_out_images(its)
    assert (patch.what, patch.n) == ("patch 1", 6)
    assert (images.what, images.n) == ("more than 160,000 images", 10)  # two of six numbers at five patch sizes
    assert max(patch.law, images.law) < 1e-3
    seen = 2e4 * 2.0 ** np.arange(6)
    next_patch, after = law(seen, 2), law(seen, 4)
    assert patch.last == pytest.approx(np.mean(next_patch / law(seen, 1) - 1))
    half = next_patch - (after - next_patch) / 2
    assert patch.half == pytest.approx(np.mean(np.abs(half / law(seen, 1) - 1)))
    sizes = np.array([16, 8, 4, 2, 1])
    last = [law(1.6e5, sizes) / law(longer, sizes) - 1 for longer in (3.2e5, 6.4e5)]
    assert images.last == pytest.approx(np.mean(last))


def test_seeds_are_one_point_and_the_law_never_sees_what_is_left_out():
    its = points(3)
    kept = its[its["patch"] > 1]
    of_rest = fit2(kept["images"], kept["patch"], kept["y"], "joint")
    means = np.exp(np.log(its[its["patch"] == 1].set_index("images")["y"]).groupby("images").mean())
    errors = of_rest.predict(means.index, np.ones(len(means))) / means - 1
    assert hold_out_patch(its).law == pytest.approx(np.mean(np.abs(errors)))


def test_too_few_points_are_a_reason():
    its = points(0)
    with pytest.raises(ValueError, match="2 numbers of images seen; 3 are needed"):
        hold_out_images(its[its["images"] <= 4e4])
    with pytest.raises(ValueError, match="a law needs distinct values"):
        hold_out_patch(its[its["patch"] <= 2])


def test_both_hold_outs_are_printed_with_the_closest_rule(tmp_path, capsys):
    report_axes("patch,images", results(tmp_path), tmp_path / "out")
    said = " ".join(capsys.readouterr().out.split())
    assert "Patch 1 left out (5 points), mean error: law " in said
    assert "More than " in said
    assert said.count("; closest: ") == 2
