"""Patch embeddings are compared with the convolution at equal images and FLOPs, and by their exponents."""

import numpy as np
import pandas as pd
import pytest

from analysis.plots.embeddings import embedding_figure
from analysis.plots.laws import law_figure
from analysis.records.embedding_text import embedding_text
from analysis.records.run_set import load
from analysis.studies import embeddings
from analysis.studies.study_report import report
from analysis.studies.study_table import StudyRun
from experiments.recipes import shapes
from experiments.studies.embeddings import OTHERS, each_embedding, each_init
from scaling import costs
from scaling.config.edit import edit, make_config
from tests.analysis.test_runs import save
from tests.drawn import overlapping

FACTORS = {"conv": 1.0, "overlapping": 0.9, "conv_stem": 1.0, "hierarchical": 1.1}
STEEPER = {"conv_stem": 0.1}  # of the exponent


def small(patch):
    return edit(shapes.deit_nano(patch), num_train=6400)


def made(results, runs, noise=1e-3, seeds=(0, 1, 2)):
    """Runs whose loss is a power law of the patch, times a factor of the embedding. Fewer images cost 20 %."""
    planned = []
    for seed in seeds:
        for number, one in enumerate(runs):
            config = edit(one, seed=seed)
            kind, patch = config.model.patch_embed.kind, config.model.patch_size
            rough = 1 + noise * np.random.default_rng(1000 * seed + number).normal()
            fewer = 1.0 if config.data.num_train == 6400 else 1.2
            loss = 0.2 * FACTORS[kind] * fewer * (1 + 0.1 * seed) * rough * patch ** (0.5 + STEEPER.get(kind, 0))
            facts = {"tokens": costs.recipe_tokens(config), "flops_per_image": float(costs.recipe_flops(config))}
            save(results, config, loss, metrics={"top1": 70.0, "train_loss": 1.0}, **facts)
            planned.append(StudyRun(config.run_id, "deit_nano", patch))
    return load(results), planned


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return made(tmp_path_factory.mktemp("study"), each_embedding(small))


def test_runs_of_a_study_differ_in_the_embedding_and_have_equal_images_or_flops():
    runs = each_embedding(small)
    assert len({run.run_id for run in runs}) == 5 * 7
    for run in runs:
        plain = edit(run, patch_embed="conv", num_train=6400)
        assert plain == small(run.model.patch_size)
        if run.data.num_train != 6400:
            spent = [costs.recipe_training_flops(one, one.data.num_train) for one in (run, plain)]
            assert spent[0] == pytest.approx(spent[1], rel=0.01)
    inits = [run.model.patch_embed.embed_init for run in each_init(small)]
    assert set(inits) == {"released", "xavier", "he", "lecun"}
    assert "timm" in [run.model.patch_embed.embed_init for run in each_init(shapes.adventurer_nano)]


def test_losses_are_compared_with_the_convolution_at_equal_images_and_flops(study):
    runs, planned = study
    table = embeddings.embedding_table(runs.frame, planned)
    assert len(table) == 3 * 5 * 7
    equal = table[table["equal"] == "FLOPs"].groupby(["patch", "seed"])["training_flops"]
    plain = table[table["embedding"] == "conv"].set_index(["patch", "seed"])["training_flops"]
    assert (equal.mean() / plain).to_numpy() == pytest.approx(1, abs=0.01)
    found = embeddings.comparisons(table).set_index(["embedding", "equal", "patch"])
    assert len(found) == 3 * 2 * (5 + 1)
    for patch in (embeddings.ALL, 16, 4, 1):
        assert found.loc[("overlapping", "images", patch), "change"] == pytest.approx(-0.1, abs=0.01)
        assert found.loc[("overlapping", "FLOPs", patch), "change"] == pytest.approx(0.9 * 1.2 - 1, abs=0.01)
    verdicts = found["verdict"]
    assert set(verdicts["overlapping", "images"]) == {"better"}
    assert set(verdicts["overlapping", "FLOPs"]) == set(verdicts["hierarchical", "images"]) == {"worse"}
    assert verdicts["conv_stem", "images", 1] == "undecided"  # equal there, worse at larger patches
    assert verdicts["conv_stem", "images", 16] == "worse"


def test_exponents_are_compared_seed_by_seed(study):
    table = embeddings.embedding_table(*[study[0].frame, study[1]])
    found = embeddings.by_embedding(table).set_index("embedding")
    assert found["alpha"].to_dict() == pytest.approx({name: 0.5 + STEEPER.get(name, 0) for name in FACTORS}, abs=0.01)
    assert found["verdict"].to_dict() == {
        "conv": "", "overlapping": "undecided", "conv_stem": "steeper", "hierarchical": "undecided"
    }  # fmt: skip
    assert found["change"]["conv_stem"] == pytest.approx(0.1, abs=0.01)


def test_two_seeds_of_equal_noise_decide_nothing_and_one_is_untested(tmp_path):
    noisy = made(tmp_path / "noisy", each_embedding(small), noise=0.3)
    table = embeddings.embedding_table(noisy[0].frame, noisy[1])
    assert set(embeddings.comparisons(table)["verdict"]) <= {"undecided", "better", "worse"}
    one = made(tmp_path / "one", each_embedding(small), seeds=(0,))
    table = embeddings.embedding_table(one[0].frame, one[1])
    assert set(embeddings.comparisons(table)["verdict"]) == {"untested"}
    assert set(embeddings.by_embedding(table)["verdict"]) == {"", "untested"}


def test_the_report_fits_80_columns_and_writes_its_tables_and_figure(study, tmp_path, capsys):
    paths = report(study[0], "shapes.embeddings", study[1], tmp_path)
    printed = capsys.readouterr().out
    assert max(map(len, printed.replace(str(tmp_path), "").splitlines())) <= 80
    assert "overlapping against conv at equal images: loss -10.0 % [" in " ".join(printed.split())
    stem = "shapes_embeddings"
    assert [path.name for path in paths] == [
        f"{stem}.csv", f"{stem}_compared.csv", f"{stem}_alpha.csv", f"{stem}.png", f"{stem}.pdf"
    ]  # fmt: skip
    assert len(pd.read_csv(paths[0])) == 105


def test_the_figure_has_a_law_of_every_embedding(study):
    table = embeddings.embedding_table(study[0].frame, study[1])
    figure = embedding_figure(table, embeddings.by_embedding(table), "embeddings")
    by_patch, exponents, _ = figure.axes
    assert [label.get_text() for label in exponents.get_yticklabels()] == [
        "conv",
        "conv_stem",
        "overlapping",
        "hierarchical",
    ]
    laws = [line for line in by_patch.lines if line.get_linestyle() == "-"]
    assert len(laws) == len(FACTORS)
    low, high = laws[0].get_ydata()
    assert np.log(high / low) / np.log(16) == pytest.approx(0.5, abs=0.01)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["conv", "conv_stem", "overlapping", "hierarchical", "hollow: the FLOPs of conv"]
    assert not overlapping(figure)


def test_groups_of_embeddings_are_named_by_them_and_drawn_together(study):
    runs = study[0].select(study[0].frame["train_images"] == 6400)
    assert set(runs.labels().values()) == {f"deit_nano embedding {name}" for name in FACTORS}
    assert law_figure(runs.frame).axes


def test_an_embedding_is_named_by_what_is_not_its_default():
    plain = make_config()
    assert embedding_text(plain) == embedding_text(edit(plain, embed_patch_size=8)) == "conv"
    assert embedding_text(edit(plain, embed_init="he")) == "conv, embed_init he"
    assert embedding_text(edit(plain, overlap_kernel=9)) == "overlapping, overlap_kernel 9"
    assert all(embedding_text(edit(plain, patch_embed=kind)) == kind for kind in OTHERS)
