"""Laws over tokens: evaluations at any patch and image sizes are points of one law; those of a run share weights."""

import numpy as np
import pytest

from analysis import fit_laws
from analysis.plots.tokens import tokens_figure
from analysis.records.run_set import load
from analysis.records.token_points import token_points
from analysis.report.tokens_report import token_laws
from scaling.config.edit import edit, make_config
from scaling.runs.evaluations import evaluation
from tests.analysis.test_runs import save
from tests.drawn import cut_off, overlapping

SIZES = (8, 12, 16)


def config_of(patch, seed, **fields):
    sizes = {"packing": "sequences", "image_sizes": "8-16", **fields}
    return make_config(img_size=16, patch_size=patch, num_train=64, seed=seed, pos_embed="sincos", **sizes)


def save_run(results, config, noise):
    """Losses are 2 T^-0.25, times those of the seed."""
    rows = [
        evaluation(config.model.patch_size, size, "raw", {"test_loss": loss * np.exp(noise), "top1": 50.0})
        for size in SIZES[::-1]
        for loss in (2 * (size / config.model.patch_size) ** -0.5,)
    ]
    save(results, config, rows[0]["test_loss"], evaluations=rows)


@pytest.fixture
def results(tmp_path):
    for seed, noise in enumerate((-0.02, 0.0, 0.02)):
        for patch in (2, 4):
            save_run(tmp_path, config_of(patch, seed, eval_img_sizes=(8, 12)), noise)
    return tmp_path


def test_a_run_gives_a_point_per_image_size(results):
    points = token_points(load(results))
    assert len(points) == 18
    tokens = sorted(set((points["image"] // points["patch"]) ** 2))
    assert sorted(points["tokens"].unique()) == tokens == [4, 9, 16, 36, 64]


def test_the_law_over_tokens_is_found_with_an_interval_from_runs(results):
    fitted, refused = token_laws(token_points(load(results)))
    (((law, _), points),) = fitted.values()
    assert not refused
    assert law.parameters["alpha"] == pytest.approx(-0.25, abs=1e-6)
    assert law.parameters["A"] == pytest.approx(2, rel=1e-6)
    low, high = law.intervals["A"]
    assert 1.5 < low < 2 < high < 2.6
    assert points["run_id"].nunique() == 6


def test_runs_of_one_number_of_tokens_have_no_law(tmp_path):
    save(tmp_path, make_config(patch_size=4, num_train=64), 1.0)
    fitted, refused = token_laws(token_points(load(tmp_path)))
    assert not fitted
    assert "1 number of tokens; a law needs 3" in refused[0]


def test_images_of_their_own_sizes_have_unknown_tokens(tmp_path):
    save(tmp_path, config_of(4, 0, image_sizes="native"), 1.0)
    assert token_points(load(tmp_path)).empty


def test_the_command_prints_the_law_and_writes_it_with_its_figure(results, capsys):
    other = config_of(2, 0, image_sizes="8-12", eval_img_sizes=(8, 12))
    save_run(results, other, 0.0)
    out = results / "analysis"
    assert fit_laws.main(["--results", str(results), "--axes", "tokens"]) == 0
    text = capsys.readouterr().out
    assert "sizes 8-16 px" in text
    assert "T^-0.25" in text
    assert "no intervals: one run, whose points share its weights" in text
    for name in ("tokens_law.csv", "tokens_law_points.csv", "tokens_law.png", "tokens_law.pdf"):
        assert (out / name).stat().st_size > 0


def test_a_folder_without_such_evaluations_is_refused_in_one_line(tmp_path, capsys):
    save(tmp_path, edit(make_config(patch_size=4, num_train=64), seed=1), 1.0)
    assert fit_laws.main(["--results", str(tmp_path), "--axes", "tokens"]) == 2
    assert capsys.readouterr().err.startswith("fit_laws: no law of tokens")
    assert not (tmp_path / "analysis").exists()


def test_nothing_in_the_figure_overlaps_or_is_cut_off(results):
    fitted, _ = token_laws(token_points(load(results)))
    figure = tokens_figure({name: (one.laws, one.points) for name, one in fitted.items()})
    assert not cut_off(figure)
    assert not overlapping(figure)
