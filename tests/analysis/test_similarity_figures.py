"""Figures and text of similarities: what they show, and that nothing covers anything."""

import numpy as np
import pytest

from analysis.plots.representations import map_figure, matrix_figure, same_layer_figure, tsne_figure
from analysis.report.similarity_text import summary
from analysis.similarity.cka import gram
from analysis.similarity.similarities import Model, compared
from scaling.rng import stream
from tests.drawn import cut_off, overlapping, said


def found(patches=(16, 8, 4), layers=7, names="p{}"):
    """Similarities of models whose layers drift apart."""
    models = [Model(f"run-{patch}", names.format(patch), patch) for patch in patches]
    draw = stream(0, "test", len(patches)).standard_normal
    common = draw((40, 6))
    batch = []
    for _ in models:
        x, grams = common + 0.3 * draw((40, 6)), {}
        for n in range(layers):
            grams["patches", f"{n}"] = gram(x)
            if n:
                grams["class token", f"{n}"] = gram(x + draw((40, 6)))
            x = np.tanh(x @ draw((6, 6))) + 0.2 * x
        batch.append(grams)
    return compared(models, [batch])


@pytest.mark.parametrize("patches", [(16,), (16, 8, 4), (48, 40, 30, 24, 20, 16, 15, 12, 10, 8)])
@pytest.mark.parametrize("layers", [4, 25])
def test_no_text_covers_another_or_is_cut_off(patches, layers):
    of_all = found(patches, layers)
    for draw in (matrix_figure, map_figure, tsne_figure, *((same_layer_figure,) if len(patches) > 1 else ())):
        figure = draw(of_all)
        assert not cut_off(figure)
        assert not overlapping(figure)


def test_the_matrix_has_a_block_per_model_and_a_single_one_its_layers():
    shown = [text.get_text() for text in said(matrix_figure(found()))]
    assert shown.count("p16") == shown.count("p8") == shown.count("p4") == 4  # on both axes of both panels
    assert {"patches", "class token", "CKA"} <= set(shown)
    assert {"0", "1", "layer"} <= {text.get_text() for text in said(matrix_figure(found((16,), 3)))}


def test_the_same_layer_has_its_numbers_where_there_is_room():
    of_all = found()
    shown = [text.get_text() for text in said(same_layer_figure(of_all))]
    for one in of_all:
        for value in one.same_layer().to_numpy().ravel():
            assert f"{value:.2f}" in shown
    many = [text.get_text() for text in said(same_layer_figure(found((48, 40, 30, 24, 20))))]
    assert len(many) < 100


def test_the_text_has_the_mean_and_the_ends_of_all_pairs_of_models():
    of_all = found()
    table = of_all[0].same_layer()
    lines = summary(of_all, 40, 2)
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if line.startswith("3  ")]
    ckas = table.loc["3"]
    assert f"{ckas.mean():.2f} ({ckas.min():.2f} to {ckas.max():.2f})" in row
    (first,) = [line for line in lines if line.startswith("0  ")]
    assert first.endswith("-")
    assert list(table.columns) == ["p16 and p8", "p16 and p4", "p8 and p4"]


def test_one_model_has_no_pairs_and_models_of_another_depth_are_left_out():
    assert "same layer" not in " ".join(summary(found((16,)), 40, 1))
    deep, shallow = found((16,), 5)[0], found((8,), 3)[0]
    both = deep._replace(
        places=deep.places + shallow.places, cka_PP=np.eye(len(deep.places) + len(shallow.places))
    ).same_layer()
    assert both.shape == (5, 0)


def test_a_layer_that_is_the_same_for_all_images_is_left_out():
    models = [Model("run", "p8", 8)]
    x = stream(0, "test").standard_normal((10, 3))
    batch = [{("class token", "1"): gram(np.ones((10, 3))), ("class token", "2"): gram(x)}]
    (one,) = compared(models, [batch])
    assert [place.layer for place in one.places] == ["2"]
    assert one.cka_PP == pytest.approx(np.ones((1, 1)))
